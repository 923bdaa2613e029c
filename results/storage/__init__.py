"""Bytes in folders and on object storage, and one writer at a time."""
