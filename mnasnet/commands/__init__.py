"""The commands of ``python -m mnasnet``, one module each."""
