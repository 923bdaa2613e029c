"""Which of many comes first, where what they are ranked by changes all the time."""

from __future__ import annotations

import heapq
from collections.abc import Callable

Key = tuple[float, ...]
"""What is ranked by, ascending."""


class LazyPriorityQueue:
    """Numbered items in the order of a key, equal ones by number.

    A change costs next to nothing until somebody asks for the first; then O(log n).

    Args:
        key: Returns the key of an item, or None while it is not to be ranked.
    """

    def __init__(self, key: Callable[[int], Key | None]) -> None:
        self._key = key
        self._keys: dict[int, Key] = {}
        self._heap: list[tuple[Key, int]] = []
        self._touched: set[int] = set()

    def touch(self, item: int) -> None:
        """Note that the key of an item, new or known, may be another now."""
        self._touched.add(item)

    def first(self, fits: Callable[[int], bool]) -> int | None:
        """Return the first item that fits, or None; those before it cost O(log n) each."""
        self._refresh()
        passed_over: list[tuple[Key, int]] = []
        found: int | None = None
        while self._heap:
            key, item = self._heap[0]
            if self._keys.get(item) == key:
                if fits(item):
                    found = item
                    break
                passed_over.append((key, item))
            heapq.heappop(self._heap)
        for entry in passed_over:
            heapq.heappush(self._heap, entry)
        return found

    def _refresh(self) -> None:
        for item in self._touched:
            key = self._key(item)
            if key is None:
                self._keys.pop(item, None)
            elif self._keys.get(item) != key:
                self._keys[item] = key
                heapq.heappush(self._heap, (key, item))
        self._touched.clear()
        if len(self._heap) > 2 * len(self._keys) + 8:
            self._heap = [(key, item) for item, key in self._keys.items()]
            heapq.heapify(self._heap)
