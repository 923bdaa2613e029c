"""What the rows of a run say: rates, ranks, differences, with intervals."""
