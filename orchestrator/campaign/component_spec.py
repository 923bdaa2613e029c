"""Things that a campaign names by a type with parameters: faults, judges, metrics and criteria."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BeforeValidator, Field, field_serializer

from injecttf2.config.fields import Schema, Text, as_list
from injecttf2.config.parameters import plain


class ComponentSpec(Schema):
    """A type with its parameters, whose names and values the type itself checks."""

    type: Text = Field(description="A built-in name, or package.module:Class; required.")
    parameters: dict[str, Any] = Field({}, description="What the type takes.")

    @field_serializer("parameters", when_used="json")
    def _written(self, parameters: dict[str, Any]) -> Any:
        return plain(parameters)

    def __hash__(self) -> int:
        return hash((self.type, repr(self.parameters)))


def typed(value: object, what: str, own: Iterable[str] = ()) -> object:
    """Return type and parameters of ``NAME`` and of ``{type: NAME, parameter: ...}``.

    Args:
        value: What the file says.
        what: What it is, for the message.
        own: Keys that are no parameters.
    """
    if isinstance(value, str) and value:
        return {"type": value}
    if isinstance(value, ComponentSpec):
        return value
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise ValueError(  # noqa: TRY004 - for pydantic
            f"a {what}'s name, or a mapping {{type: NAME, ...}} with its parameters"
        )
    own = {"type", *own}
    content = {key: item for key, item in value.items() if key not in own}
    if set(content) == {"parameters"} and isinstance(content["parameters"], dict):
        content = content["parameters"]  # as ``resolved`` gives it
    return {**{key: item for key, item in value.items() if key in own}, "parameters": content}


ComponentList = tuple[ComponentSpec, ...]


def typed_list(what: str, *, may_be_empty: bool = False) -> BeforeValidator:
    """Return a validator of fields that are one entry or a list of them."""

    def check(value: object) -> object:
        if may_be_empty and value in ([], ()):
            return value
        return [typed(entry, what) for entry in as_list(value)]  # type: ignore[attr-defined]

    return BeforeValidator(
        check, json_schema_input_type=Text | dict[str, Any] | list[Text | dict[str, Any]]
    )


class JudgeSpec(ComponentSpec):
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
