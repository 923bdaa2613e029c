"""Models by the name after ``builtin:``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from injecttf2.config.spelling import nearest
from injecttf2.errors import ModelError
from injecttf2.models.digits_cnn import trained_model

SCHEME = "builtin:"
"""What a reference to one of them begins with."""

BUILTIN: dict[str, Callable[[], Any]] = {"digits_cnn": trained_model}
"""What makes each of them, a Keras model."""


def builtin(name: str) -> Callable[[], Any]:
    """Return what makes a builtin model.

    Raises:
        ModelError: There is none of that name.
    """
    if name not in BUILTIN:
        raise ModelError(
            f"there is no builtin model {name!r}{nearest(name, BUILTIN)}",
            hint=f"expected {SCHEME} and one of {', '.join(BUILTIN)}",
        )
    return BUILTIN[name]
