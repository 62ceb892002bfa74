"""Training: one readable loop, recipes, exact resume and what a run leaves behind."""

import os
import sys

if "torch" not in sys.modules:  # its threads then sleep while they wait: spinning ones collapse beside busy neighbours
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
