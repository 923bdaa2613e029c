"""Parameters of faults and rates: checked when they come in, written down in one way.

Written down, a number that JSON does not know is the text ``nan``, ``inf`` or ``-inf``, and the
same text is read back; texts like ``1e-3``, which YAML makes of some numbers, are read as well.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from injecttf2.config.spelling import nearest


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


def not_default(component: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as JSON holds them, without those that have their default.

    So one more parameter later does not make another thing of those that there were.
    """
    return {
        one.name: plain(getattr(component, one.name))
        for one in dataclasses.fields(component)
        if getattr(component, one.name) != one.default
    }


def is_required(one: dataclasses.Field[Any]) -> bool:
    """Return whether a field of a dataclass has no default."""
    return one.default is one.default_factory is dataclasses.MISSING


def check_names(
    name: str, known: Sequence[str], required: Sequence[str], given: Mapping[str, Any]
) -> None:
    """See that parameters have known names and none is missing.

    Args:
        name: Whose they are.
        known: Names that it takes.
        required: Those of them that it needs.
        given: The parameters.

    Raises:
        ValueError: A name is unknown, or one is missing.
    """
    for key in given:
        if key not in known:
            takes = ", ".join(known) or "no parameters"
            raise ValueError(f"{name} takes {takes}; received {key!r}{nearest(str(key), known)}")
    missing = [key for key in required if key not in given]
    if missing:
        received = ", ".join(f"{key}: {shown(value)}" for key, value in given.items())
        raise ValueError(f"{name} needs {' and '.join(missing)}; received {received or 'nothing'}")
