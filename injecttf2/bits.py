"""Bits of floating-point words: widths, fields and flips, as pure functions on NumPy arrays.

Bits count from the least significant one. For float32 (IEEE 754-2019, 3.4) bit 31 is the sign,
30..23 the exponent and 22..0 the mantissa. A word is the unsigned-integer view of a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class Layout:
    """How the bits of a floating-point type are used.

    Args:
        width: Bits in a word.
        exponent: Bits in the exponent field; the sign has one, the mantissa the rest.
    """

    width: int
    exponent: int

    @property
    def mantissa(self) -> int:
        """Bits in the mantissa field, the hidden bit not counted."""
        return self.width - 1 - self.exponent

    @property
    def word(self) -> np.dtype[Any]:
        """The unsigned-integer dtype of a word."""
        return np.dtype(f"uint{self.width}")


LAYOUTS = {
    "float16": Layout(width=16, exponent=5),
    "bfloat16": Layout(width=16, exponent=8),
    "float32": Layout(width=32, exponent=8),
    "float64": Layout(width=64, exponent=11),
}
"""The dtypes that can be injected, by their Keras names."""

FIELDS = ("sign", "exponent", "mantissa", "any")
"""Names of bit sets; ``any`` is the whole word."""


def field_bits(dtype: str, field: str) -> range:
    """Return the bits of ``field`` (one of ``FIELDS``) in a word of ``dtype``, ascending."""
    layout = LAYOUTS[dtype]
    return {
        "sign": range(layout.width - 1, layout.width),
        "exponent": range(layout.mantissa, layout.width - 1),
        "mantissa": range(layout.mantissa),
        "any": range(layout.width),
    }[field]


def field_of(dtype: str, bit: int) -> str:
    """Return the field that ``bit`` of a word of ``dtype`` lies in.

    Raises:
        ValueError: The word has no such bit.
    """
    for field in ("sign", "exponent", "mantissa"):
        if bit in field_bits(dtype, field):
            return field
    raise ValueError(f"{dtype} has bits 0 to {LAYOUTS[dtype].width - 1}; received bit {bit}")


def encode(values: npt.NDArray[Any]) -> Words:
    """Return the words of ``values``: the same memory seen as unsigned integers, same shape."""
    return values.view(LAYOUTS[values.dtype.name].word)


def decode(words: Words, dtype: str) -> npt.NDArray[Any]:
    """Return the values of ``words``, the inverse of :func:`encode`, same shape."""
    return words.view(numpy_dtype(dtype))


def masks(bits: npt.NDArray[Any], dtype: str) -> Words:
    """Return, for each bit position, the word of ``dtype`` in which only that bit is set."""
    word = LAYOUTS[dtype].word
    shifted: Words = np.left_shift(word.type(1), bits.astype(word))
    return shifted


def flip(values: npt.NDArray[Any], bits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return ``values`` with one bit of each flipped.

    Args:
        values: Floating-point array of a dtype in ``LAYOUTS``.
        bits: Integer array that broadcasts against ``values``, the bit to flip in each.
    """
    dtype = values.dtype.name
    return decode(np.bitwise_xor(encode(values), masks(bits, dtype)), dtype)


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    """Return the NumPy dtype called ``dtype``, ``bfloat16`` included."""
    if dtype == "bfloat16":
        import ml_dtypes  # NumPy has no bfloat16 of its own

        dtype = ml_dtypes.bfloat16
    result: np.dtype[Any] = np.dtype(dtype)
    return result
