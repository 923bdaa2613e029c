"""What users write, as checked Python values: YAML, numbers, names, paths."""
