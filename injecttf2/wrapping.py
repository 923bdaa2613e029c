"""A model as a graph of Keras' own: the one that it runs, or one around a model that has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import keras
import numpy as np

from injecttf2.bits import numpy_dtype
from injecttf2.datasets import ModelInput
from injecttf2.datasets.arrays import Array, Arrays, parts
from injecttf2.errors import ModelError
from injecttf2.steps import is_keras
from injecttf2.structure import keys_of

Shape = tuple[int | None, ...]


def function_of(
    model: keras.Model,
    shapes: Sequence[Shape] | None = None,
    dtypes: Sequence[str] | None = None,
) -> tuple[Any, bool]:
    """Return a graph that computes what a model does, and whether the model is one step of it.

    Args:
        model: The model.
        shapes: Shape of one sample of each input; a subclassed model does not know it itself.
        dtypes: dtype of each input.

    Raises:
        ModelError: The model has no graph, and it is not known what it takes.
    """
    function = graph_run_by(model)
    if function is not None:
        return function, False
    if isinstance(model, keras.Sequential):
        raise ModelError(
            f"the model {model.name!r} (Sequential) has not been built, so it cannot be walked",
            hint="give it an Input, e.g. keras.Sequential([keras.Input(shape), ...])",
        )
    return _around(model, _inputs_of(model, shapes, dtypes)), True


def graph_run_by(model: Any) -> Any | None:
    """Return the Keras ``Function`` that a model runs when it is called; None if it has none.

    A model whose class has a ``call`` of its own may compute anything.
    """
    if not isinstance(model, keras.Model) or not is_keras(type(model).call):
        return None
    function = getattr(model, "_functional", None) or model
    return function if isinstance(function, keras.Function) else None


def is_subclassed(model: keras.Model) -> bool:
    """Return whether a model has no graph of its own but a ``call`` that may compute anything."""
    return graph_run_by(model) is None and not isinstance(model, keras.Sequential)


def model_inputs(model: keras.Model, inputs: Arrays | None = None) -> list[ModelInput]:
    """Return what a model takes.

    A subclassed model takes what the data hold, images and other numbers in its own dtype and whole
    numbers of more than 8 bits, which are often indices, as they are.

    Args:
        model: The model.
        inputs: The data, as they were loaded; None as long as they are not.

    Raises:
        ModelError: A subclassed model has never been called, so that it is not known.
    """
    function = graph_run_by(model) or model
    if isinstance(function, keras.Function):
        keys, ordered = keys_of(function._inputs_struct)
        taken = zip(function.inputs, keys, strict=True)
        return [replace(ModelInput.of(one), key=key, ordered=ordered) for one, key in taken]
    built = _built(model)
    arrays: Sequence[Array | None] = () if inputs is None else parts(inputs)
    if built is None:
        built = _Built([array.shape[1:] for array in arrays if array is not None])
    elif built.keys is not None:
        arrays = [inputs.get(key) for key in built.keys] if isinstance(inputs, dict) else ()
    if not built.shapes:
        raise _never_called(model)
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


@dataclass(frozen=True)
class _Built:
    """What a subclassed model was called on, as far as it remembers that.

    Args:
        shapes: Of one sample of each input.
        keys: Their keys, sorted, where it was called on a dict.
        ordered: Whether they were written in that order.
    """

    shapes: Sequence[Shape]
    keys: Sequence[str] | None = None
    ordered: bool = True

    def names(self) -> Sequence[str]:
        """Return names for the inputs of a model that has none for them."""
        if self.keys is not None:
            return self.keys
        count = len(self.shapes)
        return ["inputs"] if count == 1 else [f"inputs_{number + 1}" for number in range(count)]


def _never_called(model: keras.Model) -> ModelError:
    return ModelError(
        f"the model {model.name!r} ({type(model).__name__}) is subclassed and has not been "
        "called, so it is not known what it takes",
        hint="call it once on an array of the right shape, or give a data set",
    )


def _inputs_of(
    model: keras.Model, shapes: Sequence[Shape] | None, dtypes: Sequence[str] | None
) -> Any:
    """Return symbolic inputs for a model that has no graph of its own."""
    if isinstance(model, keras.Function):  # it has one, and a call of its own
        return keras.tree.map_structure(
            lambda one: keras.Input(batch_shape=one.shape, dtype=one.dtype, name=one.name),
            model._inputs_struct,
        )
    built = _built(model) or _Built(())
    if shapes is not None:
        built = replace(built, shapes=shapes)
    if not built.shapes:
        raise _never_called(model)
    if dtypes is None:
        dtypes = [str(model.input_dtype)] * len(built.shapes)
    inputs = [
        keras.Input(shape, dtype=dtype, name=name)
        for shape, dtype, name in zip(built.shapes, dtypes, built.names(), strict=True)
    ]
    if built.keys is not None:
        return dict(zip(built.keys, inputs, strict=True))
    return inputs[0] if len(inputs) == 1 else tuple(inputs)


def _built(model: keras.Model) -> _Built | None:
    """Return what a model was built for; None if it does not remember or cannot tell."""
    known = list((getattr(model, "_build_shapes_dict", None) or {}).values())
    if len(known) != 1:
        return None
    (shape,) = known
    if isinstance(shape, dict):
        if any(isinstance(size, tuple | list) for one in shape.values() for size in one):
            return None
        keys = sorted(shape)
        return _Built([tuple(shape[key][1:]) for key in keys], keys, list(shape) == keys)
    several = bool(shape) and isinstance(shape[0], tuple | list)
    return _Built([tuple(one[1:]) for one in (shape if several else [shape])])


def _around(model: keras.Model, inputs: Any) -> Any:
    try:
        return keras.Model(inputs, model(inputs))
    except Exception as error:
        described = ", ".join(
            f"{tuple(one.shape[1:])} {one.dtype}" for one in keras.tree.flatten(inputs)
        )
        raise ModelError(
            f"the model {model.name!r} ({type(model).__name__}) cannot be called on inputs of "
            f"{described}: {type(error).__name__}: {next(iter(str(error).splitlines()), '')}",
            hint="several inputs are given to it as one tuple, in the order of the data set's",
        ) from error
