"""A run directory, opened."""
