"""Fault injection into TensorFlow / Keras models.

This is the front door: what a script needs, from all three packages, each loaded when it is asked
for. Importing it does not load TensorFlow; :class:`InjectTF2` and :class:`Injector` do.
"""

from __future__ import annotations

import logging
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
    from injecttf2.faults import fault
    from injecttf2.injector import Injector, Result, Site
    from orchestrator.api import run
    from orchestrator.campaign.campaign import Campaign, load_campaign
    from orchestrator.session.listeners import Listener
    from results.analysis.comparison import compare
    from results.reading.run import open_run
    from results.report.brief import brief

__version__ = "0.1.0"

__all__ = [
    "Campaign",
    "CampaignError",
    "DatasetError",
    "EngineError",
    "FaultError",
    "InjectTF2",
    "InjectTF2Error",
    "Injector",
    "Listener",
    "ModelError",
    "Result",
    "Site",
    "UserError",
    "__version__",
    "brief",
    "compare",
    "fault",
    "load_campaign",
    "open_run",
    "run",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())

_LOADING_TENSORFLOW = {
    "InjectTF2": "injecttf2.compat.injector",
    **dict.fromkeys(("Injector", "Result", "Site"), "injecttf2.injector"),
}

_ELSEWHERE = {
    **dict.fromkeys(("Campaign", "Listener", "load_campaign", "run"), "orchestrator"),
    **dict.fromkeys(("brief", "compare", "open_run"), "results"),
    "fault": "injecttf2.faults",
}


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        return getattr(import_module(_ELSEWHERE[name]), name)
    if name not in _LOADING_TENSORFLOW:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from injecttf2 import device

    device.load()
    return getattr(import_module(_LOADING_TENSORFLOW[name]), name)
