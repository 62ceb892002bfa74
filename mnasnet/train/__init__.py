"""Training: one readable loop, recipes, exact resume and what a run leaves behind."""

from mnasnet.runtime.session import import_torch

import_torch()  # before any other module does: its threads then sleep while they wait, also beside busy neighbours
