"""The same outcomes as level ``dense``, sooner."""
