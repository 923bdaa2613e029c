"""Fault models of bits: what happens to the chosen bits of a word.

A fault model is a frozen dataclass whose name in YAML, in Parquet and in ``faults.registry`` is the
same. Those that write values are in ``value_faults``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from injecttf2 import bits
from injecttf2.bits import Words
from injecttf2.config.parameters import shown, whole
from injecttf2.faults import masks
from injecttf2.faults.fault_model import Fault, FaultedElements
from injecttf2.faults.masks import WordMasks
from injecttf2.sampling.sites import Choice

WIDEST = 64
"""Bits in the widest word."""


@dataclass(frozen=True, eq=False)
class BitFault(Fault):
    """Something happens to one or some bits of the word.

    Exactly one of ``bit`` and ``bit_field`` is given, and at most one of ``flips`` and ``burst``:

    Args:
        bit: The bit, counted from the least significant.
        bit_field: A name in ``bits.FIELDS``; the bit is uniform over that field at every site.
        flips: So many different bits of the field, every set of them equally likely.
        burst: So many adjacent bits within the word, and within the field where that is given;
            the site's bit is the lowest.
    """

    bit: int | None = None
    bit_field: str | None = None
    flips: int = 1
    burst: int = 1

    def __post_init__(self) -> None:
        if (self.bit is None) == (self.bit_field is None):
            raise ValueError(
                f"{type(self).__name__} takes either bit or bit_field; "
                f"received bit={self.bit!r}, bit_field={self.bit_field!r}"
            )
        if self.bit is not None:
            known = isinstance(self.bit, int | np.integer) and not isinstance(self.bit, bool)
            if not known or self.bit < 0:
                raise ValueError(f"bits count from 0; received bit={self.bit}")
            object.__setattr__(self, "bit", int(self.bit))
        elif self.bit_field not in bits.FIELDS:
            raise ValueError(
                f"bit_field is one of {', '.join(bits.FIELDS)}; received {shown(self.bit_field)}"
            )
        self._check_numbers()

    def _check_numbers(self) -> None:
        """See that ``flips`` and ``burst`` are possible, whatever the dtype."""
        for name in ("flips", "burst"):
            value = whole(name, getattr(self, name), least=1)
            object.__setattr__(self, name, value)
            if value > WIDEST:
                raise ValueError(f"words have {WIDEST} bits or less; received {name}={value}")
            if value > 1 and self.bit_field == "sign":
                raise ValueError(f"the sign is one bit; received {name}={value}")
        if self.flips > 1 and self.burst > 1:
            raise ValueError(
                "either flips or burst is more than 1; "
                f"received flips={self.flips}, burst={self.burst}"
            )
        if self.flips > 1 and self.bit is not None:
            raise ValueError(
                "several flips are drawn from a bit_field; "
                f"received bit={self.bit}, flips={self.flips}"
            )

    @property
    def one_bit(self) -> bool:
        """Whether a site is one bit of a word, rather than a whole word."""
        return self.flips == self.burst == 1

    @property
    def draws(self) -> int:
        """How many uniform numbers a site needs beside its place: one for each of several flips."""
        return self.flips if self.flips > 1 else 0

    def candidates(self, dtype: str) -> range:
        """Return the bits of a word of ``dtype`` that a site may fall on, ascending.

        Those are the lowest bits of a burst.

        Raises:
            ValueError: The word has no such bit, or the field not so many.
        """
        field_bits = self._field_bits(dtype)
        return field_bits[: len(field_bits) - self.burst + 1]

    def choice(self, dtype: str) -> Choice:
        """Return what is drawn for a site within an element of ``dtype``.

        A site of several flips is a word without a bit of its own.
        """
        candidates = self.candidates(dtype)
        return Choice(None if self.flips > 1 else candidates, self.one_bit, self.draws)

    def field(self, dtype: str) -> str:
        """Return the field of ``bits.FIELDS`` that every site lies in."""
        if self.bit_field is not None:
            return self.bit_field
        fields = {bits.field_of(dtype, bit) for bit in self._field_bits(dtype)}
        return fields.pop() if len(fields) == 1 else "any"

    def _field_bits(self, dtype: str) -> range:
        """Return all bits that may be hit, those of a burst at a given bit included."""
        if self.bit is not None:
            bits.field_of(dtype, self.bit)
            width = bits.layout(dtype).width
            if self.bit + self.burst > width:
                raise ValueError(
                    f"{dtype} has bits 0 to {width - 1}; "
                    f"received bit {self.bit} with a burst of {self.burst}"
                )
            return range(self.bit, self.bit + self.burst)
        assert self.bit_field is not None  # noqa: S101 - by __post_init__, for the type checker
        found = bits.field_bits(dtype, self.bit_field)
        for name, needed in (("flips", self.flips), ("burst", self.burst)):
            if needed > len(found):
                raise ValueError(
                    f"the field {self.bit_field!r} of {dtype} has {len(found)} bits; "
                    f"received {name}={needed}"
                )
        return found

    def masks(self, hits: FaultedElements) -> Words:
        """Return for each site the word in which the bits that are hit are set."""
        if self.flips > 1:
            return _random_subsets(hits.dtype, self._field_bits(hits.dtype), hits.draws)
        lowest = bits.masks(hits.bit, hits.dtype)
        if self.burst == 1:
            return lowest
        run = lowest.dtype.type((1 << self.burst) - 1)
        burst: Words = np.left_shift(run, hits.bit.astype(lowest.dtype))
        return burst


@dataclass(frozen=True, eq=False)
class BitFlip(BitFault):
    """Bits of the word are inverted (XOR), whatever value the word holds.

    Args:
        bit: The bit, counted from the least significant; or ``bit_field``.
        bit_field: ``sign``, ``exponent``, ``mantissa`` or ``any``; the bit is uniform over that
            field at every site.
        flips: So many different bits of the field, every set of them equally likely.
        burst: So many adjacent bits, the site's bit being the lowest; or ``flips``.

    Raises:
        ValueError: An argument is none of these, or they do not go together.
    """

    name: ClassVar[str] = "bit_flip"

    def changes(self, hits: FaultedElements) -> WordMasks:
        """Return the flips at some sites."""
        return masks.flip(self.masks(hits))


@dataclass(frozen=True, eq=False)
class StuckAt(BitFault):
    """Bits of the word read 0 or 1, whatever was written; where they do so anyway, nothing changes.

    Args:
        value: 0 or 1. The other arguments are those of ``BitFlip``; of several ``flips`` or a
            ``burst``, all bits are stuck at the same value.

    Raises:
        ValueError: An argument is none of these, or they do not go together.
    """

    name: ClassVar[str] = "stuck_at"

    value: int = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.value, bool) or self.value not in (0, 1):
            raise ValueError(f"a bit is stuck at the value 0 or 1; received {shown(self.value)}")
        object.__setattr__(self, "value", int(self.value))

    def changes(self, hits: FaultedElements) -> WordMasks:
        """Return what the stuck bits do at some sites."""
        return masks.stick(self.masks(hits), self.value)


def _random_subsets(dtype: str, choices: range, draws: npt.NDArray[np.float64]) -> Words:
    """Return for each row of ``draws`` [sites, n] a word with n different bits of ``choices`` set.

    Robert Floyd's algorithm (Bentley and Floyd, "A sample of brilliance", CACM 30(9), 1987): for
    each j from len(choices) - n, the choice at floor(number * (j + 1)), or where that is taken
    the choice at j. Every set is equally likely.
    """
    count = draws.shape[1]
    masks = np.zeros(len(draws), bits.layout(dtype).word)
    for column, last in enumerate(range(len(choices) - count, len(choices))):
        place = (draws[:, column] * (last + 1)).astype(np.int64)
        drawn = bits.masks(choices.start + place, dtype)
        taken = np.bitwise_and(masks, drawn) != 0
        instead = bits.masks(np.asarray(choices.start + last), dtype)
        masks |= np.where(taken, instead, drawn)
    return masks
