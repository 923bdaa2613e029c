"""Fault injection into TensorFlow / Keras models.

Importing this package does not load TensorFlow; :class:`InjectTF2` and :class:`Injector` do, when
they are asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from injecttf2.errors import (
    CampaignError,
    DatasetError,
    EngineError,
    FaultError,
    InjectTF2Error,
    ModelError,
    UserError,
)

if TYPE_CHECKING:
    from injecttf2.compat.injector import InjectTF2
    from injecttf2.injector import Injector, Result, Site

__version__ = "0.1.0"

__all__ = [
    "CampaignError",
    "DatasetError",
    "EngineError",
    "FaultError",
    "InjectTF2",
    "InjectTF2Error",
    "Injector",
    "ModelError",
    "Result",
    "Site",
    "UserError",
    "__version__",
]


_LOADING_TENSORFLOW = {
    "InjectTF2": "compat.injector",
    **dict.fromkeys(("Injector", "Result", "Site"), "injector"),
}


def __getattr__(name: str) -> Any:
    if name not in _LOADING_TENSORFLOW:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from injecttf2 import device

    device.load()
    return getattr(import_module(f"injecttf2.{_LOADING_TENSORFLOW[name]}"), name)
