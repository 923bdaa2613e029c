"""Campaigns: the YAML file, the grid, the scheduler, the workers and the command line."""
