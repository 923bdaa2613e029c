"""Models: found, loaded, sent to workers, and seen as what a graph is traced from."""
