"""Training: one readable loop, recipes, exact resume and what a run leaves behind."""

from mnasnet.openmp import prepare_for_torch

prepare_for_torch()  # modules here import torch at their top
