"""The campaign file: its schema, and loading it. Loads no TensorFlow."""
