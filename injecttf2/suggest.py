"""Naming what the user may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], *, at_most: int = 3) -> str:
    """Return ``; did you mean 'a' or 'b'?`` for the known words nearest to ``word``, or ``""``."""
    close = difflib.get_close_matches(word, list(known), n=at_most, cutoff=0.5)
    if not close:
        return ""
    return f"; did you mean {' or '.join(repr(match) for match in close)}?"
