"""Turning what the engine returns into rows of the results."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

import results
from injecttf2.engine import Evaluation, Injections
from injecttf2.graph import LayerInfo
from injecttf2.outcomes import OUTCOMES
from injecttf2.trials import Cell, Identity, Trial, cell_id

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


def weight(cell: Cell, samples: int) -> float:
    """Return what a trial of ``cell`` costs, in injected samples."""
    return samples * (cell.probability + TRIAL_COST)


def trials_table(
    trials: Sequence[Trial],
    evaluation: Evaluation,
    *,
    layer: LayerInfo,
    identity: Identity,
    samples: int,
    golden_accuracy: float,
    source: Source,
) -> pa.Table:
    """Return one row for each trial, in ``results.TRIALS``."""
    tallies = evaluation.tallies
    count = len(trials)
    cells = {trial.cell: cell_id(identity, trial.cell) for trial in trials}
    weights = np.array([weight(trial.cell, samples) for trial in trials])
    columns: dict[str, Any] = {
        "trial_id": np.array([trial.id for trial in trials], np.uint64),
        "cell_id": np.array([cells[trial.cell] for trial in trials], np.uint64),
        "layer": [layer.layer] * count,
        "layer_index": [layer.index] * count,
        "layer_type": [layer.type] * count,
        "target": [trial.cell.target for trial in trials],
        "fault": [trial.cell.fault.name for trial in trials],
        "bit": [trial.cell.fault.bit for trial in trials],
        "bit_field": [trial.cell.fault.field(layer.dtype) for trial in trials],
        "probability": [trial.cell.probability for trial in trials],
        "repetition": [trial.repetition for trial in trials],
        "samples": np.full(count, samples),
        "injected": tallies.injected,
        "masked": tallies.masked,
        "benign": tallies.benign,
        "sdc": tallies.sdc,
        "sdc_critical": tallies.sdc_critical,
        "due": tallies.due,
        "accuracy": tallies.correct / samples,
        "golden_accuracy": np.full(count, golden_accuracy),
        "seconds": source.seconds * weights / weights.sum(),
        "worker": [source.worker] * count,
        "finished_at": [source.finished_at] * count,
    }
    return results.trials_table(columns)


def injections_table(trials: Sequence[Trial], injections: Injections) -> pa.Table:
    """Return one row for each injected site, in ``results.INJECTIONS``."""
    ids = np.array([trial.id for trial in trials], np.uint64)
    names = pa.array(OUTCOMES, pa.string())
    due = injections.faulty_class < 0
    columns: dict[str, Any] = {
        "trial_id": ids[injections.trial],
        "sample": injections.sample,
        "element": injections.element,
        "bit": injections.bit,
        "original": injections.original,
        "corrupted": injections.corrupted,
        "outcome": pa.DictionaryArray.from_arrays(injections.outcome.astype(np.int32), names),
        "golden_class": injections.golden_class,
        "faulty_class": pa.array(injections.faulty_class, mask=due),
    }
    return results.injections_table(columns)
