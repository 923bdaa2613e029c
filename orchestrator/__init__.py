"""Campaigns: the YAML file, the grid, the scheduler, the workers and the command line.

``Campaign``, ``load_campaign``, ``run`` and ``Listener`` are for scripts and notebooks. They are
loaded when they are used, so that the command line stays quick.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.api import run
    from orchestrator.campaign.campaign import Campaign, load_campaign
    from orchestrator.session.listeners import Listener

__all__ = ["Campaign", "Listener", "load_campaign", "run"]

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name == "run":
        from orchestrator import api

        return api.run
    if name == "Listener":
        from orchestrator.session.listeners import Listener

        return Listener
    if name in __all__:
        from orchestrator.campaign import campaign

        return getattr(campaign, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
