"""Judging outputs by the task: what counts as a decision, and what else is measured of outputs.

A judge a file; ``judge`` says what one is, ``assessment`` puts a judge, metrics and criteria
together for the engine, and ``registry`` makes one from the names in a campaign file.
"""

from injecttf2.judging.assessment import Assessment, Verdict
from injecttf2.judging.criteria import Criterion
from injecttf2.judging.judge import Judge, Output
from injecttf2.judging.metrics import Metric

__all__ = ["Assessment", "Criterion", "Judge", "Metric", "Output", "Verdict"]
