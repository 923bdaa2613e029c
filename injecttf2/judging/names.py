"""What judges, metrics and criteria are called in a campaign file.

This is apart from the judges themselves because those load TensorFlow, which takes seconds: a
campaign file is checked without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from injecttf2.config.spelling import nearest
from injecttf2.errors import CampaignError
from injecttf2.user_code.references import installed, installed_names, is_function

JUDGES = ("top1", "topk", "threshold", "per_position", "regression")
"""Builtin judges. The name of a criterion is one too: the decision changed where it is met."""

METRICS = ("top<k>_accuracy", "confidence", "mean_absolute_error", "mean_squared_error")
"""Builtin metrics, each a column ``metric_<name>``; ``<k>`` stands for a whole number from 1."""

CRITERIA = ("confidence_<percent>", "top<k>")
"""Builtin criteria, each a column ``sdc_<name>``; ``<percent>`` stands for a number above 0."""

KNOWN = {"judge": (*JUDGES, *CRITERIA), "metric": METRICS, "criterion": CRITERIA}
"""Builtin names by what they are of."""

GROUPS = {"judge": "judges", "metric": "metrics", "criterion": "criteria"}
"""What installed packages name them under; see ``references.installed``."""

_NUMBERS = {"<k>": r"([1-9]\d{0,8})", "<percent>": r"((?=[\d.]*[1-9])\d{1,9}(?:\.\d{1,9})?)"}


@dataclass(frozen=True)
class Named:
    """A judge, metric or criterion as a campaign names it.

    Args:
        type: Builtin name, or ``package.module:Class``.
        parameters: What its class takes, by name.
        place: Where it is named, ``file:line:column``.
    """

    type: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    place: str | None = field(default=None, compare=False)


def parsed_name(name: str, known: Iterable[str]) -> tuple[str, float | None] | None:
    """Return which of the known names a name is, and the number in it; None where it is none.

    Args:
        name: For example ``top5_accuracy``.
        known: Names such as those of ``METRICS``.
    """
    for pattern in known:
        expression = pattern
        for placeholder, number in _NUMBERS.items():
            expression = expression.replace(placeholder, number)
        if match := re.fullmatch(expression, name, re.ASCII):
            return pattern, float(match[1]) if match.groups() else None
    return None


def check_name(what: str, name: str) -> None:
    """See that there is a judge, metric or criterion of a name; a class of the user's own may be.

    Args:
        what: One of ``KNOWN``.
        name: Its name.

    Raises:
        CampaignError: There is none.
    """
    if parsed_name(name, KNOWN[what]) is None and not (
        what == "judge" and installed(GROUPS["criterion"], name)
    ):
        class_of(what, name)


def class_of(what: str, name: str) -> str:
    """Return the ``package.module:Class`` that a name which is not builtin stands for.

    Args:
        what: One of ``KNOWN``.
        name: The name.

    Raises:
        CampaignError: It stands for none.
    """
    reference = name if is_function(name) else installed(GROUPS[what], name)
    if reference is None:
        names = [*KNOWN[what], *installed_names(GROUPS[what])]
        raise CampaignError(
            f"unknown {what} {name!r}{nearest(name, names)}",
            hint=f"expected {', '.join(names)}, or package.module:Class",
        )
    return reference
