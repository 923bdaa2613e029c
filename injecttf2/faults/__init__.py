"""Fault models: what happens to the sites that are hit."""
