"""Latencies: measured on this machine, or predicted from a table of its measured layers."""
