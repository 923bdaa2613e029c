"""Loading Keras models by reference, and sending them to other processes.

A reference is a ``.keras`` or ``.h5`` file, ``builtin:NAME``, ``keras.applications:NAME``, or
``package.module:function``, a function that returns a model. Files are loaded in Keras' safe
mode, which refuses code stored in a model file.
"""

from __future__ import annotations

import contextlib
import dis
import hashlib
import io
import json
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import cloudpickle
import keras
import numpy as np
import numpy.typing as npt

from injecttf2.digits import trained_model
from injecttf2.errors import ModelError, UserError
from injecttf2.graph import Graph
from injecttf2.references import import_function, is_function, modules_in
from injecttf2.suggest import nearest

FILE_SUFFIXES = (".keras", ".h5", ".hdf5")

BUILTIN: dict[str, Callable[[], keras.Model]] = {"digits_cnn": trained_model}
"""Models by the name after ``builtin:``."""

LIBRARIES = frozenset({"keras", "tensorflow", "numpy", "builtins"})
"""Packages whose functions and classes are told by their names; of all others the code counts."""

Weights = tuple[npt.NDArray[Any], ...]


@dataclass(frozen=True)
class FileModel:
    """A model file, on its way to another process.

    Args:
        content: The bytes of the file.
        suffix: Its suffix, which tells Keras the format.
        name: What the user called it.
    """

    content: bytes
    suffix: str
    name: str

    def build(self) -> keras.Model:
        """Load the model.

        Raises:
            ModelError: Keras cannot load it, or it holds code, which safe mode refuses.
        """
        if self.suffix == ".keras" and not zipfile.is_zipfile(io.BytesIO(self.content)):
            raise ModelError("it is not a .keras file, or its end is missing", place=self.name)
        keras.utils.clear_session()
        with tempfile.NamedTemporaryFile(suffix=self.suffix) as file:
            file.write(self.content)
            file.flush()
            try:
                return keras.models.load_model(file.name, compile=False, safe_mode=True)
            except Exception as error:
                message = _first_line(error).replace(file.name, self.name)
                raise ModelError(
                    f"Keras cannot load it: {message}",
                    place=self.name,
                    hint="a model with layers of your own, or with Lambda layers, is given as "
                    "package.module:function, a function that returns it",
                ) from error


@dataclass(frozen=True, eq=False)
class FunctionModel:
    """A function that returns a model, and the weights that it had where it was first called.

    The weights travel, because a function may initialise them at random.

    Args:
        function: The function, pickled with the modules beside the campaign file by value.
        weights: Arrays in the order of ``model.get_weights()``; None before the first call.
        name: What the user called it.
    """

    function: bytes
    weights: Weights | None
    name: str

    def build(self) -> keras.Model:
        """Call the function and set the weights.

        Raises:
            ModelError: The function raises, or returns something else than a Keras model.
        """
        keras.utils.clear_session()
        try:
            with contextlib.redirect_stdout(sys.stderr):  # standard output belongs to the command
                model = cloudpickle.loads(self.function)()
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            raise ModelError(
                f"the function raised {type(error).__name__}: {_first_line(error)}", place=self.name
            ) from error
        if not isinstance(model, keras.Model):
            raise ModelError(
                f"the function returned {type(model).__name__}; expected a keras.Model",
                place=self.name,
            )
        if self.weights is not None:
            model.set_weights(list(self.weights))
        return model


Portable = FileModel | FunctionModel
"""A model that can be pickled, sent to another process and built there."""


def resolve(
    reference: str,
    folder: Path | None = None,
    *,
    weights: str | None = None,
    input_shape: tuple[int, ...] | None = None,
    classes: int | None = None,
) -> tuple[Portable, keras.Model]:
    """Find the model that ``reference`` names.

    Args:
        reference: File, ``builtin:NAME``, ``keras.applications:NAME`` or
            ``package.module:function``.
        folder: Where a module is looked up before the Python path.
        weights: For ``keras.applications``: ``imagenet`` (the default), ``random``, or a file.
        input_shape: For ``keras.applications``: height, width, channels.
        classes: For ``keras.applications``: number of classes.

    Returns:
        The model in a form that can be sent, and the model itself.

    Raises:
        ModelError: There is no such model, or it cannot be loaded.
    """
    scheme, _, name = reference.partition(":")
    if scheme == "builtin":
        return _resolve_builtin(name)
    if scheme == "keras.applications":
        return _resolve_application(name, weights, input_shape, classes)
    if is_function(reference):
        return _resolve_function(reference, folder)
    return _resolve_file(Path(reference))


