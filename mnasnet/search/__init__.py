"""Platform-aware architecture search: problems, samplers and studies. Optuna is imported only below here."""

from mnasnet.openmp import prepare_for_torch

prepare_for_torch()  # modules here import torch at their top
