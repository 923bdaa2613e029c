"""Flip the sign bit of a random element of dense_1's output, for every test image."""

from experiment import inject

inject("example_config_2.yml")
