"""The stages of a run: what each prepares and does, and how all of them run."""
