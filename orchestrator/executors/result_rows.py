"""Turning what the engine returns into rows of the results."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import results
from injecttf2.evaluation.records import Evaluation, Injections
from injecttf2.faults.listed import FromFaultList
from injecttf2.graph.layer_info import LayerInfo
from injecttf2.judging.outcomes import OUTCOMES
from injecttf2.sampling.rates import RATES
from injecttf2.trial import TOGETHER, Cell, Identity, Trial, canonical_json, cell_id

TRIAL_COST = 0.02
"""Time that a trial takes for each sample that is not hit, relative to one that is: its draws."""


@dataclass(frozen=True)
class Source:
    """Where and when rows were made.

    Args:
        worker: Name of the worker.
        seconds: Time that all the rows took together.
        finished_at: When they were done, UTC.
    """

    worker: str
    seconds: float
    finished_at: datetime.datetime


@dataclass(frozen=True)
class Measured:
    """What rows tell of where and on what they were made.

    Args:
        layers: The layers that are hit.
        dtypes: The dtypes of the words that may be hit.
        identity: What the ids of trials are made from.
        samples: Samples in the data set.
        golden_accuracy: Accuracy without faults.
        columns: Names of the columns of metrics, then criteria.
    """

    layers: Sequence[LayerInfo]
    dtypes: Sequence[str]
    identity: Identity
    samples: int
    golden_accuracy: float
    columns: Sequence[str] = ()


def trials_table(
    trials: Sequence[Trial], evaluation: Evaluation, *, measured: Measured, source: Source
) -> pa.Table:
    """Return one row for each trial, in ``results.trials_schema`` of the columns."""
    tallies = evaluation.tallies
    count = len(trials)
    cells = {id(trial.cell): trial.cell for trial in trials}  # hashing a fault takes long
    told = {key: _cell_columns(cell, measured) for key, cell in cells.items()}
    samples = measured.samples
    weights = tallies.injected + TRIAL_COST * samples
    more = (*tallies.metrics.T, *tallies.criteria.T)
    columns: dict[str, Any] = {
        **{name: [told[id(trial.cell)][name] for trial in trials] for name in CELL_COLUMNS},
        "trial_id": np.array([trial.id for trial in trials], np.uint64),
        "bare_trial_id": [trial.bare for trial in trials],
        "repetition": [trial.repetition for trial in trials],
        "sites": evaluation.sites,
        "samples": np.full(count, samples),
        "injected": tallies.injected,
        "masked": tallies.masked,
        "benign": tallies.benign,
        "sdc": tallies.sdc,
        "sdc_critical": tallies.sdc_critical,
        "due": tallies.due,
        "due_changed": tallies.due_changed,
        "detected": _detected(trials, evaluation),
        "accuracy": tallies.correct / samples,
        "golden_accuracy": np.full(count, measured.golden_accuracy),
        **dict(zip(measured.columns, more, strict=True)),
        "seconds": source.seconds * weights / weights.sum(),
        "worker": [source.worker] * count,
        "finished_at": [source.finished_at] * count,
    }
    return results.trials_table(columns, measured.columns)


def _cell_columns(cell: Cell, measured: Measured) -> dict[str, Any]:
    """Return what the rows of all trials of a cell have in common."""
    fault, rate = cell.fault, cell.rate
    parameters = fault.parameters()
    types = dict.fromkeys(layer.type for layer in measured.layers)
    fields = set()
    for dtype in measured.dtypes:
        with contextlib.suppress(ValueError):  # of a weight that the cell does not hit
            fields.add(fault.field(dtype))
    return {
        "cell_id": cell_id(measured.identity, cell),
        "layer": cell.layer,
        "layer_index": measured.layers[0].index,
        "layer_type": TOGETHER.join(types),
        "target": cell.target,
        "variable": cell.variable,
        "fault": fault.name,
        "bit": fault.bit,
        "bit_field": fields.pop() if len(fields) == 1 else "any",
        "parameters": canonical_json(parameters).decode() if parameters else None,
        **{name: rate.value if rate.name == name else None for name in RATES},
        "sampling": _sampling(cell),
        "protection": None if (it := cell.scope.protection) is None else it.label,
        "listed_as": rate.label if isinstance(rate, FromFaultList) else None,
    }


def _detected(trials: Sequence[Trial], evaluation: Evaluation) -> list[int | None]:
    """Return how many samples of each trial a protection stopped, None where there is none."""
    return [
        None if trial.cell.scope.protection is None else count
        for trial, count in zip(trials, evaluation.detected.tolist(), strict=True)
    ]


def _sampling(cell: Cell) -> str:
    """Return how the sites of a cell's trials are chosen."""
    sampling = cell.rate.sampling
    return "paired" if cell.paired and sampling == "random" else sampling


CELL_COLUMNS = (
    *("cell_id", "layer", "layer_index", "layer_type", "target", "variable"),
    *("fault", "bit", "bit_field", "parameters", *RATES, "sampling", "protection", "listed_as"),
)
"""The columns of ``results.TRIALS`` that a cell decides."""


def injections_table(
    trials: Sequence[Trial], injections: Injections, *, layers: Sequence[str]
) -> pa.Table:
    """Return one row for each injected site and sample, in ``results.INJECTIONS``.

    Args:
        trials: The trials that were evaluated.
        injections: Their sites.
        layers: Addresses of the layers that are hit.
    """
    ids = np.array([trial.id for trial in trials], np.uint64)
    columns: dict[str, Any] = {
        "trial_id": ids[injections.trial],
        "layer": _named(injections.layer, layers),
        "variable": injections.variable,
        "sample": injections.sample,
        "element": injections.element,
        "bit": pa.array(injections.bit, pa.int16(), mask=injections.bit < 0),
        "original": injections.original,
        "corrupted": injections.corrupted,
        "outcome": _named(injections.outcome, OUTCOMES),
        "golden_class": pa.array(injections.golden_class, mask=injections.golden_class < 0),
        "faulty_class": pa.array(injections.faulty_class, mask=injections.faulty_class < 0),
    }
    if injections.variable is None:
        del columns["variable"]
    return results.injections_table(columns)


def _named(codes: npt.NDArray[Any], names: Sequence[str]) -> pa.DictionaryArray:
    """Return the names that codes stand for."""
    return pa.DictionaryArray.from_arrays(codes.astype(np.int32), pa.array(names, pa.string()))
