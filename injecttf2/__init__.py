"""Fault injection into TensorFlow / Keras models.

Importing this package does not load TensorFlow; :class:`InjectTF2` does, when it is asked for.
"""

from __future__ import annotations

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
    from injecttf2.inject import InjectTF2

__version__ = "0.1.0"

__all__ = [
    "CampaignError",
    "DatasetError",
    "EngineError",
    "FaultError",
    "InjectTF2",
    "InjectTF2Error",
    "ModelError",
    "UserError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name == "InjectTF2":
        from injecttf2 import device

        device.load()
        from injecttf2.inject import InjectTF2

        return InjectTF2
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
