"""A model of Keras as its configuration, with the user's own classes and functions in it.

For a model that the user's own program holds, whose code other processes may not have, such as that
of a notebook. Weights are not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import keras

from injecttf2.user_code.values import is_library, module_of

UNNAMED = "<lambda>"
"""What Python calls all functions that have no name."""


@dataclass(frozen=True)
class Configuration:
    """What a model is made of.

    Args:
        config: As Keras serialises it.
        objects: Classes and functions of the user's own, by the names that it has for them.
    """

    config: Any
    objects: Mapping[str, Any]

    def build(self) -> keras.Model:
        """Make the model.

        Raises:
            Exception: Keras cannot.
        """
        model: keras.Model = keras.saving.deserialize_keras_object(
            self.config, custom_objects=dict(self.objects), safe_mode=False
        )
        return model


def of(model: keras.Model) -> Configuration:
    """Return the configuration of a model.

    Raises:
        Exception: Something in it cannot be serialised.
    """
    parts = list(model._flatten_layers())
    held = [one for part in parts for one in vars(part).values() if callable(one)]
    functions = [one for one in held if isinstance(one, FunctionType)]
    functions = [one for one in functions if not is_library(module_of(one))]
    kinds = [type(one) for one in [*parts, *held]]
    own: list[Any] = [*functions, *(one for one in kinds if not is_library(one.__module__))]
    with named(functions):
        objects = {
            name: one
            for one in own
            for name in (one.__name__, keras.saving.get_registered_name(one))
        }
        return Configuration(keras.saving.serialize_keras_object(model), objects)


@contextmanager
def named(functions: Iterable[FunctionType]) -> Iterator[None]:
    """Name functions that have no name; Keras would write down their bytes and no more."""
    unnamed = [one for one in functions if one.__name__ == UNNAMED]
    for number, function in enumerate(unnamed):
        function.__name__ = f"function_{number}"
    try:
        yield
    finally:
        for function in unnamed:
            function.__name__ = UNNAMED
