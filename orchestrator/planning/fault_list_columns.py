"""Columns of fault lists as arrays: numbers that are exact, whatever they were written as.

A tool may have written a whole number as an integer, as a float because a number beside it is
missing, as a text, a decimal or a category. What would not come out as it is meant is refused:
whole numbers from 2^53 on, which floats round, and numbers whose comma or dot may mean two things.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from injecttf2.config.odd_characters import told

NONE = -1
"""Stands where a whole number is missing."""

LARGEST = 2**53
"""Whole numbers from here on are not all the same as float64."""

MISSING = ["", "<na>", "na", "n/a", "none", "null", "nan"]
"""What tools write where there is nothing, in small letters; a value may be nan."""

WHOLE = "a whole number from 0"
ANY = "a number, nan or inf"

_DECIMAL = re.compile(r"[+-]?[0-9]*([.,])[0-9]*(?:[eE][+-]?[0-9]+)?")
_GROUPED = re.compile(r"[+-]?[1-9][0-9]{0,2}([.,])[0-9]{3}(?:\1[0-9]{3})*")
"""A number that has decimals for some and thousands for others."""


class UnreadableCellError(ValueError):
    """A cell is not what its column holds.

    Args:
        row: Which, from 0.
        cell: What it holds.
        expected: What was expected.
    """

    def __init__(self, row: int, cell: object, expected: str) -> None:
        super().__init__(row, cell, expected)
        self.row = row
        self.message = f"{_shown(cell)}; expected {expected}{told(cell)}"


def texts(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Return a column of texts, object [rows]; None where there is none, or nothing but blanks."""
    column = _decoded(column).cast(pa.string())
    blank = pc.equal(pc.utf8_trim_whitespace(column), "")
    return pc.if_else(blank, None, column).to_numpy()  # type: ignore[no-any-return]


