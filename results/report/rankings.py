"""Layers or bits by rank, apart for each kind of fault and each rate: these are never pooled.

A mean over probabilities, counts or bit error rates is that of no experiment, and neither is one
over faults in outputs and in weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from results.analysis.criticality import METRIC, ranked
from results.analysis.summary import KIND, WITHIN
from results.errors import NothingToShowError
from results.frames import differing
from results.report.labels import UNPROTECTED, fault_label, place_labels, rate_labels
from results.run_folder.schema import DRAWN, RATES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from results.analysis.trial_source import TrialSource

ANY = "any"
"""The field of a bit that was drawn from the whole word."""

NO_TRIALS = "No trial is finished yet."
NO_HITS = "Nothing was hit: the rates of these trials are 0, or too low for so few samples."
NO_BITS = (
    "No bit has trials of its own: bits were drawn from the whole word, or the fault has none."
)

By = Literal["layer", "bit"]
"""What is ranked."""

_RANKED = {"layer": ["layer", "variable"], "bit": ["bit_field", "bit"]}


@dataclass(frozen=True)
class Ranking:
    """Layers or bits that one kind of fault at one rate was injected in.

    Args:
        kind: What the fault is, as far as other kinds differ: ``weights stuck_at value=0``.
        rate: Its rate: ``BER 1e-06``.
        label: As much of both as tells it from the other rankings of the run.
        rows: ``place``, then the columns of ``criticality.ranked``, by rank, without those that
            were not hit.
    """

    kind: str
    rate: str
    label: str
    rows: pd.DataFrame

    @property
    def key(self) -> tuple[object, ...]:
        """What kind of fault it is at which rate, whatever run it is of; None for a null."""
        row = self.rows[list(WITHIN)].astype(object).iloc[0]
        return tuple(None if null else value for value, null in zip(row, row.isna(), strict=True))

    def select(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a frame that are of the same kind and rate, in their order."""
        return frame.merge(self.rows.head(1)[list(WITHIN)], on=list(WITHIN))


def rankings(
    run: TrialSource, by: By, *, metric: str = METRIC, confidence: float = 0.95
) -> list[Ranking]:
    """Return the rankings of a run, kind by kind, each from the lowest rate to the highest.

    Of bits, those that have trials of their own are ranked, and the fields that bits were drawn
    from.

    Raises:
        NothingToShowError: No trial is finished, none hit a sample, or there are no bits.
        ValueError: The metric is unknown, or ``confidence`` is out of range.
    """
    trials = run.trials([*WITHIN, "bit", "bit_field", "injected"])
    if trials.empty:
        raise NothingToShowError(NO_TRIALS)
    if not trials["injected"].any():
        raise NothingToShowError(NO_HITS)
    table = ranked(run, _RANKED[by], within=WITHIN, metric=metric, confidence=confidence)
    table = table[table["injected"] > 0]
    if by == "bit":
        table = _with_bits(table)
    apart = differing(trials, KIND)
    several = bool(differing(trials, DRAWN))
    mixed = trials.groupby(list(RATES), dropna=False)["sampling"].nunique().gt(1).any()
    found = []
    for _, rows in table.groupby(list(WITHIN), observed=True, dropna=False, sort=False):
        kind, rate = _kind(rows.iloc[0].to_dict(), apart), rate_labels(rows.head(1))[0]
        how = str(rows["sampling"].iloc[0])
        rate += f" {how}" if mixed and how not in rate else ""
        label = ", ".join(filter(None, [kind, rate if several else ""]))
        names = layer_labels(rows) if by == "layer" else bit_labels(rows)
        rows = rows.reset_index(drop=True)
        rows.insert(0, "place", names)
        found.append(Ranking(kind, rate, label, rows))
    return found


def shown_first(found: Sequence[Ranking]) -> int:
    """Return which ranking is shown first; 0 of none.

    It is the highest rate of the kind of faults that loses most, without a protection if there are
    such.
    """
    last = {one.kind: number for number, one in enumerate(found)}

    def order(number: int) -> tuple[bool, float]:
        rows = found[number].rows
        return bool(rows["protection"].isna().iloc[0]), float(rows["sdc+due_rate"].max())

    return max(last.values(), key=order, default=0)


def chosen(found: Sequence[Ranking], label: str | None) -> Ranking:
    """Return the ranking with a label; the last, which is that of the highest rate, for None.

    Raises:
        ValueError: There is none.
    """
    for one in reversed(found):
        if label in (None, one.label):
            return one
    expected = ", ".join(repr(one.label) for one in found)
    raise ValueError(f"label is {label!r}, expected one of: {expected}.")


def layer_labels(rows: pd.DataFrame) -> list[str]:
    """Return the layer of every row, and its variable where the rows have several."""
    several = rows.groupby("layer", observed=True)["variable"].nunique().gt(1).any()
    return place_labels(rows, ["layer", "variable"] if several else ["layer"])


def bit_labels(rows: pd.DataFrame) -> list[str]:
    """Return the bit of every row, ``bit 30``, or the field that it was drawn from."""
    return [f"bit {name}" if name.isdecimal() else name for name in bit_names(rows)]


def bit_names(rows: pd.DataFrame) -> list[str]:
    """Return the bit of every row, ``30``, or the field that it was drawn from."""
    pairs = zip(rows["bit"].astype(object), rows["bit_field"].astype(object), strict=True)
    return [str(bit if isinstance(bit, int | np.integer) else field) for bit, field in pairs]


def _kind(row: Mapping[Any, object], apart: Sequence[str]) -> str:
    """Return what the fault of a row is, as far as ``apart``, some of ``KIND``, tells it."""
    words = [str(row["target"])] if "target" in apart else []
    if {"fault", "parameters"} & {*apart}:
        words.append(fault_label(str(row["fault"]), row["parameters"]))
    if "protection" in apart:
        given = row["protection"]
        words.append(given if isinstance(given, str) else UNPROTECTED)
    return " ".join(words)


def _with_bits(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of numbered bits and of fields that bits were drawn from.

    Raises:
        NothingToShowError: There are none, or bits were drawn from the whole word alone.
    """
    table = table[table["bit_field"].notna()]
    if (table["bit"].isna() & (table["bit_field"] == ANY)).all():
        raise NothingToShowError(NO_BITS)
    return table
