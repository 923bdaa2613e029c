"""Layers folded by the blocks that their names tell: ``block_12_expand`` is in ``block_12``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST = 12
"""Layers of a block; a larger one is split by the next word of the names, where that helps."""

_WORD = re.compile(r"[^/_.]+")


def blocks(names: Iterable[str]) -> dict[str, str]:
    """Return the block of each name, the beginning that it shares with others.

    A name that shares its first word with no other is a block of its own.
    """
    found: dict[str, str] = {}
    _fold({name: [at.end() for at in _WORD.finditer(name)] for name in names}, 0, found)
    return found


def _fold(ends: dict[str, list[int]], depth: int, found: dict[str, str]) -> None:
    """Put into ``found`` the blocks of names that are the same up to their word ``depth``.

    Args:
        ends: By name, where its words end.
        depth: Which word is looked at.
        found: By name, its block.
    """
    groups: dict[str, dict[str, list[int]]] = {}
    for name, places in ends.items():
        block = name[: places[depth]] if depth < len(places) else name
        groups.setdefault(block, {})[name] = places
    for block, same in groups.items():
        if len(same) > 1 or depth == 0:
            found.update(dict.fromkeys(same, block))
        if len(same) > MOST:
            _fold(same, depth + 1, found)
