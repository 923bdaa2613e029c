"""Checked values that YAML files are made of: numbers, texts and mappings.

A validator raises ``ValueError`` with what it expected and nothing else; ``problems`` adds what was
received, and where.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Self, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from injecttf2.config.plain_values import plain_values
from injecttf2.config.problems import AS_IN_A_FILE, refused
from injecttf2.errors import CampaignError

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
    """A mapping whose keys are all known, fixed once it is checked.

    Values may be what a script has them in, see ``plain_values``.

    Raises:
        CampaignError: A key or a value is wrong; what is wrong is said with its path, as
            ``grid.bits``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    def __init__(self, **data: Any) -> None:
        plain = _plain(data)
        with _told(type(self), plain):
            super().__init__(**plain)

    # Mappings inside are checked with the one around them, which tells the whole path.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def model_validate(cls, obj: Any, **how: Any) -> Self:
        """Return what a mapping says."""
        plain = _plain(obj)
        with _told(cls, plain):
            return super().model_validate(plain, **how)

    @classmethod
    def parse(cls, obj: Any) -> Self:
        """Return what plain values say; what is wrong is an error of pydantic, as validators want.

        Raises:
            ValidationError: A key or a value is wrong.
        """
        return super().model_validate(obj)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values, which are checked."""
        if update:
            given = {name: getattr(self, name) for name in self.model_fields_set}
            checked = type(self).model_validate({**given, **update})
            update = {name: getattr(checked, name) for name in update}
        return super().model_copy(update=update, deep=deep)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            raise CampaignError(
                f"received {name} for something that is fixed once it is made",
                hint=f"make another: .model_copy(update={{{name!r}: ...}})",
            )
        super().__setattr__(name, value)


def _plain(data: Any) -> Any:
    try:
        return plain_values(data)
    except RecursionError:
        raise CampaignError(
            "received a list or a mapping that contains itself, expected one with an end",
            hint=AS_IN_A_FILE,
        ) from None


@contextmanager
def _told(schema: type[BaseModel], data: Any) -> Iterator[None]:
    """Turn pydantic's error into one of ours."""
    try:
        yield
    except ValidationError as error:
        raise refused(error, schema, data) from None
