"""SavedModel folders: what is read of them, what is refused, and how they are loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.framework import op_def_registry

from injecttf2.config.spelling import nearest
from injecttf2.errors import ModelError
from injecttf2.models.scoped_model import ScopedModel

GRAPH = "saved_model.pb"
"""The file of a SavedModel that holds its graph."""

PARTS = (GRAPH, "variables", "assets")
"""What is read of a folder."""

SERVING = "serving_default"
"""Name of the signature that is taken where none is named."""

PYTHON = ("PyFunc", "PyFuncStateless", "EagerPyFunc")
"""Operations that call functions of the Python program that made them."""

WRITING = ("WriteFile",)
"""Operations that do something else than compute."""

FUNCTION_HINT = "give package.module:function, a function that builds the model and returns it"


def is_saved_model(folder: Path) -> bool:
    """Return whether a folder is a SavedModel."""
    return (folder / GRAPH).is_file()


def read(folder: Path) -> dict[str, bytes]:
    """Return the files of a SavedModel, by their paths in it.

    Raises:
        ModelError: One cannot be read.
    """
    found = [folder / GRAPH]
    for part in PARTS[1:]:
        found += sorted(one for one in (folder / part).rglob("*") if one.is_file())
    try:
        return {one.relative_to(folder).as_posix(): one.read_bytes() for one in found}
    except OSError as error:
        raise ModelError(
            f"the SavedModel cannot be read: {error.strerror}", place=str(folder)
        ) from error


def write(files: Mapping[str, bytes], folder: Path) -> None:
    """Write the files of a SavedModel into an empty folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def check(graph: bytes, name: str) -> None:
    """See that a SavedModel holds nothing but operations of TensorFlow that compute.

    Args:
        graph: Its file ``saved_model.pb``.
        name: What the user called the folder.

    Raises:
        ModelError: It holds something else, or cannot be read.
    """
    saved = SavedModel()
    try:
        saved.ParseFromString(graph)
    except Exception as error:
        raise ModelError(f"its {GRAPH} is no SavedModel, or damaged", place=name) from error
    functions = {one.signature.name for meta in saved.meta_graphs for one in _functions(meta)}
    used = {node.op for meta in saved.meta_graphs for node in _nodes(meta)} - functions
    if python := sorted(used.intersection(PYTHON)):
        raise ModelError(
            f"it calls functions of the program that made it ({', '.join(python)}), which are not "
            "in it",
            place=name,
            hint="write them with operations of TensorFlow, or " + FUNCTION_HINT,
        )
    if writing := sorted(used.intersection(WRITING)):
        raise ModelError(
            f"it writes files when it runs ({', '.join(writing)}); expected a model that computes",
            place=name,
            hint=FUNCTION_HINT,
        )
    if unknown := sorted(one for one in used if op_def_registry.get(one) is None):
        raise ModelError(
            f"it needs operations that TensorFlow {tf.__version__} does not have: "
            f"{', '.join(unknown)}",
            place=name,
            hint="they come with a library of operations, or from another version; "
            + FUNCTION_HINT
            + " after it has loaded them",
        )


def load(folder: str, name: str, signature: str | None) -> ScopedModel:
    """Load a signature of a SavedModel that was checked.

    Args:
        folder: Where it lies.
        name: What the user called it.
        signature: Name of the signature; None for the one that is served.

    Raises:
        ModelError: It has no such signature, or TensorFlow cannot load it.
    """
    try:
        loaded = tf.saved_model.load(folder)
    except Exception as error:
        reason = next(iter(str(error).replace(folder, name).splitlines()), type(error).__name__)
        raise ModelError(f"TensorFlow cannot load it: {reason}", place=name) from error
    known = dict(sorted(loaded.signatures.items()))
    if signature is None and SERVING not in known and len(known) == 1:
        (signature,) = known
    wanted = SERVING if signature is None else signature
    if wanted not in known:
        raise ModelError(
            f"it has no signature {wanted!r}{nearest(wanted, known)}; it has "
            f"{', '.join(known) or 'none'}",
            place=name,
            hint="name one: `model: {source: FOLDER, signature: NAME}`, on the command line "
            "`injecttf2 layers FOLDER --signature NAME`"
            if known
            else "save it with one: tf.saved_model.save(model, FOLDER, signatures=function)",
        )
    return ScopedModel.of(known[wanted], name)


def _functions(meta: Any) -> Iterator[Any]:
    yield from meta.graph_def.library.function


def _nodes(meta: Any) -> Iterator[Any]:
    yield from meta.graph_def.node
    for function in _functions(meta):
        yield from function.node_def
