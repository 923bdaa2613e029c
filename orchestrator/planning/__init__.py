"""Which trials there are, and which of them are due."""
