"""Attacks on trained networks, one a file. A file that appears here is on the menu."""
