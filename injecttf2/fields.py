"""Checked values that YAML files are made of: numbers, texts and mappings.

A validator raises ``ValueError`` with what it expected and nothing else; ``yaml_source`` adds what
was received, and where.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

HIGHEST_BIT = 63
"""The highest bit of the widest word, float64; a layer's own width is checked with the model."""


def number(expected: str, allowed: Callable[[float], bool]) -> BeforeValidator:
    """Return a validator of numbers, also of quoted ones; what is none is tried as NaN."""

    def check(value: object) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(cast("str", value))
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not allowed(number):
            raise ValueError(expected)
        return number + 0.0  # makes -0.0 the 0.0 that it equals

    return BeforeValidator(check)


def whole_number(value: object) -> int:
    """Return a whole number, also one that is written like 1e4."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a whole number")  # noqa: TRY004
    return value


def true_or_false(value: object) -> object:
    """Return a boolean; a text or number that might mean one is none."""
    if not isinstance(value, bool):
        raise ValueError("true or false")  # noqa: TRY004
    return value


def as_list(value: object, expected: str = "at least one entry: the grid is empty") -> object:
    """Return a list, where one value stands for a list of one."""
    if not isinstance(value, list | tuple):
        return [value]
    if not value:
        raise ValueError(expected)
    return value


Text = Annotated[str, Field(min_length=1)]
Whole = Annotated[int, Field(ge=1), BeforeValidator(whole_number)]
NotNegative = Annotated[int, Field(ge=0, lt=2**63), BeforeValidator(whole_number)]
Repetitions = Annotated[int, Field(ge=1, lt=2**31), BeforeValidator(whole_number)]
Seed = Annotated[int, Field(ge=0, lt=2**63), BeforeValidator(whole_number)]
TrueOrFalse = Annotated[bool, BeforeValidator(true_or_false)]
Finite = Annotated[float, number("a finite number", math.isfinite)]
Positive = Annotated[float, Field(gt=0), number("a number above 0", lambda x: 0 < x < math.inf)]
Probability = Annotated[
    float, Field(ge=0, le=1), number("a probability from 0 to 1", lambda x: 0 <= x <= 1)
]


class Schema(BaseModel):
    """A mapping whose keys are all known, frozen once it is checked."""

    model_config = ConfigDict(extra="forbid", frozen=True)
