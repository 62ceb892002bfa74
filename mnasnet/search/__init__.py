"""Platform-aware architecture search: problems, samplers and studies. Optuna is imported only below here."""
