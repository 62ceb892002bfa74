"""Exports: the same network as a file of another format."""
