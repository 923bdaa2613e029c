"""What a campaign asks of the model's outputs, as its file says it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from injecttf2.config.fields import Text
from orchestrator.campaign.component_spec import TypedSpec, typed


class JudgeSpec(TypedSpec):
    """What counts as a decision."""

    type: Text = Field(
        description="top1, topk, threshold, per_position, regression, a criterion such as "
        "confidence_10, or package.module:Class; required."
    )
    output: Text | None = Field(
        None,
        description="Key or layer of the output that is judged, where the model has several.",
    )
    outputs: Literal["probabilities", "logits"] | None = Field(
        None,
        description="What the model's outputs are, where the judge, a metric or a criterion "
        "depends on it; default what their values without any fault show.",
    )


def judge_mapping(value: object) -> object:
    """Return the mapping that ``NAME`` and ``{type: NAME, parameter: ...}`` stand for."""
    return typed(value, "judge", ("output", "outputs"))
