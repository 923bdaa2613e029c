"""The digest of a model: equal where two models compute the same.

It is part of a trial's identity, so it must not change between processes, and must change with
anything that changes an output: the graph, configurations, weights, and code of the user's own.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from types import FunctionType
from typing import Any

import keras
import numpy as np

from injecttf2.graph.keras_calls import flatten
from injecttf2.graph.keras_function import function_of
from injecttf2.graph.keras_steps import inner_layers
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.graph.traceable import Traceable
from injecttf2.models.configuration import named
from injecttf2.models.graph_digest import graph_digest
from injecttf2.models.keras_settings import DEFAULTS, KerasSettings
from injecttf2.user_code.digest import class_modules
from injecttf2.user_code.values import classes, is_library, module_of, plain, shallow, value_of


def model_digest(model: keras.Model | Traceable, graph: ModelGraph | None = None) -> str:
    """Return the 128-bit blake2b digest of a model's graph and weights, hexadecimal.

    Of a model that is none of Keras 3 it is that of the graph that TensorFlow runs; see
    ``graph_digest``. Of one of Keras 3 it is another:

    It covers each step's address, class, configuration and call, the code of classes and functions
    that are not Keras' own, each weight's dtype, shape and contents, and settings of Keras that are
    not its defaults. So it does not change when the same model is saved in another format, and does
    when a layer computes something else. Code is compared as compiled by Python, whose bytecode may
    differ between versions of it. Where inference does not read some of the weights, which of them
    counts too: no fault is in those, so trials mean something else than where it reads them.

    Args:
        model: The model.
        graph: Its graph for some data; a subclassed model has none without.
    """
    graph = ModelGraph.of(model) if graph is None else graph
    if not isinstance(model, keras.Model):
        return graph_digest(graph.trace)
    result = hashlib.blake2b(digest_size=16)
    shapes = [tuple(one.shape[1:]) for one in graph.trace.inputs]
    flat = flatten(function_of(model, shapes, [spec.dtype for spec in graph.model.inputs])[0])
    made_by = {
        key: f"output {position} of step {step.index}"
        for step in flat.steps
        for position, key in enumerate(step.outputs)
    }
    for step in flat.steps:
        arguments = step.node.arguments
        made = {
            id(tensor): made_by[key]
            for tensor, key in zip(step.node.input_tensors, step.inputs, strict=True)
        }
        content = [
            step.layer,
            type(step.operation).__name__,
            _config(step.operation),
            keras.tree.map_structure(
                lambda value, made=made: made.get(id(value), value),
                [arguments.args, arguments.kwargs],
            ),
        ]
        if isinstance(step.operation, keras.Model):
            content.append([_config(layer) for layer in inner_layers(step.operation)])
        if code := _code_of(step.operation):
            content.append(code)
        result.update(json.dumps(content, sort_keys=True, default=plain).encode())
    for output in flat.outputs:
        result.update(made_by[id(output)].encode())
    for array in model.get_weights():
        result.update(f"{array.dtype.name}{array.shape}".encode())
        result.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    unread = [
        at for at, one in enumerate(model.weights) if not graph.reading.reads(id(one.value.handle))
    ]
    if unread:
        result.update(f"not read: {unread}".encode())
    if (settings := KerasSettings.current()) != DEFAULTS:  # a layer may ask for them when it runs
        result.update(json.dumps(asdict(settings), sort_keys=True).encode())
    return result.hexdigest()


def code_modules(model: keras.Model) -> set[str]:
    """Return the names of the modules of a model's layers and functions, without libraries' own."""
    parts = list(model._flatten_layers())
    functions = [one for part in parts for one in vars(part).values() if callable(one)]
    modules = {module_of(one) for one in functions if isinstance(one, FunctionType)}
    own = {name for name in modules if not is_library(name)}
    return own.union(*(class_modules(type(part)) for part in parts))


def _config(operation: Any) -> Any:
    """Return an operation's configuration, its attributes where a user's own class has none."""
    parts = [one for one in _parts(operation) if not isinstance(one, keras.layers.Lambda)]
    held = [one for part in parts for one in vars(part).values() if isinstance(one, FunctionType)]
    try:
        with named(held):
            return _without_bytecode(operation.get_config())
    except NotImplementedError:  # Keras' own, where an argument cannot be serialised
        told = shallow if is_library(type(operation).__module__) else value_of
        return {
            name: told(value)
            for name, value in sorted(vars(operation).items())
            if name != "name" and not name.startswith("_") and not isinstance(value, FunctionType)
        }


def _without_bytecode(value: Any) -> Any:
    """Leave out what Keras stores of a lambda: its marshalled bytes differ between processes."""
    if isinstance(value, dict):
        if value.get("class_name") == "__lambda__":
            return "__lambda__"
        return {key: _without_bytecode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_bytecode(item) for item in value]
    return value


def _code_of(operation: Any) -> list[Any]:
    """Return what the users' own classes and functions of an operation, and of layers in it, do."""
    told = [[*classes(type(part)), *_held_functions(part)] for part in _parts(operation)]
    return told if any(told) else []


def _parts(operation: Any) -> list[Any]:
    """Return an operation and the layers in it."""
    return list(getattr(operation, "_flatten_layers", lambda: [operation])())


def _held_functions(operation: Any) -> list[Any]:
    """Return the functions that an operation holds; those of libraries are in its configuration."""
    own = not is_library(type(operation).__module__)
    return [
        [name, value_of(value)]
        for name, value in sorted(vars(operation).items())
        if isinstance(value, FunctionType) and (own or not is_library(module_of(value)))
    ]
