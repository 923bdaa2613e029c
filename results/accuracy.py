"""The mean accuracy of groups of trials, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd


def mean_accuracy(
    trials: pd.DataFrame, by: Sequence[str], *, confidence: float = 0.95
) -> pd.DataFrame:
    """Return the mean accuracy of each group of trials.

    The unit is the trial: its samples share a data set, its accuracy is one draw. The cells of a
    group are strata of equal weight, so that one with more trials does not count for more: the
    variance of the mean is the mean over strata of what each contributes, s^2 / n. Where a cell
    has one trial, which tells no variance, the trials of the group are taken as one stratum: that
    is wider. Student's t with the degrees of freedom of the strata.

    Args:
        trials: Trials with the columns ``by``, ``cell_id``, ``accuracy`` and ``golden_accuracy``.
        by: The columns to group by; null is a value.
        confidence: Two-sided confidence level, between 0 and 1.

    Returns:
        One row a group, sorted by ``by``: ``by``, ``trials``, ``cells``, ``accuracy``,
        ``accuracy_low``, ``accuracy_high`` and ``golden_accuracy``. The bounds stay within 0 and
        1, where the accuracy does; they are NaN where a single trial tells no variance.

    Source: W. G. Cochran, Sampling Techniques, 3rd ed. (1977), sections 5.3 and 5.4.
    """
    from scipy.special import stdtrit

    keys = list(by)
    accuracy = {"accuracy": ["size", "mean", "var"], "golden_accuracy": ["mean"]}
    cells = _grouped(trials, [*keys, "cell_id"]).agg(accuracy)
    cells.columns = ["n", "mean", "variance", "golden"]
    cells["share"] = cells["variance"] / cells["n"]
    strata = _grouped(cells.reset_index(), keys)
    groups = strata.agg(
        trials=("n", "sum"),
        cells=("n", "size"),
        least=("n", "min"),
        accuracy=("mean", "mean"),
        golden_accuracy=("golden", "mean"),
        share=("share", "sum"),
    )
    whole = _grouped(trials, keys)["accuracy"].var()
    stratified = (groups["least"] > 1).to_numpy()
    variance = np.where(
        stratified, groups["share"] / groups["cells"] ** 2, whole / groups["trials"]
    )
    freedom = groups["trials"] - np.where(stratified, groups["cells"], 1)
    t = stdtrit(freedom.where(freedom > 0).to_numpy(np.float64), 0.5 + confidence / 2)
    half = t * np.sqrt(variance)
    groups["accuracy_low"] = np.maximum(groups["accuracy"] - half, 0)
    groups["accuracy_high"] = np.minimum(groups["accuracy"] + half, 1)
    columns = ["trials", "cells", "accuracy", "accuracy_low", "accuracy_high", "golden_accuracy"]
    means: pd.DataFrame = groups[columns].reset_index()
    return means


def _grouped(frame: pd.DataFrame, keys: Sequence[str]) -> Any:
    return frame.groupby(list(keys), observed=True, dropna=False, sort=True)
