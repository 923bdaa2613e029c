"""The models of ``keras.applications`` by name."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
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
        raise _no_model(name, builders, error_type)
    return builders[name]


def check_application(name: str, error_type: type[UserError]) -> None:
    """Refuse a name that is no model's, as :func:`application` would, without loading Keras."""
    if (known := names()) and name not in known:
        raise _no_model(name, known, error_type)


def names() -> set[str]:
    """Return the names of all models, as Keras' source has them; nothing where it tells none."""
    keras = find_spec("keras")
    if keras is None or keras.origin is None:
        return set()
    try:
        source = (Path(keras.origin).parent / "applications" / "__init__.py").read_bytes()
        imports = [one for one in ast.walk(ast.parse(source)) if isinstance(one, ast.ImportFrom)]
    except (OSError, SyntaxError, ValueError):
        return set()
    found = {alias.asname or alias.name for one in imports for alias in one.names}
    return {name for name in found if name[0].isupper()}


def _no_model(name: str, known: Iterable[str], error_type: type[UserError]) -> UserError:
    return error_type(
        f"keras.applications has no model {name!r}{nearest(name, known)}",
        place=f"{APPLICATIONS}{name}",
    )
