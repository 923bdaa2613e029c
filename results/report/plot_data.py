"""What the figures and the report show, as frames: a run's trials in the groups that matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from results.analysis.accuracy import mean_accuracy
from results.analysis.trial_source import sites_of_cells
from results.errors import NothingToShowError
from results.frames import differing
from results.report.labels import PLACE, place_labels, rate_labels
from results.run_folder.schema import RATES

if TYPE_CHECKING:
    import pandas as pd

    from results.analysis.vulnerability import Part
    from results.reading.run import Run

CELL = (*PLACE, "bit_field", "bit", *RATES, "sampling")
"""Columns that tell cells apart."""

FIELDS = ("sign", "exponent", "mantissa", "any")
"""The order in which bit fields are shown."""


def places(run: Run) -> list[str]:
    """Return the columns that tell apart what is injected: ``layer``, and others that differ.

    Raises:
        NothingToShowError: No trial is finished.
    """
    trials = run.trials(PLACE)
    if trials.empty:
        raise NothingToShowError("No trial is finished yet.")
    return ["layer", *differing(trials, PLACE[1:])]


def accuracy_by_rate(run: Run, *, confidence: float = 0.95) -> pd.DataFrame:
    """Return the mean accuracy by what is injected and by rate; see ``mean_accuracy``.

    Returns:
        ``place``, ``rate``, then the columns of ``mean_accuracy``, by place and rate.

    Raises:
        NothingToShowError: No trial is finished.
    """
    keys = [*places(run), *RATES, "sampling"]
    trials = run.trials([*keys, "cell_id", "accuracy", "golden_accuracy"])
    means = mean_accuracy(trials, keys, confidence=confidence, sites=sites_of_cells(run))
    return _labelled(means)


def by_place(run: Run, *, confidence: float = 0.95) -> pd.DataFrame:
    """Return the summary by what is injected.

    Returns:
        ``place``, then the columns of ``Run.summary``.

    Raises:
        NothingToShowError: No trial is finished.
    """
    return _labelled(run.summary(places(run), confidence=confidence))


def by_cell(run: Run, *, confidence: float = 0.95) -> pd.DataFrame:
    """Return the summary by cell, as its columns in the trials describe it.

    Returns:
        The columns of ``Run.summary``, by what is injected, bit and rate.

    Raises:
        NothingToShowError: No trial is finished.
    """
    places(run)
    return run.summary(CELL, confidence=confidence)


def by_bit(run: Run, *, confidence: float = 0.95) -> pd.DataFrame:
    """Return the summary by what is injected and by bit.

    Returns:
        ``place``, then the columns of ``Run.summary`` by place, ``bit_field`` and ``bit``.

    Raises:
        NothingToShowError: No trial has a bit of its own, or none of them hit a sample.
    """
    summary = run.summary([*places(run), "bit_field", "bit"], confidence=confidence)
    summary = summary[summary["bit"].notna()]
    if summary.empty:
        raise NothingToShowError(
            "No cell has a bit of its own: bits were drawn from a set, or the fault has none."
        )
    return _labelled(_hit(summary))


def by_bit_field(run: Run, *, confidence: float = 0.95) -> pd.DataFrame:
    """Return the summary by bit field, over all layers, and by target and fault where they differ.

    Returns:
        ``place``, empty where nothing differs, then the columns of ``Run.summary``.

    Raises:
        NothingToShowError: No trial has bits, or none of them hit a sample.
    """
    keys = [name for name in places(run) if name not in ("layer", "variable")]
    summary = run.summary([*keys, "bit_field"], confidence=confidence)
    summary = summary[summary["bit_field"].notna()]
    if summary.empty:
        raise NothingToShowError("The faults have no bits.")
    summary = _hit(summary)
    place = summary["bit_field"].astype(str).map({name: at for at, name in enumerate(FIELDS)})
    return _labelled(summary.iloc[place.argsort(kind="stable")], keys)


def ranking(run: Run, *, metric: str = "sdc", confidence: float = 0.95) -> pd.DataFrame:
    """Return the layers and bits that have an outcome, by rank.

    Where bits were drawn, their field stands for them.

    Returns:
        ``place``, which names the bit too, then the columns of ``Run.criticality``, by rank.

    Raises:
        NothingToShowError: No sample was hit, or none has the outcome.
    """
    keys = [*places(run), "bit_field", "bit"]
    every = _hit(run.criticality(keys, metric=metric, confidence=confidence))
    ranked = _labelled(every[every[metric] > 0])
    if ranked.empty:
        raise NothingToShowError(none_of(every, metric))
    bits = zip(ranked["place"], ranked["bit"], ranked["bit_field"].astype(object), strict=True)
    return ranked.assign(place=[_with_bit(*names) for names in bits])


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
    """The layer with the highest sdc rate.

    Args:
        layer: Its address.
        variable: None where outputs have that rate; for weights the variable with most of the sdc
            samples.
        groupings: By which parts its map can be drawn.
    """

    layer: str
    variable: str | None
    groupings: tuple[Part, ...]


def worst_layer(run: Run) -> Worst:
    """Return the layer with the highest sdc rate.

    Layers that were hit together are none: what each of them did is not known.

    Raises:
        NothingToShowError: Nothing was recorded, or no sample of a layer is sdc.
    """
    recorded = _recorded(run)
    rows = run.summary(["layer", "target"])
    rows = rows[rows["layer"].isin(list(run.header.layers)) & (rows["sdc"] > 0)]
    if rows.empty:
        raise NothingToShowError("No injected sample of a single layer is sdc.")
    layer, target = rows.nlargest(1, "sdc_rate")[["layer", "target"]].astype(str).to_numpy()[0]
    if target == "weights":
        harmful = (recorded["layer"] == layer) & (recorded["outcome"] == "sdc")
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
        _hit(run.summary(places(run)))
        raise NothingToShowError("No injection is recorded yet.")
    return injections


def _hit(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the rows in which samples were injected.

    Raises:
        NothingToShowError: There are none.
    """
    hit = summary[summary["injected"] > 0]
    if hit.empty:
        raise NothingToShowError(
            "Nothing was hit: the rates of these trials are 0, or too low for so few samples."
        )
    return hit


def _with_bit(place: str, bit: object, field: object) -> str:
    """Return what a place and its bit, or the field that it was drawn from, are called."""
    if isinstance(bit, int | np.integer):
        return f"{place} bit {bit}"
    if isinstance(field, str):
        return f"{place} any bit" if field == "any" else f"{place} {field}"
    return place


def _labelled(frame: pd.DataFrame, columns: list[str] | None = None) -> pd.DataFrame:
    """Return the rows with their labels in front."""
    keys = [name for name in PLACE if name in frame] if columns is None else columns
    labels = {"place": place_labels(frame, keys)}
    if set(RATES) <= set(frame.columns):
        labels["rate"] = rate_labels(frame)
    labelled = frame.assign(**labels)
    return labelled[[*labels, *frame.columns]].reset_index(drop=True)
