"""MnasNet as torch modules, its costs and its weights."""

from mnasnet.openmp import prepare_for_torch

prepare_for_torch()  # modules here import torch at their top
