"""What the golden run says of the campaign itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def golden_warning(golden: Mapping[str, Any] | None) -> str | None:
    """Return what is suspicious of a golden run, in a line; None where nothing is known to be.

    Args:
        golden: What ``campaign.json`` says of it.
    """
    if not golden or not golden.get("at_chance"):
        return None
    return (
        "without faults the classes agree with the labels hardly more often than by chance "
        f"({golden['chance']:.2%}), so outcomes mean little: check what was done to the data "
        "(`scale`, `mean`, `std`, `preprocess`) and the order of the classes"
    )
