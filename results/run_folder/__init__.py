"""What lies in a run directory, and how it is read without being fooled."""
