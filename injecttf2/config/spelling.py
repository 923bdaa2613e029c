"""Naming what the user may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from injecttf2.config.odd_characters import told


def nearest(word: str, known: Iterable[str], *, at_most: int = 3) -> str:
    """Return ``; did you mean 'a' or 'b'?`` for the known words nearest to ``word``, or ``""``.

    A character of ``word`` that is not what it looks like is named, too.
    """
    close = difflib.get_close_matches(word, list(known), n=at_most, cutoff=0.5)
    if not close:
        return told(word)
    return f"{told(word)}; did you mean {' or '.join(repr(match) for match in close)}?"
