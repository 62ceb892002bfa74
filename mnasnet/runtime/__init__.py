"""Engines that run a network: pixels in, class scores out."""
