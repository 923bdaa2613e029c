"""What the golden run says of the campaign itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def golden_warning(golden: Mapping[str, Any] | None) -> str | None:
    """Return what is suspicious of a golden run, in a line; None where nothing is known to be.

    Args:
        golden: What ``campaign.json`` says of it.
    """
    if not golden:
        return None
    if golden.get("at_chance"):
        return (
            "without faults the classes agree with the labels hardly more often than by chance "
            f"({golden['chance']:.2%}), so outcomes mean little: check the order of the classes, "
            "and what was done to the data. Models take pixels from 0 to 1 (`scale: 1/255`), from "
            "0 to 255 (`scale: 1`), from -1 to 1 (`scale: 1/127.5`, `mean: 1`) or otherwise, as "
            "they were trained; one that gives out values, as an autoencoder does, is judged by "
            "`judge: {type: regression, ...}`"
        )
    if golden.get("accuracy") == 0:
        return (
            "without faults no sample is right, so accuracy and sdc_critical mean little: check "
            "the labels, what was done to the data, and the tolerance of a regression"
        )
    return None
