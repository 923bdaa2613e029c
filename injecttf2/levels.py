"""The levels at which injected samples are evaluated.

Each makes evaluation faster and changes no outcome: tests hold every combination equal to level
``dense``, where each injected sample goes through all steps behind the cut.
"""

from __future__ import annotations

LEVELS = ("drop", "difference")
"""``drop``: a sample that is golden again leaves early. ``difference``: only what differs from
golden is computed, as far as the layers have rules for it."""
