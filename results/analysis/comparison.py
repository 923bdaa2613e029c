"""Two runs of the same plan compared: two models, or two versions of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from results.analysis.criticality import METRIC
from results.analysis.differences import CELL, difference, put_pairs
from results.analysis.paired import AT_ONCE, paired_differences
from results.analysis.published_outcomes import PublishedComparison, compare_published
from results.analysis.summary import RATED, add_up, outcomes_of
from results.analysis.trial_source import TrialSource
from results.frames import check_columns
from results.run_folder.schema import criteria_of

if TYPE_CHECKING:
    import pandas as pd


@overload
def compare(
    run_a: TrialSource, run_b: TrialSource, confidence: float = 0.95, *, metric: str = METRIC
) -> pd.DataFrame: ...


@overload
def compare(
    run_a: TrialSource, run_b: str | Path, confidence: float = 0.95
) -> PublishedComparison: ...


def compare(
    run_a: TrialSource,
    run_b: TrialSource | str | Path,
    confidence: float = 0.95,
    *,
    metric: str = METRIC,
) -> pd.DataFrame | PublishedComparison:
    """Return how the rates of the same cells differ between two runs.

    Cells are the same where layer, target, variable, fault, its parameters, bits and rate are.
    Paired cells of the same data and seed have the same sites in both runs: they are compared trial
    by trial, where at least 10 trials show the outcome. Others are taken as independent.

    With a file in place of the second run: how critical the faults of a list are, in the run and in
    the file. It is a CSV file with the faults as the list tells them (``Layer``, ``TensorIndex``
    and ``Bit``, or ``layer``, ``bit`` and ``trial``, or ``variable`` and ``element``), the
    predictions that were ``critical``, and ``n_injections``, or ``masked`` and ``non_critical``.

    Args:
        run_a: The first run, as ``open_run`` gives it; its rates are subtracted.
        run_b: The second; or a CSV file with published outcomes of the first's fault list.
        confidence: Two-sided confidence level of the bounds, between 0 and 1.
        metric: ``sdc+due``, ``sdc``, ``due``, ``critical`` or a criterion that both runs have; not
            for a file.

    Returns:
        One row a cell of either run, in the order of the first. The columns that say what a cell
        is: ``layer``, ``target``, ``variable``, ``fault``, ``parameters``, ``bit_field``, ``bit``,
        ``probability``, ``count``, ``ber``; ``runs``, which is ``both``, or ``a`` or ``b`` for a
        cell that only one of them has; ``trials_a``, ``trials_b``, ``injected_a``, ``injected_b``,
        0 where there is none; ``pairs``, the trials that the cells share; ``rate_a``, ``rate_b``,
        ``difference`` (b - a), ``low``, ``high``, NaN where they are not known; ``method``:
        ``paired t``, ``newcombe``, ``square and add`` or ``exact``, null but for ``both``. For a
        file, a ``PublishedComparison``.

    Raises:
        TypeError: An argument is no run.
        ValueError: ``metric`` is none of both runs or given with a file, or ``confidence`` is out
            of range.
        ResultsError: The file cannot be understood, or is of other faults than the run.

    Sources: those of ``paired_t``, ``square_and_add`` and ``cluster_wilson``.

    Examples:
        >>> from injecttf2 import compare, open_run
        >>> changes = compare(open_run("runs/first"), open_run("runs/first"))
        >>> better = changes.query("runs == 'both' and high < 0")  # in the second run
        >>> len(changes), len(better)
        (70, 0)
    """
    for name, run in (("run_a", run_a), ("run_b", run_b)):
        if not isinstance(run, TrialSource) and (
            name == "run_a" or not isinstance(run, str | Path)
        ):
            raise TypeError(f"{name} is {run!r}, expected a run: open it with open_run(PATH).")
    if isinstance(run_b, str | Path):
        if metric != METRIC:
            raise ValueError(
                f"metric is {metric!r}: a file tells critical predictions only (sdc + due_changed)."
            )
        return compare_published(run_a, run_b, confidence)
    criteria = [name for name in criteria_of(run_a.header.schema) if name in run_b.header.columns]
    check_columns([metric], [*RATED, *criteria], "metric")
    a, b = (_cells(run, confidence) for run in (run_a, run_b))
    table = a.merge(b, on=list(CELL), how="outer", suffixes=("_a", "_b"), sort=False)
    table = table.sort_values(["order_a", "order_b"], ignore_index=True, na_position="last")
    sides = [
        table[[f"{name}_{side}" for name in _ends(metric)]].set_axis(_ends(metric), axis=1)
        for side in ("a", "b")
    ]
    rates = difference(sides[0], sides[1], metric)
    both = table["order_a"].notna() & table["order_b"].notna()
    table["runs"] = np.where(both, "both", np.where(table["order_a"].notna(), "a", "b"))
    counts = [f"{name}_{side}" for name in ("trials", "injected") for side in ("a", "b")]
    table[counts] = table[counts].fillna(0).astype(np.int64)
    rates["method"] = rates["method"].where(both)
    rates.insert(0, "pairs", 0)
    if _same_sites(run_a, run_b):
        _take_pairs(rates, table, (run_a, run_b), metric, confidence)
    return table[[*CELL, "runs", *counts]].join(rates)


def _ends(metric: str) -> list[str]:
    return [*(f"{metric}_{end}" for end in ("rate", "low", "high")), "method"]


def _cells(run: TrialSource, confidence: float) -> pd.DataFrame:
    """Return the cells of a run, strings as such: the layers of two models are other categories."""
    cells = as_texts(add_up(run, CELL, confidence))
    return cells.assign(order=np.arange(len(cells), dtype=np.float64))


def as_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with texts in place of categories, None where there is none."""
    texts = frame.select_dtypes("category").columns
    return frame.assign(
        **{name: frame[name].astype(object).where(frame[name].notna(), None) for name in texts}
    )


