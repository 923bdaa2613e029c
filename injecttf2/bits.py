"""Bits of words: widths, fields and flips, as pure functions on NumPy arrays.

Bits count from the least significant one. For float32 (IEEE 754-2019, 3.4) bit 31 is the sign,
30..23 the exponent and 22..0 the mantissa. A signed integer (two's complement) has its highest bit
as sign, an unsigned one has no field but the whole word. A word is the unsigned-integer view of a
value. Booleans have no words: all but one bit of their byte means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class Layout:
    """How the bits of a type are used.

    Args:
        width: Bits in a word.
        exponent: Bits in the exponent field; the sign has one, the mantissa the rest. 0 for an
            integer, which has neither exponent nor mantissa.
        signed: Whether the highest bit is a sign.
    """

    width: int
    exponent: int = 0
    signed: bool = True

    @property
    def mantissa(self) -> int:
        """Bits in the mantissa field, the hidden bit not counted."""
        return self.width - 1 - self.exponent if self.exponent else 0

    @property
    def fields(self) -> dict[str, range]:
        """The bits of each field that the type has, ascending; ``any`` is the last."""
        fields = {}
        if self.signed:
            fields["sign"] = range(self.width - 1, self.width)
        if self.exponent:
            fields["exponent"] = range(self.mantissa, self.width - 1)
            fields["mantissa"] = range(self.mantissa)
        return {**fields, "any": range(self.width)}

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
"""The floating-point dtypes, by their Keras names."""

INTEGER_LAYOUTS = {
    f"{'int' if signed else 'uint'}{width}": Layout(width, signed=signed)
    for width in (8, 16, 32, 64)
    for signed in (True, False)
}
"""The integer dtypes, by their Keras names."""

DTYPES = (*LAYOUTS, *INTEGER_LAYOUTS)
"""Names of all dtypes whose words can be changed."""

FIELDS = ("sign", "exponent", "mantissa", "any")
"""Names of bit sets; ``any`` is the whole word."""


def layout(dtype: str) -> Layout:
    """Return how the bits of ``dtype`` are used.

    Raises:
        ValueError: Its words cannot be changed.
    """
    found = LAYOUTS.get(dtype) or INTEGER_LAYOUTS.get(dtype)
    if found is None:
        raise ValueError(f"{dtype} has no words to inject into; expected {', '.join(DTYPES)}")
    return found


def field_bits(dtype: str, field: str) -> range:
    """Return the bits of ``field`` (one of ``FIELDS``) in a word of ``dtype``, ascending.

    Raises:
        ValueError: The words of ``dtype`` have no such field.
    """
    fields = layout(dtype).fields
    if field not in fields:
        raise ValueError(f"{dtype} has the fields {', '.join(fields)}; received {field!r}")
    return fields[field]


def field_of(dtype: str, bit: int) -> str:
    """Return the field that ``bit`` of a word of ``dtype`` lies in.

    That is ``any`` for the bits of an integer beside the sign.

    Raises:
        ValueError: The word has no such bit.
    """
    for field, bits in layout(dtype).fields.items():
        if bit in bits:
            return field
    raise ValueError(f"{dtype} has bits 0 to {layout(dtype).width - 1}; received bit {bit}")


def encode(values: npt.NDArray[Any]) -> Words:
    """Return the words of ``values``: the same memory seen as unsigned integers, same shape."""
    return values.view(layout(values.dtype.name).word)


def decode(words: Words, dtype: str) -> npt.NDArray[Any]:
    """Return the values of ``words``, the inverse of :func:`encode`, same shape."""
    return words.view(numpy_dtype(dtype))


def masks(bits: npt.NDArray[Any], dtype: str) -> Words:
    """Return, for each bit position, the word of ``dtype`` in which only that bit is set."""
    word = layout(dtype).word
    shifted: Words = np.left_shift(word.type(1), bits.astype(word))
    return shifted


def flip(values: npt.NDArray[Any], bits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return ``values`` with one bit of each flipped.

    Args:
        values: Array of a dtype in ``DTYPES``.
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
