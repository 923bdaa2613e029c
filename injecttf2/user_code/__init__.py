"""The user's own code: found, digested, and imported from the bytes that count."""
