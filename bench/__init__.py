"""What every method and every evaluation stands on."""
