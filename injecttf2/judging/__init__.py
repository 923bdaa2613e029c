"""Judging outputs by the task: what counts as a decision, and what else is measured of outputs.

A judge a file; ``judge`` says what one is, ``assessment`` puts a judge, metrics and criteria
together for the engine, and ``registry`` makes one from the names in a campaign file. Each is
loaded when it is asked for: names are checked without TensorFlow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from injecttf2.judging.assessment import Assessment, Verdict
    from injecttf2.judging.criteria import Criterion
    from injecttf2.judging.judge import Judge, Output
    from injecttf2.judging.metrics import Metric

__all__ = ["Assessment", "Criterion", "Judge", "Metric", "Output", "Verdict"]

_MODULES = {
    "Assessment": "assessment",
    "Criterion": "criteria",
    "Judge": "judge",
    "Metric": "metrics",
    "Output": "judge",
    "Verdict": "assessment",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
