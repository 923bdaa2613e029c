"""Changes of words: what every fault comes down to.

A change turns a word ``w`` into ``(w & keep) ^ flip``. A flip keeps all bits and flips some; a
bit stuck at a value is not kept, and flipped from 0 where the value is 1; a new value keeps
nothing. Two changes, one after the other, are again one change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from injecttf2 import bits
from injecttf2.bits import Words


@dataclass(frozen=True, eq=False)
class WordMasks:
    """One change for each of some words.

    Args:
        keep: Unsigned integers [words], the bits that stay.
        flip: Same shape and dtype, the bits that are then inverted.
    """

    keep: Words
    flip: Words

    def __len__(self) -> int:
        return len(self.keep)

    def __getitem__(self, index: slice | npt.NDArray[Any]) -> WordMasks:
        return WordMasks(self.keep[index], self.flip[index])

    def then(self, later: WordMasks) -> WordMasks:
        """Return these changes followed by ``later`` ones of the same words, as one."""
        return WordMasks(
            np.bitwise_and(self.keep, later.keep),
            np.bitwise_xor(np.bitwise_and(self.flip, later.keep), later.flip),
        )

    def but(self, left: npt.NDArray[np.bool_]) -> WordMasks:
        """Return these changes, and none where ``left``, bool [words], is true."""
        ones = _ones(self.keep)
        zero = self.flip.dtype.type(0)
        return WordMasks(np.where(left, ones, self.keep), np.where(left, zero, self.flip))

    def apply(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the values [words] of a dtype of this width after the changes."""
        words = np.bitwise_xor(np.bitwise_and(bits.encode(values), self.keep), self.flip)
        return bits.decode(words, values.dtype.name)


def flip(masks: Words) -> WordMasks:
    """Return changes that invert the bits that are set in ``masks`` [words]."""
    return WordMasks(np.full_like(masks, _ones(masks)), masks)


def stick(masks: Words, value: int) -> WordMasks:
    """Return changes that set the bits that are set in ``masks`` [words] to ``value``, 0 or 1."""
    return WordMasks(np.bitwise_not(masks), masks if value else np.zeros_like(masks))


def replace(values: npt.NDArray[Any]) -> WordMasks:
    """Return changes into ``values`` [words], whatever was there."""
    words = bits.encode(np.ascontiguousarray(values))
    return WordMasks(np.zeros_like(words), words)


def nothing(count: int, dtype: str) -> WordMasks:
    """Return ``count`` changes that leave words of ``dtype`` as they are."""
    return flip(np.zeros(count, bits.layout(dtype).word))


def joined(parts: Sequence[WordMasks]) -> WordMasks:
    """Return the changes of several, at least one, one after another."""
    return WordMasks(
        np.concatenate([part.keep for part in parts]),
        np.concatenate([part.flip for part in parts]),
    )


def merged(changes: WordMasks, starts: npt.NDArray[np.int64]) -> WordMasks:
    """Return one change for each run of changes that fall on the same word, in their order.

    Args:
        changes: Those of one word beside each other.
        starts: int64 [words], ascending from 0: where the changes of each word begin.
    """
    if len(starts) == len(changes):
        return changes
    sizes = np.diff(starts, append=len(changes))
    one = changes[starts]
    words, place = np.arange(len(starts)), 1
    while len(words := words[sizes[words] > place]):
        both = one[words].then(changes[starts[words] + place])
        one.keep[words], one.flip[words] = both.keep, both.flip
        place += 1
    return one


def _ones(words: Words) -> Any:
    """Return the word of the same width in which every bit is set."""
    return np.bitwise_not(words.dtype.type(0))
