"""The oracle's view of a model: Keras' own calls, each tensor that comes out of them by address."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import keras


@contextmanager
def watching(model: keras.Model, visit: Callable[[str, Any, Any], Any]) -> Iterator[None]:
    """Have a function see, and replace, each tensor that a layer gives out when Keras calls it.

    The model may be one of Keras 2. An address is made of the names of the layers that call one
    another, the model's own left out; ``#2`` is a second call, ``:1`` the second of several
    outputs.
    """
    stack: list[Any] = []
    calls: dict[str, int] = {}
    kind = next(one for one in type(model).__mro__ if one.__name__ == "Layer")
    call_layer, call_operation = kind.__call__, keras.Operation.__call__

    def called(call: Any, operation: Any, args: Any, kwargs: Any) -> Any:
        stack.append(operation)
        try:
            outputs = call(operation, *args, **kwargs)
        finally:
            stack.pop()
        path = "/".join(one.name for one in (*stack, operation) if one is not model) or model.name
        calls[path] = calls.get(path, 0) + 1
        address = path if calls[path] == 1 else f"{path}#{calls[path]}"
        flat = keras.tree.flatten(outputs)
        names = [address] if len(flat) == 1 else [f"{address}:{n}" for n in range(len(flat))]
        seen = [visit(name, operation, one) for name, one in zip(names, flat, strict=True)]
        if all(one is other for one, other in zip(seen, flat, strict=True)):
            return outputs
        return keras.tree.pack_sequence_as(outputs, seen)

    def layer_called(self: Any, *args: Any, **kwargs: Any) -> Any:
        return called(call_layer, self, args, kwargs)

    def operation_called(self: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self, keras.Layer):
            return call_operation(self, *args, **kwargs)
        return called(call_operation, self, args, kwargs)

    with (
        mock.patch.object(kind, "__call__", layer_called),
        mock.patch.object(keras.Operation, "__call__", operation_called),
        _watching_wrapped(model, stack, called),
    ):
        yield


@contextmanager
def _watching_wrapped(model: keras.Model, stack: list[Any], called: Any) -> Iterator[None]:
    """The same of layers whose ``call`` a wrapper of Keras' calls itself."""
    wrappers = [one for one in model._flatten_layers() if isinstance(one, keras.layers.Wrapper)]
    wrapped = {id(one.layer): one.layer for one in wrappers}.values()

    def standing_in(layer: Any, call: Any) -> Any:
        def layer_called(*args: Any, **kwargs: Any) -> Any:
            if stack and stack[-1] is layer:  # by Keras' usual way
                return call(*args, **kwargs)
            return called(lambda _, *a, **k: call(*a, **k), layer, args, kwargs)

        return layer_called

    for layer in wrapped:
        vars(layer)["call"] = standing_in(layer, layer.call)
    try:
        yield
    finally:
        for layer in wrapped:
            del vars(layer)["call"]


def input_names(model: keras.Model) -> list[str]:
    """Names of the layers that stand for the inputs; a subclassed model has none."""
    function = getattr(model, "_functional", None) or model
    if not hasattr(function, "inputs"):
        return ["inputs"]
    return [one._keras_history[0].name for one in function.inputs]


def given(model: keras.Model, batch: tuple[Any, ...]) -> Any:
    """Tensors as the model is called on: by name where it takes a dictionary."""
    if isinstance(getattr(model, "_inputs_struct", None), dict):
        return dict(zip(input_names(model), batch, strict=True))
    return batch[0] if len(batch) == 1 else list(batch)
