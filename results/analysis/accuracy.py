"""The mean accuracy of groups of trials, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from results.analysis.rate_estimates import Places
from results.statistics.strata import Strata

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd


def mean_accuracy(
    trials: pd.DataFrame,
    by: Sequence[str],
    *,
    confidence: float = 0.95,
    sites: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """Return the mean accuracy of each group of trials, as in ``Run.summary``, with an interval.

    The unit is the trial: its samples share a data set, its accuracy is one draw. The cells of a
    group are strata of equal weight, exhaustive ones by their number of places, so that one with
    more trials does not count for more. The variance of the mean is the sum over strata of what
    each contributes, its squared weight times s^2 / n; nothing where all places were hit. Where a
    cell has one trial, which tells no variance, the trials of the group are taken as one stratum:
    that is wider. Student's t with the degrees of freedom of the strata.

    Args:
        trials: Trials with the columns ``by``, ``cell_id``, ``sampling``, ``accuracy`` and
            ``golden_accuracy``.
        by: The columns to group by; null is a value.
        confidence: Two-sided confidence level, between 0 and 1.
        sites: By ``cell_id``, by how many sites cells count; see ``sites_of_cells``.

    Returns:
        One row a group, sorted by ``by``: ``by``, ``trials``, ``cells``, ``accuracy``,
        ``accuracy_low``, ``accuracy_high`` and ``golden_accuracy``. The bounds stay within 0 and
        1, where the accuracy does; they are NaN where a single trial tells no variance.

    Source: W. G. Cochran, Sampling Techniques, 3rd ed. (1977), sections 5.3 and 5.4.
    """
    from scipy.special import stdtrit

    keys = list(by)
    values = {"accuracy": ["size", "mean", "var"], "golden_accuracy": ["mean"]}
    rows = trials.assign(how=trials["sampling"].astype(object))
    cells = _grouped(rows, [*keys, "cell_id"]).agg({**values, "how": ["first"]})
    cells.columns = ["n", "accuracy", "variance", "golden_accuracy", "how"]
    cells = cells.reset_index()
    group = np.asarray(_grouped(cells, keys).ngroup(), np.int64)
    n = cells["n"].to_numpy(np.int64)
    places = Places.of(cells[["cell_id"]].assign(sampling=cells["how"]), n, sites or {})
    strata = Strata.of(places.share(group), group=group, sampled=places.sampled)
    unsure = places.sampled < 1
    groups = _grouped(cells, keys).agg(trials=("n", "sum"), cells=("n", "size"))
    for name in ("accuracy", "golden_accuracy"):
        groups[name] = strata.sum(strata.proportion * cells[name])
    lone = strata.sum(unsure & (n == 1)) > 0
    whole = _grouped(trials, keys)["accuracy"].var().to_numpy()
    within = strata.variance(np.where(unsure, cells["variance"], 0.0) / n)
    variance = np.where(lone, whole * strata.variance(1 / n), within)
    freedom = np.where(lone, groups["trials"] - 1, strata.sum(np.where(unsure, n - 1, 0)))
    t = stdtrit(np.where(freedom > 0, freedom, np.nan), 0.5 + confidence / 2)
    half = np.where(strata.sum(unsure) > 0, t * np.sqrt(variance), 0.0)
    groups["accuracy_low"] = np.maximum(groups["accuracy"] - half, 0)
    groups["accuracy_high"] = np.minimum(groups["accuracy"] + half, 1)
    columns = ["trials", "cells", "accuracy", "accuracy_low", "accuracy_high", "golden_accuracy"]
    means: pd.DataFrame = groups[columns].reset_index()
    return means


def _grouped(frame: pd.DataFrame, keys: Sequence[str]) -> Any:
    return frame.groupby(list(keys), observed=True, dropna=False, sort=True)
