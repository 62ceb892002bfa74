"""What the three Ikomia plugins share; the only part of the package that imports Ikomia or Qt."""
