"""What a run is: its configuration, stages, records, locks and fingerprints. No torch."""
