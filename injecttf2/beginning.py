"""What a model does to pixels before its first weights, found by running it.

Whether a model takes pixels as they are is not seen in its configuration alone: it may scale them
in a layer, in operations, in a Lambda or in the ``call`` of a subclassed model. So the model is run
on images of 0 and 1 and of 0 and 255, and what enters the first layer with a kernel tells.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.datasets.model_input import ModelInput
from injecttf2.datasets.pixels import Beginning
from injecttf2.hooks import rewired
from injecttf2.steps import inner_layers, is_keras
from injecttf2.wrapping import function_of

Values = npt.NDArray[np.float64]

WIDEST = 128.0
"""Pixels from 0 to 255 that come out further apart than this have not been scaled: by their own
deviation, of a few grey levels at least, they would come closer."""

CENTRED = 16.0
"""What black pixels become where a mean of pixels is subtracted from them."""

UNKNOWN_SIZE = 8
"""Size of an axis of other inputs that may have any."""

UNSEEN = "no layer with a kernel is called on them in a way that can be watched"


@dataclass(frozen=True)
class _Entry:
    """What enters a layer; values are None where it is called while something is traced."""

    layer: Any
    values: tuple[Values, ...] | None


def beginning(
    model: keras.Model, inputs: Sequence[ModelInput], number: int, shape: Sequence[int]
) -> Beginning:
    """Return what a model does to the pixels of one of its inputs.

    Args:
        model: The model.
        inputs: What it takes.
        number: Which of them.
        shape: Shape of one sample of it.
    """
    pattern = np.random.default_rng(0).integers(0, 2, tuple(shape))
    samples = [np.zeros([size or UNKNOWN_SIZE for size in one.shape], one.dtype) for one in inputs]
    runs = []
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output belongs to the command
            for white in (0, 1, 255):
                samples[number] = (pattern * white).astype(inputs[number].dtype)
                runs.append(_entries(model, samples))
    except Exception as error:  # noqa: BLE001 - whatever it is, the user is asked
        return Beginning(None, f"run on an image alone it raised {type(error).__name__}")
    for black, dim, bright in zip(*runs, strict=False):
        if black.values is None or dim.values is None or bright.values is None:
            break
        for values in zip(black.values, dim.values, bright.values, strict=True):
            if (values[0] != values[2]).any():
                return _told(black.layer, *values)
    return Beginning(None, UNSEEN)


def _told(layer: Any, black: Values, dim: Values, bright: Values) -> Beginning:
    lit = black != bright
    low, high = float(np.median(black[lit])), float(np.median(bright[lit]))
    wide = float(np.median(np.abs(bright - black)[lit]))
    narrow = float(np.median(np.abs(dim - black)[lit]))
    # A model that takes 0 to 1 may clip or standardise, so that 255 gives little more than 1.
    scaled = wide < WIDEST and narrow < wide / 8
    if not scaled and abs(low) < CENTRED:
        return Beginning(False)
    become = f"0 to 255 become {low:.4g} to {high:.4g} before {layer.name}"
    return Beginning(True, f"the model scales them itself, {become}")


def _entries(model: keras.Model, samples: Sequence[npt.NDArray[Any]]) -> list[_Entry]:
    """Run a model on one sample and return what enters its layers with kernels, in order."""
    entries: list[_Entry] = []

    def noting(layer: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            entries.append(_Entry(layer, _values((args, kwargs))))
            return function(*args, **kwargs)

        return call

    shapes, dtypes = ([one.shape for one in samples], [one.dtype.name for one in samples])
    function, _ = function_of(model, shapes, dtypes)
    batch = [
        np.broadcast_to(sample, (taken.shape[0] or 1, *sample.shape))
        for taken, sample in zip(function.inputs, samples, strict=True)
    ]
    packed = keras.tree.pack_sequence_as(function._inputs_struct, batch)
    with keras.StatelessScope(), rewired(_with_kernels(model), noting):
        function(packed, training=False)
    return entries


def _values(arguments: Any) -> tuple[Values, ...] | None:
    tensors = [one for one in keras.tree.flatten(arguments) if tf.is_tensor(one)]
    if any(tf.is_symbolic_tensor(one) for one in tensors):
        return None
    numbers = [one for one in tensors if one.dtype.is_floating or one.dtype.is_integer]
    return tuple(one.numpy().astype(np.float64) for one in numbers)


def _with_kernels(holder: Any) -> list[Any]:
    """Return the layers with kernels, of Keras' own the outermost: the inner may not be called."""
    found = []
    for layer in inner_layers(holder, recursive=False):
        parts = [layer, *inner_layers(layer)]
        if all(is_keras(type(one)) and not isinstance(one, keras.Model) for one in parts):
            found += [layer] if any(map(_has_kernel, parts)) else []
        else:
            found += [layer] if _has_kernel(layer) else []
            found += _with_kernels(layer)
    return found


def _has_kernel(layer: Any) -> bool:
    own = (*layer._trainable_variables, *layer._non_trainable_variables)
    normalises = isinstance(layer, keras.layers.Normalization)  # by what may have any shape
    return not normalises and any(len(variable.shape) > 1 for variable in own)