def _same_sites(run_a: TrialSource, run_b: TrialSource) -> bool:
    """Tell whether paired trials have the same sites in both runs, as ``pair_keys`` draws them."""
    a, b = run_a.header.identity, run_b.header.identity
    return all(a.get(name) == b.get(name) for name in ("data", "seed"))


def _take_pairs(
    rates: pd.DataFrame,
    table: pd.DataFrame,
    runs: tuple[TrialSource, TrialSource],
    metric: str,
    confidence: float,
) -> None:
    """Put into ``rates`` what paired trials of both runs tell, where they tell enough.

    Args:
        rates: What ``difference`` gives, and ``pairs``.
        table: The cell of each row, the columns ``CELL``.
        runs: The two runs.
        metric: Whose rates.
        confidence: Confidence level of the bounds.
    """
    cells = table[list(CELL)].assign(row=np.arange(len(table)))
    a, b = (_paired_trials(run, metric).merge(cells, on=list(CELL)) for run in runs)
    shared = a.merge(b, on=["row", "repetition"], suffixes=("_a", "_b"))
    rows = np.unique(shared["row"].to_numpy(np.int64))
    step = max(1, AT_ONCE // max(1, shared["repetition"].nunique()))
    names = ["hits_a", "hits_b", "injected_a", "injected_b"]
    for start in range(0, len(rows), step):
        these = rows[start : start + step]
        wide = shared[shared["row"].isin(these)].pivot(
            index="row", columns="repetition", values=names
        )
        hits_a, hits_b, injected_a, injected_b = (
            np.asarray(wide[name], np.float64) for name in names
        )
        told = paired_differences((hits_a, hits_b), (injected_a, injected_b), confidence)
        put_pairs(rates, these, told)


def _paired_trials(run: TrialSource, metric: str) -> pd.DataFrame:
    """Return the paired trials of a run: ``CELL``, ``repetition``, ``injected`` and ``hits``."""
    outcomes = list(outcomes_of(metric))
    trials = run.trials([*CELL, "sampling", "repetition", "injected", *outcomes])
    trials = as_texts(trials.assign(hits=trials[outcomes].sum(axis=1)).drop(columns=outcomes))
    paired = (trials["sampling"] == "paired").to_numpy()
    return trials[paired].drop(columns="sampling")
