"""Finding models by reference.

A reference is a ``.keras`` or ``.h5`` file, a SavedModel folder, ``builtin:NAME``,
``keras.applications:NAME``, or ``package.module:function``, a function that returns a model.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from injecttf2.config.applications import APPLICATIONS, application
from injecttf2.config.paths import on_disk
from injecttf2.errors import ModelError
from injecttf2.graph.keras_function import is_subclassed
from injecttf2.models import model_files, saved_models
from injecttf2.models.builtin import SCHEME, builtin
from injecttf2.models.digest import code_modules
from injecttf2.models.keras_settings import DEFAULTS
from injecttf2.models.portable import (
    FileModel,
    FolderModel,
    FunctionModel,
    HeldModel,
    Model,
    PortableModel,
    as_model,
    weights_of,
)
from injecttf2.models.scoped_model import CONCRETE, FUNCTION
from injecttf2.user_code.files import code_of
from injecttf2.user_code.importing import Parcel, code_of_loaded
from injecttf2.user_code.references import call, first_line, import_function, is_function


def resolve(
    reference: str,
    folder: Path | None = None,
    *,
    weights: str | None = None,
    input_shape: tuple[int, ...] | None = None,
    classes: int | None = None,
    signature: str | None = None,
) -> tuple[PortableModel, Model]:
    """Find the model that ``reference`` names; Keras' settings are those of the model then.

    Args:
        reference: File, SavedModel folder, ``builtin:NAME``, ``keras.applications:NAME`` or
            ``package.module:function``.
        folder: Where a module is looked up before the Python path.
        weights: For ``keras.applications``: ``imagenet`` (the default), ``random``, or a file.
        input_shape: For ``keras.applications``: height, width, channels.
        classes: For ``keras.applications``: number of classes.
        signature: For a SavedModel: which of its signatures; None for the one that is served.

    Returns:
        The model in a form that can be sent, and the model itself.

    Raises:
        ModelError: There is no such model, or it cannot be loaded.
    """
    if signature is not None and not saved_models.is_saved_model(on_disk(Path(reference))):
        raise ModelError(
            f"received the signature {signature!r}; only a SavedModel folder has any",
            place=reference,
            hint="remove it",
        )
    scheme, _, name = reference.partition(":")
    try:
        if scheme == "builtin":
            return _as_file(builtin(name), f"{SCHEME}{name}")
        if scheme == "keras.applications":
            return _resolve_application(name, weights, input_shape, classes)
        if is_function(reference):
            return _resolve_function(reference, folder)
        return _resolve_path(Path(reference), signature)
    except OSError as error:  # of a file that Keras reads it from, or writes it to
        raise ModelError(
            f"it cannot be put into a temporary file: {error.strerror or error}",
            place=reference,
            hint=f"the folder is {tempfile.gettempdir()}; set TMPDIR to one with room",
        ) from error


def load_file(path: Path) -> Model:
    """Load a ``.keras`` or ``.h5`` file, or a SavedModel folder.

    Raises:
        ModelError: It cannot be read or loaded.
    """
    return _resolve_path(path)[1]


def _resolve_application(
    name: str, weights: str | None, input_shape: tuple[int, ...] | None, classes: int | None
) -> tuple[PortableModel, Model]:
    builder = application(name, ModelError)
    place = f"{APPLICATIONS}{name}"
    arguments: dict[str, Any] = {"input_shape": input_shape, "weights": weights or "imagenet"}
    if weights == "random":
        arguments["weights"] = None
        keras.utils.set_random_seed(0)
    if classes is not None:
        arguments["classes"] = classes
    keras.utils.clear_session(free_memory=False)

    def build() -> keras.Model:
        with contextlib.redirect_stdout(io.StringIO()):  # Keras draws a progress bar there
            return builder(**arguments)

    try:
        return _as_file(build, place)
    except Exception as error:
        raise ModelError(
            f"it cannot be built: {first_line(error)}",
            place=place,
            hint="where the ImageNet weights cannot be downloaded, give `weights: FILE` or "
            "`weights: random` beside `source` in the campaign file's `model:` mapping",
        ) from error


def _as_file(build: Callable[[], keras.Model], name: str) -> tuple[FileModel, keras.Model]:
    """Return a model as a ``.keras`` file; for models made of Keras' own layers.

    It is built with Keras' defaults, which hold from then on.
    """
    DEFAULTS.apply()
    model = build()
    with tempfile.NamedTemporaryFile(suffix=".keras") as file:
        model.save(file.name)
        return FileModel(Path(file.name).read_bytes(), ".keras", name), model


def _resolve_function(reference: str, folder: Path | None) -> tuple[PortableModel, Model]:
    function = import_function(reference, folder, ModelError)
    code = code_of(reference, folder)
    called = FunctionModel(Parcel.of(function, code), None, reference)
    model = called.build()
    _check_called(model, reference, "the function returned")
    code = code_of(reference, folder)  # what it imports may lie where it has made Python look
    parcel = replace(called.function, code=code | code_of_loaded(_modules(model)))
    return replace(called, function=parcel, weights=weights_of(model)), model


def held(given: Any, name: str) -> tuple[PortableModel, Model]:
    """Return a model that the user's program holds, or that a function of it returns.

    Args:
        given: The model, as Keras or TensorFlow has it, or a function without arguments.
        name: What messages call it.

    Returns:
        As for :func:`resolve`.

    Raises:
        ModelError: It is no model, or cannot be used as one; or the function raises.
    """
    what = "this is"
    if not isinstance(given, keras.Model | tf.Module | CONCRETE | FUNCTION):
        what, given = "the function returned", call(given, name, ModelError)
    model = as_model(given, name, what)
    _check_called(model, name, what)
    return HeldModel(model, given, name, code_of_loaded(_modules(model))), model


def _check_called(model: Model, place: str, what: str) -> None:
    """See that a model has its weights."""
    if isinstance(model, keras.Model) and is_subclassed(model) and not model.built:
        raise ModelError(
            f"{what} a subclassed model, {type(model).__name__}, that has not been "
            "called, so it has no weights yet that other processes could be given",
            place=place,
            hint="call it once on an array of the right shape before it is returned, for example "
            "model(np.zeros((1, 28, 28, 1)))",
        )


def _resolve_path(path: Path, signature: str | None = None) -> tuple[PortableModel, Model]:
    path = on_disk(path)
    if saved_models.is_saved_model(path):
        folder = FolderModel(saved_models.read(path), str(path), signature)
        return folder, folder.build()
    content, suffix = model_files.read(path)
    portable = FileModel(content, suffix, str(path))
    try:
        model = portable.build()
    except ModelError:
        if not model_files.is_of_keras_2(content):
            raise
        portable = replace(portable, keras_2=True)  # which understands all that it wrote
        model = portable.build()
    return replace(portable, code=code_of_loaded(_modules(model))), model


def _modules(model: Model) -> set[str]:
    """Return the names of the modules of the user's own that a model is made of."""
    return code_modules(model) if isinstance(model, keras.Model) else set(model.modules)
