"""Models in a form that can be pickled, sent to another process and built there.

Files are loaded in Keras' safe mode, which refuses code stored in a model file; those of Keras 2,
for which there is no such mode, are read for code before they are loaded.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy.typing as npt
import tensorflow as tf

from injecttf2.errors import ModelError, UserError
from injecttf2.graph.traceable import TensorFlowModel
from injecttf2.models import configuration, keras2_files, model_files, saved_models
from injecttf2.models.keras_settings import KerasSettings
from injecttf2.models.scoped_model import CONCRETE, ScopedModel
from injecttf2.user_code.files import Code
from injecttf2.user_code.importing import Parcel
from injecttf2.user_code.references import call, first_line

Model: TypeAlias = keras.Model | TensorFlowModel
"""A model of Keras 3, or another as the engine takes it."""

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
        keras_2: Whether Keras 2 loads it, not Keras 3.
    """

    content: bytes
    suffix: str
    name: str
    settings: KerasSettings = field(default_factory=KerasSettings.current)
    code: Code = field(default_factory=Code)
    keras_2: bool = False

    def build(self) -> Model:
        """Load the model; Keras' settings are those of the model from then on.

        Raises:
            ModelError: Keras cannot load it, or it holds code, which safe mode refuses.
        """
        if self.keras_2:
            keras2_files.check(keras2_files.config_of(self.content), self.name)
        keras.utils.clear_session(free_memory=False)  # forgets a policy of dtypes, too
        self.settings.apply()
        with tempfile.NamedTemporaryFile(suffix=self.suffix) as file:
            file.write(self.content)
            file.flush()
            try:
                if self.keras_2:
                    return as_model(keras2_files.load(file.name), self.name)
                return keras.models.load_model(file.name, compile=False, safe_mode=True)
            except UserError:
                raise
            except Exception as error:
                message = first_line(error).replace(file.name, self.name)
                raise ModelError(
                    f"Keras{' 2' if self.keras_2 else ''} cannot load it: {message}",
                    place=self.name,
                    hint=model_files.CODE_HINT,
                ) from error


@dataclass(frozen=True)
class FolderModel:
    """A SavedModel, on its way to another process.

    Args:
        files: The bytes of its files, by their paths in the folder.
        name: What the user called it.
        signature: Which of its signatures is run; None for the one that is served.
        settings: Keras' settings, which it does not heed.
        code: No code of the user's.
    """

    files: Mapping[str, bytes]
    name: str
    signature: str | None = None
    settings: KerasSettings = field(default_factory=KerasSettings.current)
    code: Code = field(default_factory=Code)

    def build(self) -> Model:
        """Load the model.

        Raises:
            ModelError: TensorFlow cannot load it, it holds something else than operations that
                compute, or has no such signature.
        """
        self.settings.apply()
        saved_models.check(self.files[saved_models.GRAPH], self.name)
        with tempfile.TemporaryDirectory() as folder:
            saved_models.write(self.files, Path(folder))
            return saved_models.load(folder, self.name, self.signature)


@dataclass(frozen=True, eq=False)
class FunctionModel:
    """A function that returns a model, and the weights that it had where it was first called.

    The weights travel, because a function may initialise them at random.

    Args:
        function: The function.
        weights: Arrays in the order of ``model.get_weights()``, or of the variables that a module
            or function of TensorFlow's holds; None before the first call.
        name: What the user called it.
        settings: Keras' settings that it is called with.
    """

    function: Parcel
    weights: Weights | None
    name: str
    settings: KerasSettings = field(default_factory=KerasSettings.current)

    def build(self) -> Model:
        """Call the function and set the weights; Keras' settings are those of the model then.

        Raises:
            ModelError: The function raises, or returns something that is no model.
        """
        keras.utils.clear_session(free_memory=False)
        if (keras_2 := sys.modules.get("tf_keras")) is not None:
            keras_2.backend.reset_uids()  # names of layers begin anew, as in clear_session
        self.settings.apply()
        model = as_model(call(lambda: self.function.open()(), self.name, ModelError), self.name)
        if self.weights is not None:
            _set_weights(model, self.weights, self.name)
        return model

    @property
    def code(self) -> Code:
        """The user's own code of the function and of the model's layers."""
        return self.function.code


