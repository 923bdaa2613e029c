"""Whether golden classes agree with the labels by more than chance.

Data that were scaled, normalised or ordered otherwise than those that a model was trained on mostly
leave classes that have little to do with the labels, and outcomes that mean little.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

FEWEST = 20
"""Samples below which nothing can be told."""

DEVIATIONS = 2.0
"""Standard deviations of chance that an agreement must exceed it by."""

SHARE = 0.1
"""Share of the way from chance to agreement in all samples that is too little to speak of."""


def chance_of(
    classes: npt.NDArray[Any], labels: npt.NDArray[Any], count: int
) -> tuple[float, bool]:
    """Return how often classes agree with labels by chance, and whether they do hardly more often.

    By chance is how often they would if each had the frequencies that it has and nothing to do with
    the other, as in Cohen's kappa; its deviation is that for a kappa of 0 (Fleiss, Cohen, Everitt,
    Psychological Bulletin 72, 1969). Labels that are all the same tell nothing of the kind; then
    each class is as likely as the other.

    Args:
        classes: Golden class of each sample, whole numbers from 0 [samples].
        labels: Class that each should have [samples].
        count: How many classes there are.
    """
    samples = len(labels)
    agreement = float(np.mean(classes == labels))
    size = 1 + int(max(count, classes.max(), labels.max()))
    found, wanted = (np.bincount(one, minlength=size) / samples for one in (classes, labels))
    if wanted.max() == 1.0:
        expected = 1 / count
        variance = expected * (1 - expected)
    else:
        expected = float(found @ wanted)
        variance = expected + expected**2 - float(found * wanted @ (found + wanted))
    least = max(DEVIATIONS * math.sqrt(max(0.0, variance) / samples), SHARE * (1 - expected))
    return expected, samples >= FEWEST and agreement - expected <= least
