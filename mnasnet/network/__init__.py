"""MnasNet as torch modules, its costs and its weights."""
