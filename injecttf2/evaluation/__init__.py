"""Level ``dense``: what a results row is by definition."""
