"""Training: one readable loop, recipes, exact resume and what a run leaves behind."""