@dataclass(frozen=True, eq=False)
class HeldModel:
    """A model that the user's program holds; in this process it is that model itself.

    On its way to another process it becomes a :class:`FunctionModel` that makes it again there.

    Args:
        model: The model.
        given: It as the user gave it, or a function returned it.
        name: What messages call it.
        code: The user's own code of its layers.
        settings: Keras' settings that it is run with.
    """

    model: Model
    given: Any
    name: str
    code: Code
    settings: KerasSettings = field(default_factory=KerasSettings.current)

    def build(self) -> Model:
        """Return the model; Keras' settings are its own from then on."""
        self.settings.apply()
        return self.model

    def __reduce__(self) -> tuple[Any, ...]:
        weights = None
        try:
            if isinstance(self.given, keras.Model):
                make: Any = partial(_made_again, self.name, configuration.of(self.given))
                weights = weights_of(self.given)
            else:
                make = partial(_itself, self.given)
            parcel = Parcel.of(make, self.code)
        except Exception as error:
            raise _cannot_travel(self.name, "be sent to", error) from error
        return FunctionModel, (parcel, weights, self.name, self.settings)


def _made_again(name: str, told: configuration.Configuration) -> keras.Model:
    try:
        return told.build()
    except Exception as error:
        raise _cannot_travel(name, "be made again in", error) from error


def _itself(given: Any) -> Any:
    return given


def _cannot_travel(name: str, how: str, error: Exception) -> ModelError:
    reason = str(error).rpartition("Exception encountered: ")[2].strip()
    paragraph = " ".join(reason.partition("\n\n")[0].split())
    return ModelError(
        f"the model cannot {how} other processes: {type(error).__name__}: {paragraph}",
        place=name,
        hint='choose executor="inline", which works in this process; or write a function that '
        'returns the model into a module: model="package.module:function"',
    )


PortableModel = FileModel | FolderModel | FunctionModel | HeldModel
"""A model that can be pickled, sent to another process and built there."""


def as_model(returned: Any, name: str, what: str = "the function returned") -> Model:
    """Return what a function returned, a file held, or the user gave, as a model.

    Args:
        returned: It.
        name: What the user called it.
        what: How a message that it is no model begins.

    Raises:
        ModelError: It is no model, or it is not known what it takes.
    """
    if isinstance(returned, keras.Model):
        return returned
    try:
        model = _traceable(returned, name)
    except ModelError as error:
        raise ModelError(error.message, place=name, hint=error.hint) from error
    if model is None:
        raise ModelError(
            f"{what} {type(returned).__name__}; expected a keras.Model, a "
            "tf_keras.Model, a tf.Module or a concrete function of TensorFlow",
            place=name,
        )
    return model


def _traceable(returned: Any, name: str) -> TensorFlowModel | None:
    """Return something as the engine takes it; None where it does not."""
    if any(_is_model_of_keras_2(kind) for kind in type(returned).__mro__):
        from injecttf2.models.keras2_model import Keras2Model  # brings Keras 2 in

        return Keras2Model(returned)
    if isinstance(returned, CONCRETE):
        return ScopedModel.of(returned, name)
    if isinstance(returned, tf.Module):
        return ScopedModel.of_module(returned, name)
    return None


def _is_model_of_keras_2(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "tf_keras" and kind.__name__ == "Model"


def weights_of(model: Model) -> Weights:
    """Return the values of the variables that a model holds, always in the same order."""
    if isinstance(model, keras.Model):
        return tuple(model.get_weights())
    return tuple(one.numpy() for one in model.variables)


def _set_weights(model: Model, weights: Weights, name: str) -> None:
    if isinstance(model, keras.Model):
        model.set_weights(list(weights))
        return
    shapes, found = [one.shape for one in weights], [tuple(one.shape) for one in model.variables]
    if shapes != found:
        raise ModelError(
            f"the function returned a model with variables of the shapes {found}; expected "
            f"{shapes}, as the first time",
            place=name,
            hint="a function must return the same model every time",
        )
    for variable, value in zip(model.variables, weights, strict=True):
        variable.assign(value)
