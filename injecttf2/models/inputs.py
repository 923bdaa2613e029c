"""What a model takes: names, shapes and dtypes of its inputs, and what it does to pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from typing import Any

import keras
import numpy as np

from injecttf2.bits import numpy_dtype
from injecttf2.datasets import ModelInput
from injecttf2.datasets.arrays import Array, Arrays, parts
from injecttf2.graph.keras_function import Built, built_for, graph_run_by, never_called
from injecttf2.graph.slot_names import keys_of
from injecttf2.graph.traceable import Traceable
from injecttf2.models.pixel_scaling import beginning


def model_inputs(model: keras.Model | Traceable, inputs: Arrays | None = None) -> list[ModelInput]:
    """Return what a model takes.

    A subclassed model takes what the data hold, images and other numbers in its own dtype and whole
    numbers of more than 8 bits, which are often indices, as they are.

    Args:
        model: The model.
        inputs: The data, as they were loaded; None as long as they are not.

    Raises:
        ModelError: A subclassed model has never been called, so that it is not known.
    """
    taken = _taken(model, inputs) if isinstance(model, keras.Model) else _said(model, inputs)
    return [
        replace(one, begins=partial(beginning, model, taken, number))
        for number, one in enumerate(taken)
    ]


def _said(model: Traceable, inputs: Arrays | None) -> list[ModelInput]:
    """Return what a model says that it takes; the data tell the shape where it takes any."""
    arrays: Sequence[Array | None] = () if inputs is None else parts(inputs)
    if isinstance(inputs, dict):
        arrays = [inputs.get(spec.name) for spec in model.inputs]
    found = []
    for spec, array in zip_longest(model.inputs, arrays[: len(model.inputs)]):
        shape = spec.shape
        if shape is None:
            shape = () if array is None else array.shape[1:]
        taken = ModelInput.named(spec.name, shape, spec.dtype)
        found.append(replace(taken, key=spec.key, ordered=spec.ordered))
    return found


def _taken(model: keras.Model, inputs: Arrays | None) -> list[ModelInput]:
    function = graph_run_by(model) or model
    if isinstance(function, keras.Function):
        keys, ordered = keys_of(function._inputs_struct)
        taken = zip(function.inputs, keys, strict=True)
        return [replace(ModelInput.of(one), key=key, ordered=ordered) for one, key in taken]
    built = built_for(model)
    arrays: Sequence[Array | None] = () if inputs is None else parts(inputs)
    if built is None:
        built = Built([array.shape[1:] for array in arrays if array is not None])
    elif built.keys is not None:
        arrays = [inputs.get(key) for key in built.keys] if isinstance(inputs, dict) else ()
    if not built.shapes:
        if not model.built:
            raise never_called(model)
        built = Built([()])  # Keras has not kept it, and the data will tell
    return [
        ModelInput(name, shape, _dtype(model, array), key=key, ordered=built.ordered)
        for name, key, shape, array in zip_longest(
            built.names(), built.keys or (), built.shapes, arrays[: len(built.shapes)]
        )
    ]


def _dtype(model: keras.Model, array: Array | None) -> np.dtype[Any]:
    """Return what a subclassed model takes an input as."""
    if array is not None and array.dtype.kind in "iu" and array.itemsize > 1:
        return array.dtype
    return numpy_dtype(str(model.input_dtype))