def labels(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Return a column that says which rows belong together, as texts without blanks around them.

    Raises:
        UnreadableCellError: It is of floats that may have been two whole numbers.
    """
    column = _decoded(column)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column).cast(pa.float64())
        numbers = column.fill_null(0).to_numpy()
        _refuse(np.abs(numbers) >= LARGEST, column, f"whole numbers below {LARGEST}, or texts")
        if (numbers == np.floor(numbers)).all():
            column = column.cast(pa.int64())
    return _trimmed(column, MISSING).to_numpy()  # type: ignore[no-any-return]


def whole_numbers(column: pa.ChunkedArray, *, commas: bool = False) -> npt.NDArray[np.int64]:
    """Return a column of whole numbers from 0, int64 [rows]; NONE where there is none.

    Args:
        column: The column, of integers, floats, decimals or texts.
        commas: Whether its texts may have a comma in place of the dot, and marks of thousands.

    Raises:
        UnreadableCellError: A cell is something else, or 2^53 or more.
    """
    column = _decoded(column)
    if pa.types.is_floating(column.type):
        column = column.cast(pa.float64())
        is_given = _valid(column) & ~np.isnan(column.to_numpy())
    else:
        if not pa.types.is_integer(column.type):
            column = _trimmed(column, MISSING)
            if not pc.all(pc.match_substring_regex(column, "^[0-9]{1,18}$")).as_py():
                return _parsed(column, _whole, NONE, commas=commas).astype(np.int64)
            column = column.cast(pa.int64())
        is_given = _valid(column)
    numbers = np.where(is_given, column.fill_null(0).to_numpy(), 0)
    right = (numbers >= 0) & (numbers < LARGEST) & (numbers == np.floor(numbers))
    _refuse(~right, column, WHOLE if (numbers[~right] < LARGEST).any() else _BELOW)
    return np.where(is_given, numbers.astype(np.int64), NONE)


def values(
    column: pa.ChunkedArray, *, commas: bool = False
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return a column of numbers, float64 [rows], and where there is one, bool [rows].

    Args:
        column: The column, of integers, floats, decimals or texts; NaN is a number.
        commas: Whether its texts may have a comma in place of the dot, and marks of thousands.

    Raises:
        UnreadableCellError: A cell is something else, or a whole number that float64 rounds.
    """
    column = _decoded(column)
    if pa.types.is_floating(column.type):
        return column.cast(pa.float64()).fill_null(np.nan).to_numpy(), _valid(column)
    column = _trimmed(column, MISSING[:-1])
    long = pc.any(pc.match_substring_regex(column, "^[+-]?[0-9]{16,}$")).as_py()
    if not commas and not long:
        try:
            return column.cast(pa.float64()).fill_null(np.nan).to_numpy(), _valid(column)
        except pa.ArrowInvalid:
            pass  # what is wrong is told below
    return _parsed(column, _value, np.nan, commas=commas), _valid(column)


_BELOW = f"{WHOLE}, below 2^53"


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of categories as what they are of."""
    is_coded = pa.types.is_dictionary(column.type)
    return column.cast(column.type.value_type) if is_coded else column


def _trimmed(column: pa.ChunkedArray, missing: list[str]) -> pa.ChunkedArray:
    """Return the texts of a column without blanks around them; null for those that are missing."""
    column = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return pc.if_else(pc.is_in(pc.utf8_lower(column), pa.array(missing)), None, column)


def _valid(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    return column.is_valid().to_numpy()  # type: ignore[no-any-return]


def _refuse(wrong: npt.NDArray[np.bool_], column: pa.ChunkedArray, expected: str) -> None:
    if wrong.any():
        row = int(wrong.argmax())
        raise UnreadableCellError(row, column[row].as_py(), expected)


def _parsed(
    column: pa.ChunkedArray, parse: Callable[[str], float], missing: float, *, commas: bool
) -> npt.NDArray[Any]:
    """Return what different texts of a column mean, [rows]; ``missing`` where it is null."""
    coded = column.combine_chunks().dictionary_encode()
    codes = coded.indices.fill_null(len(coded.dictionary)).to_numpy()
    different = coded.dictionary.to_pylist()
    mark = _decimal_mark(different) if commas else "."
    numbers = [missing] * (len(different) + 1)
    for code, text in enumerate(different):  # in the order of the rows
        try:
            numbers[code] = parse(_dotted(text, mark) if commas else text.strip('"'))
        except ValueError as error:
            expected = str(error)
            raise UnreadableCellError(int((codes == code).argmax()), text, expected) from None
    found: npt.NDArray[Any] = np.array(numbers)[codes]
    return found


def _decimal_mark(different: list[str]) -> str | None:
    """Return the mark before decimals, ``.`` or ``,``; None where the texts do not tell."""
    decimal = [match for text in different if (match := _DECIMAL.fullmatch(text))]
    marks = {match[1] for match in decimal if not _GROUPED.fullmatch(match[0])}
    return marks.pop() if len(marks) == 1 else None


def _dotted(text: str, mark: str | None) -> str:
    """Return the text of a number with a dot before its decimals."""
    grouped = _GROUPED.fullmatch(text)
    if grouped and grouped[1] != mark:
        raise ValueError(
            "a number that cannot be read in two ways: what stands before three digits may be a "
            "mark of decimals or of thousands"
        )
    return text.strip('"').replace(",", ".") if _DECIMAL.fullmatch(text) else text.strip('"')


def _whole(text: str) -> int:
    try:
        number = Decimal(text.replace("_", "-"))
    except InvalidOperation:
        raise ValueError(WHOLE) from None
    if number.is_finite() and number >= LARGEST:
        raise ValueError(_BELOW)
    if not number.is_finite() or number < 0 or number != number.to_integral_value():
        raise ValueError(WHOLE)
    return int(number)


def _value(text: str) -> float:
    try:
        number = float(text.replace("_", "-"))
    except ValueError:
        raise ValueError(ANY) from None
    if re.fullmatch("[+-]?[0-9]+", text) and int(text) != number:
        raise ValueError("a number that is the same as float64, as whole ones below 2^53 are")
    return number


def _shown(cell: object) -> str:
    """Return a cell for a message; the text of a number stands without quotes."""
    try:
        is_number = isinstance(cell, str) and float(cell) is not None
    except ValueError:
        is_number = False
    return str(cell) if is_number else repr(cell)
