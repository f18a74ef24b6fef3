"""One measure a file: (network, data, settings) to numbers."""
