"""The answer that a user comes for, as a sentence: what is critical, and how sure that is.

The report and the command line begin with it.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from results.analysis.criticality import ACCURACY_LOST, JOINT, METRIC
from results.analysis.rate_estimates import EXACT
from results.analysis.summary import WITHIN, summary
from results.errors import NothingToShowError
from results.report.rankings import rankings
from results.report.tables import percent, rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from results.reading.run import Run
    from results.report.rankings import By, Ranking

FEW = 3
"""Rates that have a sentence each; of more, the highest has one."""

MOST = 4
"""Kinds of faults that have a sentence."""

_TOLD = {
    METRIC: "of injected samples are lost (sdc or due)",
    ACCURACY_LOST: "of accuracy is lost",
}
_TOGETHER = " + "
"""Joins the names of layers that are hit together."""


def answer(run: Run, by: By = "layer", metric: str = METRIC, confidence: float = 0.95) -> str:
    """Return which layer or bit is the most critical, and whether that is certain.

    Kinds of faults and rates are never pooled: each has a sentence, of more than three rates the
    highest. Layers that are hit together are no layer, but where there is nothing else.

    Args:
        run: The run, finished or not, as ``open_run`` returns it.
        by: ``layer`` or ``bit``. Where bits have no trials of their own, fields are told.
        metric: ``sdc+due``, the default, or another one of ``Run.criticality``.
        confidence: Two-sided confidence level of the intervals, and of what is called certain.

    Returns:
        Plain text, a line for each sentence. Empty for bits where there are none, or where the
        answer for layers says all there is.

    Raises:
        ValueError: The metric is unknown, or ``confidence`` is out of range.

    Examples:
        >>> from injecttf2 import open_run
        >>> from results.report.answer import answer
        >>> print(answer(open_run("runs/first"), "bit"))
        Bit 30 is the most critical bit: 47.95% (47.21 to 48.69) of injected ...
    """
    try:
        found = rankings(run, by, metric=metric, confidence=confidence)
    except NothingToShowError as error:
        return error.message if by == "layer" else ""
    status = run.status()
    told = sentences(
        run, found, by=by, metric=metric, confidence=confidence, finished=status.finished
    )
    if by == "layer" and not status.finished:
        told += f"\n{status.done:,} of {status.planned:,} trials are done; what comes may be worse."
    return told


def sentences(
    run: Run,
    found: Sequence[Ranking],
    *,
    by: By,
    metric: str = METRIC,
    confidence: float = 0.95,
    finished: bool = True,
) -> str:
    """Return what ``answer`` does, of rankings that are there already; see ``sentence``."""
    chosen, left = _chosen(found, metric)
    lines = [
        sentence(run, one, by, rates, metric=metric, confidence=confidence, finished=finished)
        for one, rates in chosen
    ]
    if left and by == "layer":
        lines.append(f"{left} more kinds of faults are not told here.")
    return "\n".join(filter(None, lines))


def _chosen(
    found: Sequence[Ranking], metric: str
) -> tuple[list[tuple[Ranking, Sequence[Ranking]]], int]:
    """Return the rankings to tell, each with those at all rates that it is the highest of.

    The second value is how many kinds of faults are left out, those that lose least.
    """
    kinds = by_kind(found)
    if len(kinds) == 1 and len(found) <= FEW:
        return [(one, ()) for one in found], 0
    highest: list[tuple[Ranking, Sequence[Ranking]]] = [(one[-1], one) for one in kinds.values()]
    if len(highest) > MOST:
        highest.sort(key=lambda one: -one[0].rows[f"{metric}_rate"].max())
    return highest[:MOST], max(0, len(highest) - MOST)


def by_kind(found: Sequence[Ranking]) -> dict[str, list[Ranking]]:
    """Return rankings by the kind of fault that they are of, rates as they come."""
    kinds: dict[str, list[Ranking]] = {}
    for one in found:
        kinds.setdefault(one.kind, []).append(one)
    return kinds


def sentence(
    run: Run,
    one: Ranking,
    by: By,
    rates: Sequence[Ranking] = (),
    *,
    metric: str = METRIC,
    confidence: float = 0.95,
    finished: bool = True,
) -> str:
    """Return the sentence of a ranking; empty where there is none.

    Args:
        run: The run.
        one: The ranking.
        by: What it ranks.
        rates: Those of the same kind of fault at all rates, if what they say is to be told.
        metric: See ``answer``.
        confidence: See ``answer``.
        finished: Whether all trials are done. If not, nothing is certain.
    """
    label = one.label
    if len(rates) > 1 and rates[-1] is one:
        label += f" (the highest of {len(rates)} rates)"
    if (one.rows[f"{metric}_rate"] > 0).any():
        told = _most_critical(one.rows, by, metric, finished=finished)
        told = told and f"{told.removesuffix('.')}{_elsewhere(one, rates, by, metric)}."
    elif by == "layer":
        told = _none(run, one, metric, confidence)
    else:
        return ""
    return f"{label}: {told}" if label and told else told[:1].upper() + told[1:]


def _alone(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of layers that are hit alone; all where there are none."""
    single = rows[~rows["place"].str.contains(_TOGETHER, regex=False)]
    return rows if single.empty else single


