"""What a plan will take: seconds on this machine and bytes of results."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from injecttf2.errors import ModelError, todo, told
from injecttf2.graph import Graph, Step
from injecttf2.trials import WEIGHTS
from orchestrator.plan import Plan

SAMPLES = 128
"""Samples in the batch that the model's speed is measured with."""

START_SECONDS = 15.0
"""Starting Ray and loading TensorFlow in every process."""

DRAW_SECONDS = 2e-8
"""Drawing the sites of a trial, for each sample of the data set."""

TRIAL_BYTES = 35
"""A trial's row in Parquet: 32 MB for a million, and what small files cost."""

INJECTION_BYTES = 24
"""A recorded site's row in Parquet."""


@dataclass(frozen=True)
class Estimate:
    """What a plan will take, roughly.

    Args:
        seconds: On this machine with all its cores, start-up included.
        bytes: In the run directory.
    """

    seconds: float
    bytes: int


def estimate(plan: Plan) -> Estimate:
    """Estimate a plan from one timed forward pass and the share of each layer's suffix in it.

    Within a factor of two or so: small models are bound by overheads, not by arithmetic.

    Raises:
        ModelError: The model raises on the data, as it would when it is run.
    """
    per_sample = _seconds_per_sample(plan)
    total = sum(_cost(plan.graph, step) for step in plan.graph.steps)
    samples = len(plan.dataset)
    seconds = START_SECONDS + len(plan.grid) * samples * DRAW_SECONDS
    for group in plan.grid.groups:
        scope = group.scope
        suffix = plan.graph.cut_of(scope.layers, weights=scope.target == WEIGHTS).suffix
        share = sum(_cost(plan.graph, step) for step in suffix) / total
        cells = plan.grid.cells(group)
        hits = sum(trials * plan.hits(cell) for cell, trials in cells)
        seconds += hits * share * per_sample
    size = len(plan.grid) * TRIAL_BYTES
    if plan.campaign.record == "injections":
        size += int(plan.injections) * INJECTION_BYTES
    return Estimate(seconds, size)


def _seconds_per_sample(plan: Plan) -> float:
    """Time the whole model, the best of three runs after a first.

    Raises:
        ModelError: It raises on these data.
    """
    graph, arrays = plan.graph, plan.dataset.input_arrays
    batch = [tf.constant(np.resize(array, (SAMPLES, *array.shape[1:]))) for array in arrays]

    def forward(*values: Any) -> Any:
        return graph.run(graph.steps, graph.feed(values))[id(graph.output)]

    compiled = tf.function(forward, autograph=False)
    try:
        compiled(*batch)
    except Exception as error:
        raise ModelError(
            f"the model cannot be run on the data: {told(error)}",
            place=plan.model.name,
            hint=todo(error),
        ) from error
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        compiled(*batch).numpy()
        times.append(time.perf_counter() - begin)
    return min(times) / SAMPLES


def _cost(graph: Graph, step: Step) -> float:
    """Return the work of a step for one sample: its values, and its multiply-accumulates."""
    elements = sum(graph.row_bytes(key) for key in step.outputs) / 4
    kernel = getattr(step.operation, "kernel", None)
    if kernel is None:
        return elements
    return elements + elements / int(kernel.shape[-1]) * float(np.prod(kernel.shape))
