"""What the values of ``campaign.json`` must be: a file that was edited by hand is told, not met.

Only what is read again is checked. What a campaign says is the campaign's own to check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from results.ids import from_json


class _Shape(NamedTuple):
    """What a value must be, in words and as a check."""

    expected: str
    fits: Callable[[Any], bool]


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _are_ids(values: object) -> bool:
    try:
        from_json([*values] if isinstance(values, list | Mapping) else [values])
    except ValueError:
        return False
    return True


def _all(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _values(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Mapping) and all(map(fits, value.values()))


def _or_null(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _is_path(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def is_code(value: object) -> bool:
    """Tell whether a value has the shape of ``RunHeader.code``."""
    return _or_null(_values(_is_mapping))(value)


_MAPPING = _Shape("a mapping", _is_mapping)
_MAPPINGS = _Shape("a list of mappings", _all(_is_mapping))
_COUNTS = _Shape("a mapping of whole numbers", _values(_is_count))

_PLACES = _Shape(
    "a mapping from ids to whole numbers",
    lambda value: _values(_is_count)(value) and _are_ids(value),
)

_REQUIRED = {
    "schema_version": _Shape("a whole number", _is_count),
    "created_at": _Shape("a time", _is_text),
    "updated_at": _Shape("a time", _is_text),
    "campaign": _MAPPING,
    "identity": _MAPPING,
    "provenance": _MAPPING,
    "plan": _MAPPING,
    "plan.trials": _Shape("a whole number", _is_count),
    "plan.layers": _COUNTS,
    "columns": _Shape("a list of texts", _all(_is_text)),
    "layers": _Shape("a mapping of mappings", _values(_is_mapping)),
    "golden": _Shape("a mapping, or null", _or_null(_is_mapping)),
    "earlier_provenance": _MAPPINGS,
}

_OPTIONAL = {
    "campaign.judge": _MAPPING,
    "provenance.folder": _Shape("the path of a folder", _is_path),
    "provenance.keras": _MAPPING,
    "plan.outside": _COUNTS,
    "plan.exhaustive": _PLACES,
    "plan.sites": _PLACES,
    "plan.precision": _MAPPINGS,
    "plan.failed_outside": _Shape(
        "a list of ids", lambda value: isinstance(value, list) and _are_ids(value)
    ),
    "golden.accuracy": _Shape("a number", _is_number),
    "golden.chance": _Shape("a number, or null", _or_null(_is_number)),
    "golden.at_chance": _Shape("true or false", lambda value: isinstance(value, bool)),
    "numerics": _MAPPINGS,
    "code": _Shape("a mapping of mappings, or null", is_code),
}


def check_shape(contents: Any) -> None:
    """Check the values of ``campaign.json``.

    Args:
        contents: What JSON made of the file.

    Raises:
        ValueError: A value is missing or is something else; which, what it is and what it must be.
    """
    if not isinstance(contents, Mapping):
        raise ValueError(f"it is {_shortly(contents)}, expected a mapping")  # noqa: TRY004
    for path, shape in {**_REQUIRED, **_OPTIONAL}.items():
        for value in _at(contents, path):
            if not shape.fits(value):
                raise ValueError(f"{path} is {_shortly(value)}, expected {shape.expected}")
    missing = [path for path in _REQUIRED if not list(_at(contents, path))]
    if missing:
        raise ValueError(f"the key {missing[0]} is missing")


def _at(contents: Mapping[str, Any], path: str) -> Iterator[Any]:
    """Yield the value at a path, if there is one."""
    value: Any = contents
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return
        value = value[key]
    yield value


def _shortly(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
