"""The digest of a model: equal where two models compute the same.

It is part of a trial's identity, so it must not change between processes, and must change with
anything that changes an output: the graph, configurations, weights, and code of the user's own.
"""

from __future__ import annotations

import contextlib
import dis
import hashlib
import json
import sys
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import keras
import numpy as np

from injecttf2.graph import Graph
from injecttf2.keras_settings import DEFAULTS, KerasSettings
from injecttf2.steps import inner_layers

LIBRARIES = frozenset({"keras", "tensorflow", "numpy", "builtins", "injecttf2"})
"""Packages whose functions and classes are told by their names; of all others the code counts."""


def model_digest(model: keras.Model, graph: Graph | None = None) -> str:
    """Return the 128-bit blake2b digest of a model's graph and weights, hexadecimal.

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
    graph = Graph(model) if graph is None else graph
    result = hashlib.blake2b(digest_size=16)
    made_by = {
        key: f"output {position} of step {step.index}"
        for step in graph.steps
        for position, key in enumerate(step.outputs)
    }
    for step in graph.steps:
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
        result.update(json.dumps(content, sort_keys=True, default=_plain).encode())
    for output in graph.outputs:
        result.update(made_by[id(output)].encode())
    for array in model.get_weights():
        result.update(f"{array.dtype.name}{array.shape}".encode())
        result.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    unread = [at for at, one in enumerate(model.weights) if not graph.reading.reads(one)]
    if unread:
        result.update(f"not read: {unread}".encode())
    if (settings := KerasSettings.current()) != DEFAULTS:  # a layer may ask for them when it runs
        result.update(json.dumps(asdict(settings), sort_keys=True).encode())
    return result.hexdigest()


def class_digest(kind: type, files: str = "") -> str:
    """Return the 128-bit blake2b digest of a class of the user's, hexadecimal.

    It covers the class and its bases with the functions and values that they refer to: those of a
    notebook have no file, and a program may set values that no file tells.

    Args:
        kind: The class.
        files: Digest of the files of its code, see ``own_code``; empty where it has none.
    """
    told = [_classes(kind), files] if files else _classes(kind)
    content = json.dumps(told, sort_keys=True, default=_plain).encode()
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def class_modules(kind: type) -> set[str]:
    """Return the names of the modules of a class and its bases, without libraries' own."""
    return {base.__module__ for base in kind.__mro__ if not _is_library(base.__module__)}


def code_modules(model: keras.Model) -> set[str]:
    """Return the names of the modules of a model's layers and functions, without libraries' own."""
    parts = list(model._flatten_layers())
    functions = [one for part in parts for one in vars(part).values() if callable(one)]
    modules = {_module(one) for one in functions if isinstance(one, FunctionType)}
    own = {name for name in modules if not _is_library(name)}
    return own.union(*(class_modules(type(part)) for part in parts))


def described(part: Any) -> dict[str, Any]:
    """Return plain values for all that decides what an object does: its class, fields and code.

    The code of a class of the user's own counts as that of layers does in :func:`model_digest`;
    what is of this package is told by its name.

    Args:
        part: A dataclass, or an object whose attributes are all that it goes by.
    """
    kind = type(part)
    names = [one.name for one in fields(part)] if is_dataclass(part) else sorted(vars(part))
    values = {name: getattr(part, name) for name in names}
    told: dict[str, Any] = {
        "type": f"{kind.__module__}:{kind.__qualname__}",
        "parameters": {
            name: described(value) if is_dataclass(value) else value
            for name, value in values.items()
        },
    }
    if not _is_library(kind.__module__):
        told["code"] = class_digest(kind)
    plain_values: dict[str, Any] = json.loads(json.dumps(told, default=_plain))
    return plain_values


def _config(operation: Any) -> Any:
    """Return an operation's configuration, its attributes where a user's own class has none."""
    try:
        return _without_bytecode(operation.get_config())
    except NotImplementedError:  # Keras' own, where an argument cannot be serialised
        return {
            name: _value(value, set())
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
    parts = getattr(operation, "_flatten_layers", lambda: [operation])()
    told = [[*_classes(type(part)), *_held_functions(part)] for part in parts]
    return told if any(told) else []


def _classes(kind: type) -> list[Any]:
    """Return functions and plain attributes of a class and its bases, without libraries' own."""
    own = [base for base in kind.__mro__ if not _is_library(base.__module__)]
    return [
        [base.__name__, name, _value(_unwrapped(value), set())]
        for base in own
        for name, value in sorted(vars(base).items())
        if isinstance(_unwrapped(value), FunctionType) or not name.startswith("__")
    ]


def _held_functions(operation: Any) -> list[Any]:
    """Return the functions that an operation holds; those of libraries are in its configuration."""
    own = not _is_library(type(operation).__module__)
    return [
        [name, _value(value, set())]
        for name, value in sorted(vars(operation).items())
        if isinstance(value, FunctionType) and (own or not _is_library(_module(value)))
    ]


def _unwrapped(value: Any) -> Any:
    """Return the function in a method or property of a class, anything else as it is."""
    if isinstance(value, property):
        return value.fget
    return value.__func__ if isinstance(value, staticmethod | classmethod) else value


def _module(function: FunctionType) -> str:
    # Not __module__: a wrapper says there where the wrapped function is from.
    return str(function.__globals__.get("__name__", ""))


def _is_library(module: str) -> bool:
    return module.partition(".")[0] in LIBRARIES


def _is_installed(function: FunctionType) -> bool:
    file = Path(function.__code__.co_filename)
    top_level = _module(function).partition(".")[0]
    return "site-packages" in file.parts or top_level in sys.stdlib_module_names


def _value(value: Any, seen: set[CodeType]) -> Any:
    """Return a JSON value, the same in every process, for what code refers to."""
    if isinstance(value, FunctionType):
        return _function(value, seen)
    if isinstance(value, CodeType):
        return _code(value, seen)
    if isinstance(value, frozenset | set):
        return sorted(map(repr, value))
    if isinstance(value, list | tuple):
        return [_value(item, seen) for item in value]
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    return _plain(value)


def _function(function: FunctionType, seen: set[CodeType]) -> Any:
    """Return code, defaults, closure and globals of a function; the name of a library's."""
    code = function.__code__
    if _is_library(_module(function)) or code in seen:
        return function.__qualname__
    seen.add(code)
    holds: list[Any] = [function.__defaults__, sorted((function.__kwdefaults__ or {}).items())]
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # an empty cell
            holds.append(cell.cell_contents)
    for name in sorted(_global_names(code) & function.__globals__.keys()):
        value = function.__globals__[name]
        known = isinstance(value, FunctionType) and _is_installed(value)
        holds.append([name, value.__qualname__ if known else value])
    return [_code(code, seen), _value(holds, seen)]


def _code(code: CodeType, seen: set[CodeType]) -> list[Any]:
    """Return what a code object does, without where it was written."""
    return [code.co_code.hex(), list(code.co_names), _value(code.co_consts, seen)]


def _global_names(code: CodeType) -> set[str]:
    """Return the globals that code reads, also in the functions inside it."""
    names = {one.argval for one in dis.get_instructions(code) if one.opname == "LOAD_GLOBAL"}
    inside = (_global_names(const) for const in code.co_consts if isinstance(const, CodeType))
    return names.union(*inside)


def _plain(value: Any) -> Any:
    """Return a JSON value for what a configuration or a call may hold beside plain values."""
    if isinstance(value, slice):
        return repr(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) or keras.ops.is_tensor(value):
        array = np.asarray(value)
        return [array.dtype.name, array.tolist()]
    return type(value).__name__