def digest(model: keras.Model) -> str:
    """Return the 128-bit blake2b digest of a model's graph and weights, hexadecimal.

    It covers each step's address, class, configuration and call, the code of classes and functions
    that are not Keras' own, and each weight's dtype, shape and contents. So it does not change when
    the same model is saved in another format, and does when a layer computes something else. Code
    is compared as compiled by Python, whose bytecode may differ between versions of it.
    """
    graph = Graph(model)
    result = hashlib.blake2b(digest_size=16)
    made_by = {
        key: f"output {position} of step {step.index}"
        for step in graph.steps
        for position, key in enumerate(step.outputs)
    }
    for step in graph.steps:
        arguments = step.node.arguments
        content = [
            step.layer,
            type(step.operation).__name__,
            _config(step.operation),
            keras.tree.map_structure(
                lambda value: made_by.get(id(value), value), [arguments.args, arguments.kwargs]
            ),
        ]
        if code := _code_of(step.operation):
            content.append(code)
        result.update(json.dumps(content, sort_keys=True, default=_plain).encode())
    result.update(made_by[id(graph.output)].encode())
    for array in model.get_weights():
        result.update(f"{array.dtype.name}{array.shape}".encode())
        result.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return result.hexdigest()


def load_file(path: Path) -> keras.Model:
    """Load a ``.keras`` or ``.h5`` file.

    Raises:
        ModelError: It cannot be read or loaded.
    """
    return _resolve_file(path)[1]


def _config(operation: Any) -> Any:
    """Return an operation's configuration; empty where a class of the user's own does not tell."""
    try:
        return _without_bytecode(operation.get_config())
    except NotImplementedError:
        return {}


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


def _resolve_builtin(name: str) -> tuple[Portable, keras.Model]:
    if name not in BUILTIN:
        raise ModelError(
            f"there is no builtin model {name!r}{nearest(name, BUILTIN)}",
            hint=f"expected builtin: and one of {', '.join(BUILTIN)}",
        )
    return _as_file(BUILTIN[name](), f"builtin:{name}")


def _resolve_application(
    name: str, weights: str | None, input_shape: tuple[int, ...] | None, classes: int | None
) -> tuple[Portable, keras.Model]:
    builders = {
        key: value
        for key, value in vars(keras.applications).items()
        if key[0].isupper() and callable(value)
    }
    place = f"keras.applications:{name}"
    if name not in builders:
        raise ModelError(
            f"keras.applications has no model {name!r}{nearest(name, builders)}", place=place
        )
    arguments: dict[str, Any] = {"input_shape": input_shape, "weights": weights or "imagenet"}
    if weights == "random":
        arguments["weights"] = None
        keras.utils.set_random_seed(0)
    if classes is not None:
        arguments["classes"] = classes
    keras.utils.clear_session()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # Keras draws a progress bar there
            model = builders[name](**arguments)
    except Exception as error:
        raise ModelError(
            f"it cannot be built: {_first_line(error)}",
            place=place,
            hint="where the ImageNet weights cannot be downloaded, give `weights: FILE` or "
            "`weights: random` beside `source` in the campaign file's `model:` mapping",
        ) from error
    return _as_file(model, place)


def _as_file(model: keras.Model, name: str) -> tuple[FileModel, keras.Model]:
    """Return the model as a ``.keras`` file; for models made of Keras' own layers."""
    with tempfile.NamedTemporaryFile(suffix=".keras") as file:
        model.save(file.name)
        return FileModel(Path(file.name).read_bytes(), ".keras", name), model


def _resolve_function(reference: str, folder: Path | None) -> tuple[Portable, keras.Model]:
    function = import_function(reference, folder, ModelError)
    beside = modules_in(folder) if folder is not None else []
    for module in beside:
        cloudpickle.register_pickle_by_value(module)
    try:
        pickled = cloudpickle.dumps(function)
    finally:
        for module in beside:
            cloudpickle.unregister_pickle_by_value(module)
    model = FunctionModel(pickled, None, reference).build()
    return FunctionModel(pickled, tuple(model.get_weights()), reference), model


def _resolve_file(path: Path) -> tuple[Portable, keras.Model]:
    if path.suffix not in FILE_SUFFIXES:
        raise ModelError(
            f"unknown model {str(path)!r}",
            hint="expected a .keras or .h5 file, builtin:NAME, keras.applications:NAME, or "
            "package.module:function",
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"the model file cannot be read: {error.strerror}", place=str(path)
        ) from error
    portable = FileModel(content, path.suffix, str(path))
    return portable, portable.build()


def _first_line(error: BaseException) -> str:
    """Return the first line of the reason, which Keras gives last and with the configuration."""
    reason = str(error).rpartition("Exception encountered: ")[2].strip()
    return re.split(r"\n| Full object config: ", reason)[0] or type(error).__name__
