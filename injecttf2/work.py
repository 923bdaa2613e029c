"""The work of a step for one sample, in multiply-accumulates.

Moving an element through memory takes about as long as ``ELEMENT`` of them, as measured with a
convolutional network on two cores. A rough model: it ranks ways, and measurements decide.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from injecttf2.graph import Graph, Step
from injecttf2.path import NoRule, Path, probe
from injecttf2.windows import GoldenKey, Window, tensor_of

ELEMENT = 50.0

WINDOW = 3.0
"""Work on a window, relative to the same work on a whole tensor: places are computed for each."""

REPACKING = 5_000.0
"""Handing a sample from one compiled function to the next."""


def products(step: Step) -> float:
    """Return the multiply-accumulates of a step with a kernel, for one sample; 0 for others."""
    kernel = getattr(step.operation, "kernel", None)
    if kernel is None:
        return 0.0
    places = math.prod(size or 1 for size in step.node.outputs[0].shape[1:-1])
    return float(places * math.prod(kernel.shape))


def dense_work(graph: Graph, step: Step) -> float:
    """Return the work of a step on whole tensors."""
    elements = sum(math.prod(graph.shape(key)) for key in (*step.inputs, *step.outputs))
    return products(step) + ELEMENT * elements


@dataclass(frozen=True)
class WindowWork:
    """Work on windows.

    Args:
        steps: Of each step that can be taken on windows, in order.
        widening: ``widening[n]`` is that of making whole tensors of the windows after n steps.
        live: ``live[n]`` is the number of elements in the windows after n steps.
        windows: ``windows[n]`` are the tensors that have windows after n steps.
        golden: ``golden[n]`` are the golden tensors that n steps and making whole tensors of the
            windows need.
    """

    steps: tuple[float, ...]
    widening: tuple[float, ...]
    live: tuple[int, ...]
    windows: tuple[frozenset[GoldenKey], ...]
    golden: tuple[frozenset[GoldenKey], ...]


def window_work(path: Path) -> WindowWork:
    """Return the work of the steps behind a cut on windows, as far as there are rules.

    Args:
        path: The steps, all of which are taken on windows.
    """
    graph = path.graph
    steps: list[float] = []
    widening: list[float] = []
    live: list[int] = []
    keys: list[frozenset[GoldenKey]] = []
    golden: list[frozenset[GoldenKey]] = []
    read: set[GoldenKey] = set(path.frontier)

    def read_golden(key: GoldenKey) -> tf.Tensor:
        read.add(key)
        return probe(graph, key)

    def note(windows: Mapping[int, Window]) -> None:
        shapes = {key: graph.shape(key) for key in windows}
        narrow = [key for key, window in windows.items() if window.extents != shapes[key]]
        widening.append(ELEMENT * sum(math.prod(shapes[key]) for key in narrow))
        live.append(sum(math.prod(window.extents) for window in windows.values()))
        keys.append(frozenset(windows))
        golden.append(frozenset(read | set(narrow)))

    def trace(shared: Any, batch: Any) -> Any:
        rows, *wrong = batch
        differences = path.differences(rows, read_golden, xla=False)
        path.inject(differences, shared, wrong)
        note(differences.windows)
        for index, step in enumerate(path.steps):
            before = dict(differences.windows)
            try:
                path.run(differences, index, index + 1)
            except NoRule:
                break
            after = differences.windows.get(step.outputs[0])
            if after is None:
                break
            steps.append(_work_on_windows(graph, step, before, after))
            note(differences.windows)
        return rows

    specs = path.shared_specs(), path.single_specs(8)
    tf.function(trace, autograph=False).get_concrete_function(*specs)
    return WindowWork(tuple(steps), tuple(widening), tuple(live), tuple(keys), tuple(golden))


def golden_bytes(graph: Graph, keys: Iterable[GoldenKey]) -> int:
    """Return the size of golden tensors, in bytes a sample."""
    return sum(graph.row_bytes(tensor_of(graph, key)) for key in keys)


def _work_on_windows(
    graph: Graph, step: Step, before: Mapping[int, Window], after: Window
) -> float:
    share = math.prod(after.extents) / math.prod(graph.shape(step.outputs[0]))
    changed = [before[key] for key in step.inputs if key in before]
    if isinstance(step.operation, keras.layers.Dense):
        share *= changed[0].extents[-1] / graph.shape(step.inputs[0])[-1]
    elements = sum(math.prod(window.extents) for window in (*changed, after))
    return WINDOW * (share * products(step) + ELEMENT * elements)


def least(works: Sequence[float]) -> int:
    """Return the place of the least, the first of equals."""
    return min(range(len(works)), key=lambda place: works[place])
