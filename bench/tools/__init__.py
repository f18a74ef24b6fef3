"""Programs over whole suites and over records."""
