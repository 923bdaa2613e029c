"""What the figures and the report show, as frames: a run's trials in the groups that matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from results.analysis.accuracy import mean_accuracy
from results.analysis.summary import WITHIN
from results.analysis.trial_source import sites_of_cells
from results.errors import NothingToShowError
from results.report.labels import PLACE
from results.report.rankings import NO_HITS, NO_TRIALS, layer_labels
from results.run_folder.schema import DRAWN

if TYPE_CHECKING:
    import pandas as pd

    from results.analysis.vulnerability import Part
    from results.reading.run import Run

CELL = (*PLACE, "bit_field", "bit", *DRAWN)
"""Columns that tell cells apart."""

FEW = 5
"""Trials, of fewer of which an accuracy has no interval."""

FIELDS = ("sign", "exponent", "mantissa", "any")
"""The order in which bit fields are shown."""


def accuracy(run: Run, *, confidence: float = 0.95) -> pd.DataFrame:
    """Return the mean accuracy by layer, kind of fault and rate; see ``mean_accuracy``.

    Returns:
        ``place``, ``WITHIN``, ``layer``, ``variable``, then the columns of ``mean_accuracy``; of
        fewer than ``FEW`` trials, which tell next to no variance, without bounds.

    Raises:
        NothingToShowError: No trial is finished.
    """
    keys = [*WITHIN, "layer", "variable"]
    trials = run.trials([*keys, "cell_id", "accuracy", "golden_accuracy"])
    if trials.empty:
        raise NothingToShowError(NO_TRIALS)
    means = mean_accuracy(trials, keys, confidence=confidence, sites=sites_of_cells(run))
    means.loc[means["trials"] < FEW, ["accuracy_low", "accuracy_high"]] = float("nan")
    return _placed(means)


def by_cell(run: Run, *, confidence: float = 0.95) -> pd.DataFrame:
    """Return the summary by cell, as its columns in the trials describe it.

    Returns:
        The columns of ``Run.summary``, by what is injected, bit and rate.

    Raises:
        NothingToShowError: No trial is finished.
    """
    if run.trials(["layer"]).empty:
        raise NothingToShowError(NO_TRIALS)
    return run.summary(CELL, confidence=confidence)


def by_bit(run: Run, *, confidence: float = 0.95) -> pd.DataFrame:
    """Return the summary by layer and bit, apart for kinds of faults and rates.

    Returns:
        ``place``, then the columns of ``Run.summary`` by ``WITHIN``, ``layer``, ``variable``,
        ``bit_field`` and ``bit``; bits that were hit, or fields that they were drawn from.
    """
    keys = [*WITHIN, "layer", "variable", "bit_field", "bit"]
    summary = run.summary(keys, confidence=confidence)
    return _placed(summary[summary["bit_field"].notna() & (summary["injected"] > 0)])


def none_of(summary: pd.DataFrame, outcome: str) -> str:
    """Return the sentence that no injected sample of a summary has an outcome."""
    return f"None of the {summary['injected'].sum():,} injected samples is {outcome}."


def drift(run: Run) -> pd.DataFrame:
    """Return ``Run.class_drift``.

    Raises:
        NothingToShowError: There is none.
    """
    recorded = _recorded(run)
    classes = recorded["golden_class"].notna() & (recorded["outcome"] == "sdc")
    if not classes.any():
        raise NothingToShowError("No recorded injection is sdc and has classes.")
    return run.class_drift()


def layer_map(
    run: Run, layer: str, *, by: Part, variable: str | None = None, confidence: float = 0.95
) -> pd.DataFrame:
    """Return ``Run.vulnerability_map``.

    Raises:
        NothingToShowError: No injection was recorded.
    """
    _recorded(run)
    return run.vulnerability_map(layer, by, variable=variable, confidence=confidence)


@dataclass(frozen=True)
class Worst:
    """The layer in which faults lose most.

    Args:
        layer: Its address.
        variable: None for outputs; for weights the variable with most of the lost samples.
        groupings: By which parts its map can be drawn.
    """

    layer: str
    variable: str | None
    groupings: tuple[Part, ...]


def worst_layer(run: Run) -> Worst:
    """Return the layer in which faults lose most, of those that were hit alone.

    Raises:
        NothingToShowError: Nothing was recorded, or no sample of a layer is lost.
    """
    recorded = _recorded(run)
    rows = run.criticality(["layer", "target"])
    rows = rows[rows["layer"].isin(list(run.header.layers)) & (rows["sdc+due"] > 0)]
    if rows.empty:
        raise NothingToShowError("No injected sample of a single layer is sdc or due.")
    layer, target = (str(rows[name].iloc[0]) for name in ("layer", "target"))
    if target == "weights":
        harmful = (recorded["layer"] == layer) & recorded["outcome"].isin(["sdc", "due"])
        variables = recorded.loc[harmful, "variable"].value_counts()
        return Worst(layer, str(variables.index[0]), ("element",))
    shape = run.header.layers[layer]["shape"]
    mapped = len(shape) > 1 and None not in shape
    return Worst(layer, None, ("position", "channel") if mapped else ("element",))


def _recorded(run: Run) -> pd.DataFrame:
    """Return the recorded injections.

    Raises:
        NothingToShowError: There are none.
    """
    if run.campaign.get("record") != "injections":
        raise NothingToShowError(
            "The injections were not recorded: the campaign has no `record: injections`."
        )
    injections = run.injections()
    if injections.empty:
        hit = run.trials(["injected"])["injected"].any()
        raise NothingToShowError("No injection is recorded yet." if hit else NO_HITS)
    return injections


def _placed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with their layers' labels in front."""
    frame = frame.reset_index(drop=True)
    return frame.assign(place=layer_labels(frame))[["place", *frame.columns]]
