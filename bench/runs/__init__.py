"""What a run is: its configuration, its record, its files and the code that makes it; no torch."""
