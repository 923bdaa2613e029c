"""Parameters of faults and rates: checked when they come in, written down in one way.

Written down, a number that JSON does not know is the text ``nan``, ``inf`` or ``-inf``, and the
same text is read back; texts like ``1e-3``, which YAML makes of some numbers, are read as well.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np


def whole(name: str, value: object, *, least: int) -> int:
    """Return ``value`` as an int.

    Raises:
        ValueError: It is no whole number, or below ``least``.
    """
    known = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not known or value < least:  # type: ignore[operator]
        raise ValueError(f"{name} is a whole number of {least} or more; received {shown(value)}")
    return int(value)  # type: ignore[call-overload,no-any-return]


def number(name: str, value: object, *, finite: bool = True) -> float:
    """Return ``value``, a number or the text of one, as a float.

    Raises:
        ValueError: It is no number, or NaN or infinite although ``finite`` is asked for.
    """
    expected = "a finite number" if finite else "a number"
    wrong = ValueError(f"{name} is {expected}; received {shown(value)}")
    if isinstance(value, bool) or not isinstance(value, int | float | np.number | str):
        raise wrong
    try:
        read = float(value)
    except (ValueError, TypeError, OverflowError):
        raise wrong from None
    if finite and not math.isfinite(read):
        raise wrong
    return read


def flag(name: str, value: object) -> bool:
    """Return ``value``, true or false.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} is true or false; received {shown(value)}")  # noqa: TRY004
    return value


def share(name: str, value: object) -> float:
    """Return ``value`` as a float in [0, 1].

    Raises:
        ValueError: It is no number between 0 and 1.
    """
    read = number(name, value)
    if not 0 <= read <= 1:
        raise ValueError(f"{name} lies between 0 and 1; received {shown(value)}")
    return read


def shown(value: object) -> str:
    """Return a value for a message, as YAML writes it, shortened."""
    if value is None:
        return "nothing"
    if isinstance(value, bool | float):
        return re.sub("(?=nan|inf)", ".", str(value).lower())
    text = re.sub(r"\s*\n\s*", " ", repr(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def plain(value: Any) -> Any:
    """Return a parameter as JSON holds it.

    Raises:
        ValueError: It is neither a number, a text, None, nor a list or mapping of such.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: plain(item) for key, item in value.items()}
    raise ValueError(
        f"expected a number, a text, nothing, or a list or mapping of such; "
        f"received {type(value).__name__}"
    )
