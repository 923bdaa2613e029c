"""Model files: their format, by what they hold, and what else a user may have given."""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from injecttf2.config.file_kinds import kind_of
from injecttf2.errors import ModelError

SUFFIXES = {".keras": ".keras", ".h5": ".h5", ".hdf5": ".h5"}
"""Suffixes of model files, and the format that each stands for."""

UNKNOWN_HINT = (
    "expected a .keras or .h5 file, a SavedModel folder, builtin:NAME, keras.applications:NAME, or "
    "package.module:function"
)

HINT = (
    "expected a whole model in a .keras or .h5 file, or a SavedModel folder: give the Keras model "
    'that it was made from, saved by model.save("model.keras"), or package.module:function, a '
    "function that returns it"
)

WEIGHTS = "an HDF5 file without a model: weights alone, or other data"

WEIGHTS_HINT = (
    "give package.module:function, a function that builds the model, loads these weights and "
    "returns it"
)

CODE_HINT = (
    "a model with layers of your own, or with Lambda layers, is given as "
    "package.module:function, a function that returns it"
)


def read(path: Path) -> tuple[bytes, str]:
    """Return what a model file holds, and the suffix by which Keras knows its format.

    Args:
        path: A file, whatever its suffix.

    Raises:
        ModelError: It cannot be read, or is something else; the message says what.
    """
    place, suffix = str(path), path.suffix.lower()
    if not path.name or not (suffix in SUFFIXES or path.exists()):
        raise ModelError(f"unknown model {place!r}", hint=UNKNOWN_HINT)
    if path.is_dir():
        raise ModelError(f"this is {_folder(path)}", place=place, hint=HINT)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"the model file cannot be read: {error.strerror}", place=place) from error
    if (held := _format(content)) is not None:
        return content, suffix if SUFFIXES.get(suffix) == held else held
    if _attributes(content) is not None:
        raise ModelError(f"this is {WEIGHTS}", place=place, hint=WEIGHTS_HINT)
    if (kind := kind_of(content, path)) is not None:
        raise ModelError(f"this is {kind[0]}", place=place, hint=kind[1] or HINT)
    if suffix in SUFFIXES:
        raise ModelError(f"it is not a {suffix} file, or its end is missing", place=place)
    raise ModelError("this is no model file", place=place, hint=HINT)


def is_of_keras_2(content: bytes) -> bool:
    """Return whether Keras 2, or Keras 1, wrote a model file."""
    with suppress(Exception):  # it is broken, whatever is wrong with it
        return _written_by(content).startswith(("1.", "2."))
    return False


def _format(content: bytes) -> str | None:
    """Return the format of a whole model; None for what is none."""
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return ".keras" if "config.json" in archive.namelist() else None
    return ".h5" if "model_config" in (_attributes(content) or ()) else None


def _attributes(content: bytes) -> dict[str, Any] | None:
    """Return the attributes of an HDF5 file; None for one that is broken, or no such file."""
    import h5py  # which comes with Keras

    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            return dict(file.attrs)
    except OSError:
        return None


def _written_by(content: bytes) -> str:
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return str(json.loads(archive.read("metadata.json"))["keras_version"])
    version = (_attributes(content) or {})["keras_version"]
    return version.decode() if isinstance(version, bytes) else str(version)


def _folder(path: Path) -> str:
    """Return what a folder is."""
    if (path / "config.json").is_file() and (path / "model.weights.h5").is_file():
        return "a .keras file that was unpacked"
    if (path / "checkpoint").is_file():
        return "a folder of checkpoints, weights without a model"
    return "a folder, which holds no model"
