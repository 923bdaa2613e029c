"""The models of ``keras.applications`` by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from injecttf2.config.spelling import nearest
from injecttf2.errors import UserError

APPLICATIONS = "keras.applications:"
"""What a reference to one of them begins with."""


def application(name: str, error_type: type[UserError]) -> Callable[..., Any]:
    """Return the function that builds the model ``name``.

    Args:
        name: As in ``keras.applications``, for example ``ResNet50``.
        error_type: What to raise when there is no such model.
    """
    import keras

    builders: dict[str, Callable[..., Any]] = {
        key: value
        for key, value in vars(keras.applications).items()
        if key[0].isupper() and callable(value)
    }
    if name not in builders:
        raise error_type(
            f"keras.applications has no model {name!r}{nearest(name, builders)}",
            place=f"{APPLICATIONS}{name}",
        )
    return builders[name]
