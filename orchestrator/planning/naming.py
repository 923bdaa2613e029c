"""What a grid's names, patterns and types of layers stand for."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from injecttf2.config.spelling import nearest
from injecttf2.errors import CampaignError
from orchestrator.campaign.grid import ALL, LayerType

LIST_HINT = "`injecttf2 layers MODEL` lists what can be injected"


class Addressed(Protocol):
    """What is asked of a layer: its address, its class, whether it is an input or among ``all``."""

    @property
    def layer(self) -> str: ...  # noqa: D102
    @property
    def type(self) -> str: ...  # noqa: D102
    @property
    def is_input(self) -> bool: ...  # noqa: D102
    @property
    def in_all(self) -> bool: ...  # noqa: D102


Layer = TypeVar("Layer", bound=Addressed)


def named(selector: str | LayerType, layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers that a selector names.

    A pattern stands for inputs only where it stands for nothing else.
    """
    of_the_model = [info for info in layers if info.in_all]
    if isinstance(selector, LayerType):
        return [info for info in of_the_model if info.type == selector.type]
    if selector == ALL:
        return of_the_model
    known = {info.layer: info for info in layers}
    found = [known[layer] for layer in matches(selector, known)]
    return [info for info in found if not info.is_input] or found


def names_none(
    selector: str | LayerType, layers: Iterable[Addressed], place: str | None
) -> CampaignError:
    """Return the error of a selector that names no layer."""
    layers = list(layers)
    what = "no layer"
    if isinstance(selector, LayerType):
        types = {info.type for info in layers if info.in_all}
        what += f" of type {selector.type!r}{nearest(selector.type, types)}"
    elif selector != ALL:
        what += f" {selector!r}{nearest(selector, [info.layer for info in layers])}"
    return CampaignError(f"the model has {what}", place=place, hint=LIST_HINT)


def not_injected(layer: str, reason: str, place: str | None) -> CampaignError:
    """Return the error of a layer that is named and cannot be injected."""
    return CampaignError(f"the layer {layer!r} cannot be injected: {reason}", place=place)


def matches(selector: str, names: Iterable[str]) -> list[str]:
    """Return the names that a selector stands for: one that is equal to it, else a pattern's."""
    given = list(names)
    if selector in given:
        return [selector]
    return [name for name in given if fnmatch.fnmatchcase(name, selector)]
