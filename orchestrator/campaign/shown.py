"""A campaign at a glance: what differs from the defaults, as a line of Python or a table."""

from __future__ import annotations

from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.campaign.campaign import Campaign


def line(campaign: Campaign) -> str:
    """Return a campaign as a call with what differs from the defaults."""
    return f"Campaign({', '.join(f'{key}={value!r}' for key, value in _values(campaign).items())})"


def table(campaign: Campaign) -> str:
    """Return the same as HTML, escaped, a row for each key."""
    rows = "".join(
        f"<tr><th>{escape(key)}</th><td>{escape(value if isinstance(value, str) else repr(value))}"
        "</td></tr>"
        for key, value in _values(campaign).items()
    )
    return f"<table>{rows}</table>"


def _values(campaign: Campaign) -> dict[str, Any]:
    told = campaign.model_dump(mode="json", exclude_defaults=True)
    return {key: _short(value) for key, value in told.items()}


def _short(value: Any) -> Any:
    """Return a value as a user would write it: one for a list of one, a range of bits in a row."""
    if isinstance(value, dict):
        short = {key: _short(item) for key, item in value.items() if item not in ({}, [])}
        first = next(iter(short), None)
        return short[first] if len(short) == 1 and first in ("source", "type") else short
    if not isinstance(value, list):
        return value
    if value and all(type(item) is int for item in value):
        value = _ranges(value)
    return _short(value[0]) if len(value) == 1 else [_short(item) for item in value]


def _ranges(numbers: list[int]) -> list[int | str]:
    """Return numbers with those that follow one another as ranges, such as ``0-31``."""
    breaks = [at for at, (a, b) in enumerate(pairwise(numbers), 1) if b != a + 1]
    runs = [numbers[a:b] for a, b in pairwise([0, *breaks, len(numbers)])]
    return [one for run in runs for one in ([f"{run[0]}-{run[-1]}"] if len(run) > 2 else run)]
