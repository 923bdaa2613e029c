"""Loading Keras models by reference, and sending them to other processes.

A reference is a ``.keras`` or ``.h5`` file, ``builtin:NAME``, ``keras.applications:NAME``, or
``package.module:function``, a function that returns a model. Files are loaded in Keras' safe
mode, which refuses code stored in a model file.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy.typing as npt

from injecttf2 import model_files
from injecttf2.applications import APPLICATIONS, application
from injecttf2.code_import import Parcel, code_of_loaded
from injecttf2.digest import code_modules
from injecttf2.digits import trained_model
from injecttf2.errors import ModelError, UserError
from injecttf2.keras_settings import DEFAULTS, KerasSettings
from injecttf2.own_code import Code, code_of
from injecttf2.paths import on_disk
from injecttf2.references import import_function, is_function
from injecttf2.suggest import nearest
from injecttf2.wrapping import is_subclassed

BUILTIN: dict[str, Callable[[], keras.Model]] = {"digits_cnn": trained_model}
"""Models by the name after ``builtin:``."""

Weights = tuple[npt.NDArray[Any], ...]


@dataclass(frozen=True)
class FileModel:
    """A model file, on its way to another process.

    Args:
        content: The bytes of the file.
        suffix: Its suffix, which tells Keras the format.
        name: What the user called it.
        settings: Keras' settings that it is built with.
        code: The user's own code of its layers, which the user's program has registered.
    """

    content: bytes
    suffix: str
    name: str
    settings: KerasSettings = field(default_factory=KerasSettings.current)
    code: Code = field(default_factory=Code)

    def build(self) -> keras.Model:
        """Load the model; Keras' settings are those of the model from then on.

        Raises:
            ModelError: Keras cannot load it, or it holds code, which safe mode refuses.
        """
        keras.utils.clear_session(free_memory=False)  # forgets a policy of dtypes, too
        self.settings.apply()
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
                    hint=model_files.refusal(self.content),
                ) from error


@dataclass(frozen=True, eq=False)
class FunctionModel:
    """A function that returns a model, and the weights that it had where it was first called.

    The weights travel, because a function may initialise them at random.

    Args:
        function: The function.
        weights: Arrays in the order of ``model.get_weights()``; None before the first call.
        name: What the user called it.
        settings: Keras' settings that it is called with.
    """

    function: Parcel
    weights: Weights | None
    name: str
    settings: KerasSettings = field(default_factory=KerasSettings.current)

    def build(self) -> keras.Model:
        """Call the function and set the weights; Keras' settings are those of the model then.

        Raises:
            ModelError: The function raises, or returns something else than a Keras model.
        """
        keras.utils.clear_session(free_memory=False)
        self.settings.apply()
        try:
            with contextlib.redirect_stdout(sys.stderr):  # standard output belongs to the command
                model = self.function.open()()
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

    @property
    def code(self) -> Code:
        """The user's own code of the function and of the model's layers."""
        return self.function.code


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
    """Find the model that ``reference`` names; Keras' settings are those of the model then.

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
    try:
        if scheme == "builtin":
            return _resolve_builtin(name)
        if scheme == "keras.applications":
            return _resolve_application(name, weights, input_shape, classes)
        if is_function(reference):
            return _resolve_function(reference, folder)
        return _resolve_file(Path(reference))
    except OSError as error:  # of a file that Keras reads it from, or writes it to
        raise ModelError(
            f"it cannot be put into a temporary file: {error.strerror or error}",
            place=reference,
            hint=f"the folder is {tempfile.gettempdir()}; set TMPDIR to one with room",
        ) from error


def load_file(path: Path) -> keras.Model:
    """Load a ``.keras`` or ``.h5`` file.

    Raises:
        ModelError: It cannot be read or loaded.
    """
    return _resolve_file(path)[1]


def _resolve_builtin(name: str) -> tuple[Portable, keras.Model]:
    if name not in BUILTIN:
        raise ModelError(
            f"there is no builtin model {name!r}{nearest(name, BUILTIN)}",
            hint=f"expected builtin: and one of {', '.join(BUILTIN)}",
        )
    return _as_file(BUILTIN[name], f"builtin:{name}")


def _resolve_application(
    name: str, weights: str | None, input_shape: tuple[int, ...] | None, classes: int | None
) -> tuple[Portable, keras.Model]:
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
            f"it cannot be built: {_first_line(error)}",
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


def _resolve_function(reference: str, folder: Path | None) -> tuple[Portable, keras.Model]:
    function = import_function(reference, folder, ModelError)
    code = code_of(reference, folder)
    called = FunctionModel(Parcel.of(function, code), None, reference)
    model = called.build()
    if is_subclassed(model) and not model.built:
        raise ModelError(
            f"the function returned a subclassed model, {type(model).__name__}, that has not been "
            "called, so it has no weights yet that other processes could be given",
            place=reference,
            hint="call it once on an array of the right shape before it is returned, for example "
            "model(np.zeros((1, 28, 28, 1)))",
        )
    code = code_of(reference, folder)  # what it imports may lie where it has made Python look
    parcel = replace(called.function, code=code | code_of_loaded(code_modules(model)))
    return replace(called, function=parcel, weights=tuple(model.get_weights())), model


def _resolve_file(path: Path) -> tuple[Portable, keras.Model]:
    path = on_disk(path)
    known = path.suffix.lower() in model_files.SUFFIXES
    if not path.name or not (known or path.exists()):
        raise ModelError(
            f"unknown model {str(path)!r}",
            hint="expected a .keras or .h5 file, builtin:NAME, keras.applications:NAME, or "
            "package.module:function",
        )
    portable = FileModel(*model_files.read(path), str(path))
    model = portable.build()
    return replace(portable, code=code_of_loaded(code_modules(model))), model


def _first_line(error: BaseException) -> str:
    """Return the first line of the reason, which Keras gives last and with the configuration."""
    reason = str(error).rpartition("Exception encountered: ")[2].strip()
    return re.split(r"\n| Full object config: ", reason)[0] or type(error).__name__
