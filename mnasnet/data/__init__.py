"""Images and datasets: reading, checking, preparing."""
