"""Latencies: measured on this machine, through an agent or on a phone, or predicted from a table of measured pieces."""
