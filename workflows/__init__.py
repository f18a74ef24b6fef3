"""The grid: which runs there are, and where they live."""
