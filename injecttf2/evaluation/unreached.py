"""Layers that what is judged does not depend on: what they give out, for records alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.evaluation.evaluator import Evaluator
from injecttf2.evaluation.hits import LayerHits


def values_of(
    evaluator: Evaluator, name: str, sample: npt.NDArray[np.int64], sites: LayerHits
) -> npt.NDArray[Any]:
    """Return the golden values of a tensor at some sites, [sites].

    Args:
        evaluator: The model and its data.
        name: The tensor.
        sample: int64 [hits], into the data set.
        sites: The sites in it.
    """
    graph = evaluator.chain.graph
    function, inputs = graph.function_of(name)
    arrays = dict(zip(graph.flow.inputs, evaluator.dataset.input_arrays, strict=True))
    rows, which = np.unique(sample[sites.hit], return_inverse=True)
    found = []
    size = graph.samples
    for start in range(0, len(rows), size):
        part = np.resize(rows[start : start + size], size)
        given = tuple(tf.constant(arrays[one][part]) for one in inputs)
        found.append(function(given)[0].numpy()[: len(rows) - start])
    flat = np.concatenate(found).reshape(len(rows), -1)
    return flat[which, sites.element]
