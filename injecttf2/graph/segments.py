"""Where a model is cut into a chain of segments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from injecttf2 import bits
from injecttf2.graph.cost import ELEMENT, elements, work
from injecttf2.graph.dataflow import Dataflow
from injecttf2.graph.functions import Segment, segment_of
from injecttf2.graph.shapes import Shapes

SEGMENTS = 16
"""Segments that a model is cut into at most."""

HANDING = 3e5
"""Work of handing a sample from one segment to the next."""


def chain_of(
    flow: Dataflow, shapes: Shapes, samples: int, reads: Mapping[str, Any], row_bytes: float
) -> tuple[Segment, ...]:
    """Cut a model into segments.

    A fault's way begins at the start of its segment. So the places are chosen one after another
    that save the most work before faults, over all points, as long as that is more than it costs
    to hand samples on; of alike ones that where less has to be kept, in fewer tensors.

    Args:
        flow: The model.
        shapes: Shapes of its tensors for a number of samples.
        samples: That number.
        reads: What the model reads of variables, by name.
        row_bytes: Bytes that the tensors before, between and behind segments may take for a sample,
            if possible.
    """
    places = [0, len(flow.path)]
    works = np.cumsum([0.0, *(work(one, shapes) / samples for one in flow.path)])
    points = np.cumsum([0, *(_points(flow, one) for one in flow.path)])
    sizes = [_bytes(flow, frontier, shapes, samples) for frontier in flow.frontiers]
    left = row_bytes - sizes[0] - sizes[-1]
    while len(places) <= SEGMENTS:
        best, most = 0, 0.0
        for start, stop in pairwise(places):
            for place in range(start + 1, stop):
                if sizes[place] > left or math.isinf(sizes[place]):
                    continue
                before = points[place - 1]  # a fault in what is there begins there
                saved = (points[stop] - before) * (works[place] - works[start])
                cost = before * (HANDING + ELEMENT * sizes[place] / 2)
                score = (saved - cost) / math.sqrt(sizes[place]) / len(flow.frontiers[place])
                if saved > cost and score > most:
                    best, most = place, score
        if not best:
            break
        left -= sizes[best]
        places = sorted([*places, best])
    return tuple(segment_of(flow, *bounds, reads) for bounds in pairwise(places))


def _points(flow: Dataflow, operation: Any) -> int:
    """Return how many of the tensors that an operation gives out may be injected."""
    return sum(one.name in flow.points for one in operation.outputs)


def _bytes(flow: Dataflow, frontier: Sequence[str], shapes: Shapes, samples: int) -> float:
    """Return the bytes of some tensors for a sample; infinite where one is not one row a sample."""
    total = 0.0
    for name in frontier:
        shape, dtype = shapes.get(name), flow.tensor(name).dtype.name
        if shape is None or None in shape or shape[:1] != (samples,) or not _is_kept(dtype):
            return math.inf
        total += elements(shape[1:]) * (1 if dtype == "bool" else bits.numpy_dtype(dtype).itemsize)
    return total


def _is_kept(dtype: str) -> bool:
    return dtype == "bool" or dtype in bits.DTYPES
