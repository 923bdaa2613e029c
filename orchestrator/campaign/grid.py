"""The grid of a campaign, as its file says it."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationInfo,
    field_validator,
    model_validator,
)

from injecttf2.config.fields import (
    HIGHEST_BIT,
    NotNegative,
    Probability,
    Schema,
    Text,
    TrueOrFalse,
    as_list,
    whole_number,
)
from injecttf2.config.parameters import shown
from orchestrator.campaign import paths
from orchestrator.campaign.component_spec import ComponentList, ComponentSpec, typed_list
from orchestrator.campaign.sources import LOCAL

BIT_NAMES = ("random", "sign", "exponent", "mantissa")
"""Sets of bits that one cell draws from, as YAML calls them."""

ALL = "all"
"""All layers of a model, or all variables of a layer together."""


def _bit_item(value: object) -> tuple[int | str, ...]:
    """Return the bits that one entry of ``bits`` stands for."""
    if isinstance(value, str) and value in BIT_NAMES:
        return (value,)
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    ends = re.fullmatch(r"(0|[1-9][0-9]?)(?:\s*-\s*(0|[1-9][0-9]?))?", text)
    bits = range(int(ends[1]), int(ends[2] or ends[1]) + 1) if ends else range(0)
    if not bits or bits[-1] > HIGHEST_BIT:
        raise ValueError(
            f"a bit from 0 to {HIGHEST_BIT}, a range such as 23-30 with the lower bit first, or "
            f"one of {', '.join(BIT_NAMES)}"
        )
    return tuple(bits)


_BIT_ITEMS = TypeAdapter(list[Annotated[Any, BeforeValidator(_bit_item)]])


def _bits(value: object) -> tuple[int | str, ...]:
    items = _BIT_ITEMS.validate_python(as_list(value))
    return tuple(dict.fromkeys(chain.from_iterable(items)))


class LayerType(Schema):
    """The layers of one Keras class."""

    type: Text = Field(description="Name of a Keras layer class, for example Conv2D; required.")


LayerSelector = str | LayerType
"""``all``, a layer's address, a pattern as in :mod:`fnmatch`, or the layers of a type."""


SELECTORS = "all, a layer's name, a pattern such as conv*, or {type: Conv2D}"
"""What may name layers."""


def _selector(value: object) -> LayerSelector:
    if isinstance(value, dict | LayerType):
        return LayerType.parse(value)
    if not isinstance(value, str) or not value:
        raise ValueError(SELECTORS)
    return value


def selectors(value: object) -> tuple[LayerSelector, ...]:
    """Return what names layers, one entry or a list of them.

    Raises:
        ValueError: An entry is something else.
    """
    items = list(value) if isinstance(value, list | tuple) else [value]
    try:
        found = tuple(map(_selector, items))
    except ValueError:
        found = ()
    if not found:
        raise ValueError(f"layers is {SELECTORS}, or a list of such; received {shown(value)}")
    return found


def _listed(kind: Any) -> tuple[BeforeValidator, AfterValidator]:
    """Return validators of a field that is left out, one value or a list, each of them once."""
    return (
        BeforeValidator(
            as_list,
            json_schema_input_type=kind | list[kind] | None,
        ),
        AfterValidator(lambda values: tuple(dict.fromkeys(values))),
    )


BIT_FAULTS = ("bit_flip", "stuck_at")
"""Built-in fault models that hit bits."""

RATES = ("probabilities", "counts", "bers", "exhaustive")
"""Keys of which a grid has one."""

LISTED_KEYS = ("layers", "layers_together", "target", "variables", "fault", "bits", *RATES)
"""Keys that a grid of listed sites does without."""


def every_site(value: object) -> object:
    """Return whether every site is hit, or the injections that may be."""
    if value is None or value is False:
        return None
    if value is True:
        return True
    number = whole_number(value)
    if number < 1:
        raise ValueError("true, or the number of injections that are allowed")
    return number


class FaultListSpec(Schema):
    """A fault list, and for one of another tool how its layers are those of the model."""

    file: Annotated[Text, LOCAL] = Field(description="The list, .parquet or .csv.")
    format: Literal["sfi"] | None = Field(
        None,
        description="sfi: columns Injection, Layer, TensorIndex and Bit, as SFI writes them; "
        "default what its head says.",
    )
    layers: Annotated[Text, LOCAL] | dict[Text, Text] | None = Field(
        None,
        description="Only for sfi: a CSV file with two columns, or a mapping, from the list's "
        "names of layers to those of the model; default equal names, else the order of layers.",
    )
    order: Literal["torch", "keras"] | None = Field(
        None,
        description="Only for sfi: order of the axes of TensorIndex, torch (outputs first) or "
        "keras (outputs last); default the one that fits all layers.",
    )

    @model_validator(mode="after")
    def _fits_the_format(self) -> Self:
        if self.format is None and (self.layers is not None or self.order is not None):
            raise ValueError("format: sfi beside layers or order")
        return self

    def located(self, folder_of: Callable[[str], Path]) -> Self:
        """Return the same with relative paths made absolute.

        Args:
            folder_of: Returns the folder that the path at a key is relative to.
        """
        found = {"file": paths.absolute(self.file, folder_of("file"))}
        if isinstance(self.layers, str):
            found["layers"] = paths.absolute(self.layers, folder_of("layers"))
        return self.model_copy(update=found)


