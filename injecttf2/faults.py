"""Fault models: what happens to the chosen element.

A fault model is a frozen dataclass whose name in YAML, in Parquet and in ``FAULTS`` is the same.
It says which bits of a word a site may fall on; the engine draws one of them for each site.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from injecttf2 import bits


@dataclass(frozen=True)
class BitFlip:
    """One bit of the word is inverted (XOR), whatever value the word holds.

    Exactly one of the two is given:

    Args:
        bit: The bit to flip, counted from the least significant.
        bit_field: A name in ``bits.FIELDS``; the bit is uniform over that field at every site.
    """

    name: ClassVar[str] = "bit_flip"

    bit: int | None = None
    bit_field: str | None = None

    def __post_init__(self) -> None:
        if (self.bit is None) == (self.bit_field is None):
            raise ValueError(
                "BitFlip takes either bit or bit_field; "
                f"received bit={self.bit!r}, bit_field={self.bit_field!r}"
            )
        if self.bit is not None and self.bit < 0:
            raise ValueError(f"bits count from 0; received bit={self.bit}")
        if self.bit_field is not None and self.bit_field not in bits.FIELDS:
            raise ValueError(f"bit_field is one of {bits.FIELDS}; received {self.bit_field!r}")

    def candidates(self, dtype: str) -> range:
        """Return the bits of a word of ``dtype`` that a site may fall on, ascending.

        Raises:
            ValueError: The word has no such bit.
        """
        if self.bit_field is not None:
            return bits.field_bits(dtype, self.bit_field)
        assert self.bit is not None  # noqa: S101 - by __post_init__, for the type checker
        bits.field_of(dtype, self.bit)
        return range(self.bit, self.bit + 1)

    def field(self, dtype: str) -> str:
        """Return the field of ``bits.FIELDS`` that every site lies in."""
        if self.bit_field is not None:
            return self.bit_field
        assert self.bit is not None  # noqa: S101 - by __post_init__, for the type checker
        return bits.field_of(dtype, self.bit)


FAULTS = {BitFlip.name: BitFlip}
"""Fault models by the name used in YAML and in the results."""
