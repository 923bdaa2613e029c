"""Which sites are hit: rates, sites, and random numbers whose arithmetic is written down."""
