"""Files that Keras 2 wrote: refused where they hold code, else loaded by Keras 2 (``tf_keras``)."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

from injecttf2.errors import ModelError
from injecttf2.models.model_files import CODE_HINT

LAMBDAS = ("Lambda", "__lambda__")
"""Classes whose configuration holds code of Python."""

LIBRARIES = ("keras", "tf_keras", "builtins")
"""Packages whose classes a file may name; Keras 2 would import any other."""

FUNCTIONS = ("math", "nn", "linalg", "image", "signal", "bitwise", "dtypes", "__operators__")
"""Parts of TensorFlow whose functions a file may name."""

FORBIDDEN = (
    "py_function",
    "numpy_function",
    "load_library",
    "load_op_library",
    "function",
    "print",
)
"""Functions of TensorFlow's own that run code, or do something else than computing."""


def check(config: Any, name: str) -> None:
    """See that the configuration of a model holds no code, as Keras' safe mode does.

    Args:
        config: It as a whole, in plain values.
        name: What the user called the file.

    Raises:
        ModelError: It does; the message names the layer.
    """
    for layer, part in _parts(config, ""):
        if (why := _code_in(part)) is not None:
            where = f"the layer {layer!r}" if layer else "its configuration"
            raise ModelError(f"{where} {why}, which is not run", place=name, hint=CODE_HINT)


def config_of(content: bytes) -> Any:
    """Return the configuration of the model in a file, in plain values."""
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return json.loads(archive.read("config.json"))
    import h5py  # which comes with Keras

    with h5py.File(io.BytesIO(content), "r") as file:
        return json.loads(file.attrs["model_config"])


def load(path: str) -> Any:
    """Load a file whose configuration was checked; returns a model of Keras 2."""
    import tf_keras

    return tf_keras.models.load_model(path, compile=False)


def _parts(value: Any, layer: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield all mappings in a value, each with the name of the layer that it is of."""
    if isinstance(value, dict):
        config = value.get("config")
        named = config.get("name") if isinstance(config, dict) else None
        layer = str(named or value.get("name") or layer)
        yield layer, value
        for one in value.values():
            yield from _parts(one, layer)
    elif isinstance(value, list):
        for one in value:
            yield from _parts(one, layer)


def _code_in(part: dict[str, Any]) -> str | None:
    """Return what code a mapping holds or names; None where it holds none."""
    kind, module = part.get("class_name"), part.get("module")
    if kind in LAMBDAS or "lambda" in (part.get("function_type"), part.get("output_shape_type")):
        return "is a Lambda layer, or holds a function: code of Python"
    if kind is not None and module is not None and _root(module) not in LIBRARIES:
        return f"is of the class {module}.{kind}, code of Python"
    if kind == "TFOpLambda":
        function = str(part.get("config", {}).get("function", ""))
        if not _computes(function.removeprefix("compat.v1.")):
            return f"calls tf.{function}, which may do more than compute"
    return None


def _computes(function: str) -> bool:
    """Return whether a function of TensorFlow's does nothing but compute, by its name."""
    if "." in function:
        return _root(function) in FUNCTIONS
    return function not in FORBIDDEN


def _root(name: object) -> str:
    return str(name).partition(".")[0]