def _fault_list(value: object) -> object:
    return {"file": value} if isinstance(value, str) else value


class GridSpec(Schema):
    """A grid of cells: every layer with every fault, every bit and every rate."""

    layers: Annotated[
        tuple[Annotated[LayerSelector, BeforeValidator(_selector)], ...],
        BeforeValidator(as_list, json_schema_input_type=LayerSelector | list[LayerSelector]),
    ] = Field(
        (ALL,), description="all (default), names, patterns such as conv*, or {type: Conv2D}."
    )
    layers_together: TrueOrFalse = Field(
        False,
        description="Whether all these layers are hit in the same trial, each at the given rate; "
        "default false, every layer in trials of its own.",
    )
    target: Literal["outputs", "weights"] = Field(
        "outputs", description="What is hit: outputs (default), a layer's activations, or weights."
    )
    variables: Annotated[
        tuple[Text, ...], BeforeValidator(as_list, json_schema_input_type=Text | list[Text])
    ] = Field(
        (ALL,),
        description="Only for weights: all (default), the sites drawn over all variables of a "
        "layer together, or names or patterns such as kernel, one cell each.",
    )
    fault: Annotated[ComponentList, typed_list("fault model")] = Field(
        (ComponentSpec(type="bit_flip"),),
        description="What happens: bit_flip (default), stuck_at, random_bits, zero, constant, "
        "random_value, scale, mixture, an installed one or package.module:Class, or a mapping of "
        "type and parameters; one or a list.",
    )
    bits: Annotated[
        tuple[int | str, ...] | None,
        BeforeValidator(
            _bits,
            json_schema_input_type=int | str | list[int | str] | None,
        ),
    ] = Field(
        None,
        description=f"Bits to hit, 0 the least significant: 0 to {HIGHEST_BIT}, ranges such as "
        f"23-30, or {', '.join(BIT_NAMES)}, drawn for every site; one or a list; required where a "
        "fault hits bits.",
    )
    probabilities: Annotated[tuple[Probability, ...] | None, *_listed(Probability)] = Field(
        None,
        description="Rate: chance that a sample is hit, 0 to 1, at one element of its outputs; one "
        "or a list.",
    )
    counts: Annotated[tuple[NotNegative, ...] | None, *_listed(NotNegative)] = Field(
        None, description="Rate: different sites in a trial, over all its samples; one or a list."
    )
    bers: Annotated[tuple[Probability, ...] | None, *_listed(Probability)] = Field(
        None, description="Rate: chance of every bit to be hit, 0 to 1; one or a list."
    )
    exhaustive: Annotated[bool | int | None, BeforeValidator(every_site)] = Field(
        None,
        description="In place of a rate: true hits every site once, at most 100 million "
        "injections or as many as a number says; default the campaign's.",
    )
    protections: Annotated[ComponentList, typed_list("protection")] = Field(
        (ComponentSpec(type="none"),),
        description="What protects the model: none (default), tmr, which outvotes single faults in "
        "the words of its layers, or ecc, which corrects and detects flipped bits of a target's "
        "words, or a mapping of type and parameters; one or a list. All have the same faults.",
    )
    sites: Annotated[
        FaultListSpec | None,
        BeforeValidator(_fault_list, json_schema_input_type=Text | FaultListSpec | None),
    ] = Field(
        None,
        description="A fault list, .parquet or .csv, in place of layers, bits and rate: exactly "
        "these sites are hit. A mapping of file, format, layers and order for one of SFI.",
    )

    @field_validator("variables", "probabilities")
    @classmethod
    def _fits_the_target(cls, value: object, info: ValidationInfo) -> object:
        target = info.data.get("target")  # missing where it is wrong itself
        if info.field_name == "variables" and value != (ALL,) and target == "outputs":
            raise ValueError("nothing: only `target: weights` takes this key")
        if info.field_name == "probabilities" and value is not None and target == "weights":
            raise ValueError(
                "counts or bers: a fault in a weight holds for all samples, it has no probability"
            )
        return value

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        given = [key for key in RATES if getattr(self, key) is not None]
        if self.sites is not None:
            defaults = type(self).model_fields
            if extra := [key for key in LISTED_KEYS if getattr(self, key) != defaults[key].default]:
                raise ValueError(f"no {', '.join(extra)} beside sites, which says all of that")
            return self
        if len(given) != 1:
            several = f", not {' and '.join(given)}" if given else ""
            raise ValueError(f"one rate{several}: {', '.join(RATES[:-1])} or {RATES[-1]}")
        if self.exhaustive and self.layers_together:
            raise ValueError("a rate: layers together have too many sites to go through")
        if self.bits is None and any(fault.type in BIT_FAULTS for fault in self.fault):
            raise ValueError(f"bits: numbers, ranges such as 23-30, {', '.join(BIT_NAMES)}")
        return self

    def located(self, folder_of: Callable[[str], Path]) -> Self:
        """Return the same with relative paths made absolute; see ``FaultListSpec.located``."""
        if self.sites is None:
            return self
        return self.model_copy(update={"sites": self.sites.located(folder_of)})
