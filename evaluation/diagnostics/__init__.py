"""Diagnostics of networks, one a file. A file that appears here is on the menu."""
