"""What a model does to pixels before its first weights, found by running it.

Whether a model takes pixels as they are is not seen in its configuration alone: it may scale them
in a layer, in operations, in a Lambda or in the ``call`` of a subclassed model. So the model is run
on images of 0 and 1 and of 0 and 255, and what enters the first operation with a kernel tells.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.datasets.model_input import ModelInput
from injecttf2.datasets.pixels import Beginning
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.graph.traceable import Traceable

Values = npt.NDArray[np.float64]

WIDEST = 128.0
"""Pixels from 0 to 255 that come out further apart than this have not been scaled: by their own
deviation, of a few grey levels at least, they would come closer."""

CENTRED = 16.0
"""What black pixels become where a mean of pixels is subtracted from them."""

UNKNOWN_SIZE = 8
"""Size of an axis of other inputs that may have any."""

UNSEEN = "no layer with a kernel is called on them in a way that can be watched"

KERNELS = ("Conv", "MatMul", "Einsum", "Gather", "While", "PartitionedCall")
"""What is in the types of operations that take a kernel, loops and functions among them."""


def beginning(
    model: keras.Model | Traceable,
    inputs: Sequence[ModelInput],
    number: int,
    shape: Sequence[int],
) -> Beginning:
    """Return what a model does to the pixels of one of its inputs.

    Args:
        model: The model.
        inputs: What it takes.
        number: Which of them.
        shape: Shape of one sample of it.
    """
    pattern = np.random.default_rng(0).integers(0, 2, tuple(shape))
    samples = [
        np.zeros([1, *(size or UNKNOWN_SIZE for size in one.shape)], one.dtype) for one in inputs
    ]
    runs = []
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output belongs to the command
            samples[number] = pattern[np.newaxis].astype(inputs[number].dtype)
            graph = ModelGraph.of(model, tuple(samples))
            entries = _entries(graph)
            function, names = graph.function_of(*(name for name, _ in entries))
            for white in (0, 1, 255):
                samples[number] = (pattern[np.newaxis] * white).astype(inputs[number].dtype)
                runs.append(_run(graph, function, names, samples))
    except Exception as error:  # noqa: BLE001 - whatever it is, the user is asked
        return Beginning(None, f"run on an image alone it raised {type(error).__name__}")
    for (_, layer), black, dim, bright in zip(entries, *runs, strict=True):
        if (black != bright).any():
            return _told(layer, black, dim, bright)
    return Beginning(None, UNSEEN)


def _told(layer: str, black: Values, dim: Values, bright: Values) -> Beginning:
    lit = black != bright
    low, high = float(np.median(black[lit])), float(np.median(bright[lit]))
    wide = float(np.median(np.abs(bright - black)[lit]))
    narrow = float(np.median(np.abs(dim - black)[lit]))
    # A model that takes 0 to 1 may clip or standardise, so that 255 gives little more than 1.
    scaled = wide < WIDEST and narrow < wide / 8
    if not scaled and abs(low) < CENTRED:
        return Beginning(False)
    become = f"0 to 255 become {low:.4g} to {high:.4g} before {layer}"
    return Beginning(True, f"the model scales them itself, {become}")


def _entries(graph: ModelGraph) -> list[tuple[str, str]]:
    """Return what enters operations with kernels, in order: a tensor, and the layer it is in."""
    flow, reads = graph.flow, graph.trace.reads
    ends = [
        (flow.position[point.name], point.layer)
        for point in graph.points
        if point.tensor is not None and flow.position.get(point.name, -1) >= 0
    ]
    found: list[tuple[str, str]] = []
    for index, operation in enumerate(flow.path):
        kernel = any(part in operation.type for part in KERNELS)
        moving = [one for one in operation.inputs if one.name in flow.position]
        others = [one for one in operation.inputs if one.name not in flow.position]
        held = any(name in reads for name in flow.closure([operation]))
        if kernel and held and moving and others:
            layer = next((name for end, name in ends if end >= index), graph.name)
            name = layer.rpartition("/")[2]
            dense = (one.name for tensor in moving for one in _dense(tensor))
            found.extend((one, name) for one in dense if one in flow.position)
    return found


def _dense(tensor: Any) -> list[Any]:
    """Return a tensor, or those that a list of tensors, as a loop takes it, is made from."""
    if tensor.dtype not in (tf.variant, tf.resource):
        return [tensor]
    return [one for given in tensor.op.inputs for one in _dense(given)]


def _run(
    graph: ModelGraph, function: Any, names: Sequence[str], samples: Sequence[npt.NDArray[Any]]
) -> list[Values]:
    """Run a model on copies of one sample and return what enters operations, float64 each."""
    given = dict(zip(graph.flow.inputs, samples, strict=True))
    batch = (np.repeat(given[name], graph.samples, axis=0) for name in names)
    return [one.numpy().astype(np.float64) for one in function(tuple(batch))]
