"""Counting verdicts per trial."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from injecttf2.judging.assessment import Verdict
from injecttf2.judging.outcomes import BENIGN, DUE, MASKED, SDC, OutcomeCounts, Scores

Index = npt.NDArray[np.int64]


def count_outcomes(
    trial: Index, sample: Index, verdict: Verdict, *, golden: Verdict, trials: int
) -> OutcomeCounts:
    """Count the verdicts on injected samples per trial.

    A sample whose outcome is ``masked`` keeps its golden score and metrics, so that rounding does
    not show in them. Sums are taken in the order of the arrays. A trial's own samples are to be in
    the same order whatever else is counted with them: then a row is the same in any company.

    Args:
        trial: int64 [injected], which of the trials the sample belongs to.
        sample: int64 [injected], into the data set, ascending in each trial.
        verdict: Of the injected samples, NumPy arrays.
        golden: The golden run's own verdict on all samples of the data set, NumPy arrays.
        trials: Number of trials.
    """
    outcome = verdict.outcome
    by_code = np.bincount(trial * 4 + outcome, minlength=trials * 4).reshape(trials, 4)
    by_code = by_code.astype(np.int64)
    masked, sdc = outcome == MASKED, outcome == SDC
    was, now = golden.score[sample], _within_bounds(verdict.score)
    now = np.where(masked, was, now)
    metrics_were = golden.metrics[sample]
    metrics_now = np.where(masked[:, np.newaxis], metrics_were, verdict.metrics)

    def count(chosen: npt.NDArray[np.bool_]) -> Index:
        return np.bincount(trial[chosen], minlength=trials).astype(np.int64)

    def total(before: Scores, changes: Scores) -> Scores:
        """Return the sum over all samples, from golden values and what the hits changed."""
        changed = np.bincount(trial, weights=changes, minlength=trials).astype(np.float64)
        return changed + np.sum(before)

    samples = len(golden.score)
    metrics = [
        total(before, changes) / samples
        for before, changes in zip(golden.metrics.T, (metrics_now - metrics_were).T, strict=True)
    ]
    criteria = [count(met & (outcome != DUE)) for met in verdict.criteria.T]
    return OutcomeCounts(
        injected=by_code.sum(axis=1),
        masked=by_code[:, MASKED],
        benign=by_code[:, BENIGN],
        sdc=by_code[:, SDC],
        sdc_critical=count(sdc & (now < was)),
        due=by_code[:, DUE],
        due_changed=count((outcome == DUE) & verdict.argmax_differs),
        correct=np.clip(total(golden.score, now - was), 0, samples),
        metrics=_columns(metrics, trials, np.float64),
        criteria=_columns(criteria, trials, np.int64),
    )


def _within_bounds(score: Scores) -> Scores:
    """Return scores from 0 to 1; NaN, which a judge of the user's own may give, is 0."""
    return np.where(score >= 0, np.minimum(score, 1), 0)


def _columns(columns: list[npt.NDArray[Any]], trials: int, dtype: type) -> npt.NDArray[Any]:
    return np.stack(columns, axis=1) if columns else np.empty((trials, 0), dtype)
