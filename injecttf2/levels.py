"""The levels at which injected samples are evaluated.

Each makes evaluation faster and changes no outcome: tests hold every combination equal to level
``dense``, where each injected sample goes through all steps behind the cut.
"""

from __future__ import annotations

from typing import Literal

from injecttf2.config.spelling import nearest
from injecttf2.errors import CampaignError

Level = Literal["drop", "difference"]

LEVELS: tuple[Level, ...] = ("drop", "difference")
"""``drop``: a sample that is golden again leaves early. ``difference``: only what differs from
golden is computed, as far as the layers have rules for it."""

DENSE = "dense"
"""What stands for none of the levels."""


def parse_levels(text: str, *, place: str) -> tuple[Level, ...]:
    """Return the levels that a text names, separated by commas; ``dense`` stands for none.

    Args:
        text: What was given.
        place: Where.

    Raises:
        CampaignError: A level is unknown.
    """
    if text.strip() == DENSE:
        return ()
    known: dict[str, Level] = {level: level for level in LEVELS}
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise CampaignError(
                f"unknown level {name!r}{nearest(name, LEVELS)}",
                place=place,
                hint=f"expected some of {', '.join(LEVELS)}, separated by commas, or {DENSE}",
            )
    return tuple(dict.fromkeys(known[name] for name in names))
