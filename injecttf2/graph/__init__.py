"""A model as one graph of TensorFlow's: what its layers give out, and functions cut from it."""
