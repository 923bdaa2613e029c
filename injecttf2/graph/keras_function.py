"""A model as a graph of Keras' own: the one that it runs, or one around a model that has none."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import keras
import tensorflow as tf

from injecttf2.errors import ModelError
from injecttf2.graph.keras_steps import is_keras

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


def several(shape: tuple[Any, ...]) -> tuple[Shape, ...]:
    """Return shapes of several inputs: those given, or the only one given."""
    flat = not shape or not all(isinstance(one, tuple) for one in shape)
    return (shape,) if flat else shape


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


@dataclass(frozen=True)
class Built:
    """What a subclassed model was called on.

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


def never_called(model: keras.Model) -> ModelError:
    """Return what to raise where a subclassed model does not know what it takes."""
    what = "Keras has not kept what it was called on" if model.built else "has not been called"
    return ModelError(
        f"the model {model.name!r} ({type(model).__name__}) is subclassed and {what}, so it is not "
        "known what it takes",
        hint="define `build(self, input_shape)` in its class, or give a data set"
        if model.built
        else "call it once on an array of the right shape, or give a data set",
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
    built = built_for(model) or Built(())
    if shapes is not None:
        built = replace(built, shapes=shapes)
    if not built.shapes:
        raise never_called(model)
    if dtypes is None:
        dtypes = [str(model.input_dtype)] * len(built.shapes)
    inputs = [
        keras.Input(shape, dtype=dtype, name=name)
        for shape, dtype, name in zip(built.shapes, dtypes, built.names(), strict=True)
    ]
    if built.keys is not None:
        return dict(zip(built.keys, inputs, strict=True))
    return inputs[0] if len(inputs) == 1 else tuple(inputs)


def built_for(model: keras.Model) -> Built | None:
    """Return what a model was built for; None if it does not remember or cannot tell."""
    known = list((getattr(model, "_build_shapes_dict", None) or {}).values())
    if len(known) != 1:
        return None
    (shape,) = known
    if isinstance(shape, dict):
        if any(isinstance(size, tuple | list) for one in shape.values() for size in one):
            return None
        keys = sorted(shape)
        return Built([tuple(shape[key][1:]) for key in keys], keys, list(shape) == keys)
    several = bool(shape) and isinstance(shape[0], tuple | list)
    return Built([tuple(one[1:]) for one in (shape if several else [shape])])


def _around(model: keras.Model, inputs: Any) -> Any:
    try:
        with _named(model):
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


@contextmanager
def _named(model: keras.Model) -> Iterator[None]:
    """Have the call of a model name its operations behind a scope, until the context ends.

    Keras traces the call at the root of a graph; see :meth:`Step.run`.
    """
    call, own = model.call, vars(model).get("call")

    @functools.wraps(call)
    def scoped(*args: Any, **kwargs: Any) -> Any:
        with tf.name_scope("model"):
            return call(*args, **kwargs)

    vars(model)["call"] = scoped  # not setattr, by which Keras would track it
    try:
        yield
    finally:
        del vars(model)["call"]
        if own is not None:
            vars(model)["call"] = own