def _names(rows: pd.DataFrame, by: By) -> list[str]:
    return [
        name if name.startswith("bit ") and by == "bit" else f"`{name}`" for name in rows["place"]
    ]


def _elsewhere(one: Ranking, rates: Sequence[Ranking], by: By, metric: str) -> str:
    """Return what is the most critical at other rates, as an end of a sentence."""
    firsts = [
        (other.rate, _names(_alone(other.rows).head(1), by)[0])
        for other in rates
        if (other.rows[f"{metric}_rate"] > 0).any()
    ]
    own = _names(_alone(one.rows).head(1), by)[0]
    told = []
    for name, some in groupby(firsts, key=lambda first: first[1]):
        at = [rate for rate, _ in some]
        if name != own:
            where = at[0] if len(at) == 1 else f"{at[0]} to {at[-1]}"
            told.append(f"at {where} it is {name}")
    return "".join(f"; {part}" for part in told)


def _most_critical(rows: pd.DataFrame, by: By, metric: str, *, finished: bool) -> str:
    """Return the sentence of the row that is ranked first."""
    rows = _alone(rows)
    names = _names(rows, by)
    noun = "bit field" if by == "bit" and rows["bit"].isna().iloc[0] else by
    value, low, high = (float(rows[f"{metric}_{end}"].iloc[0]) for end in ("rate", "low", "high"))
    exact = rows["method"] == EXACT
    how = f"{percent(value)} (exact)" if exact.iloc[0] else rate(value, low, high)
    told = f"{how} {_TOLD.get(metric, f'of injected samples are {metric}')}"
    if len(rows) == 1:
        return "" if by == "bit" else f"{names[0]}: {told}; no other {noun} was injected."
    if not finished:
        return f"so far {names[0]} is the most critical {noun}: {told}."
    unsure = (rows[JOINT[1]] >= rows[JOINT[0]].iloc[0]).to_numpy()[1:]
    doubt = [name for name, it in zip(names[1:], unsure, strict=True) if it]
    if not doubt:
        rest = {2: names[1], 3: "both others"}.get(len(names), f"all {len(names) - 1} others")
        sure = f"certain against {rest}"
    elif exact.all():
        sure = f"level with {_listed(doubt)}"
    else:
        sure = f"not certain against {_listed(doubt)}"
    return f"{names[0]} is the most critical {noun}: {told}, {sure}."


def _none(run: Run, one: Ranking, metric: str, confidence: float) -> str:
    """Return the sentence of a ranking in which nothing was lost."""
    if metric == ACCURACY_LOST:
        return "no layer loses accuracy."
    every = summary(run, WITHIN, confidence)
    same = one.select(every).iloc[0]
    what = {METRIC: "sdc or due"}.get(metric, metric)
    most = (
        "exactly none" if same["method"] == EXACT else f"at most {_small(same[f'{metric}_high'])}"
    )
    return f"no {what} in {same['injected']:,} injected samples: {most}."


def _small(value: float) -> str:
    """Return a share as a percentage or, where that would be mostly zeros, by the million."""
    return percent(value) if value >= 0.0001 else f"{1e6 * value:.2g} per million"


def _listed(names: Sequence[str]) -> str:
    """Return names as part of a sentence: the first of many, and how many others."""
    if len(names) > 2:
        return f"{names[0]} and {len(names) - 1} others"
    return " and ".join(names)
