"""The protections of a grid, as its file writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from injecttf2.errors import CampaignError, placed
from injecttf2.faults.fault_model import Fault
from injecttf2.graph.layer_info import LayerInfo
from injecttf2.protections import Protection, registry
from orchestrator.campaign.campaign import Campaign
from orchestrator.campaign.component_spec import ComponentSpec
from orchestrator.campaign.grid import GridSpec, selectors
from orchestrator.planning.naming import named, names_none


def protections_of(
    campaign: Campaign, index: int, spec: GridSpec, layers: Sequence[LayerInfo]
) -> list[Protection | None]:
    """Return the protections of a grid, each once; None stands for none.

    Args:
        campaign: The campaign.
        index: Which of its grids.
        spec: That grid.
        layers: The layers of the model.

    Raises:
        CampaignError: There is no such protection, its parameters are wrong, or it names no layer.
    """
    found: dict[str, Protection | None] = {}
    for position, given in enumerate(spec.protections):
        place = campaign.place("grid", index, "protections", position)
        one = _build(given, layers, place)
        label = registry.NONE if one is None else one.label
        found.setdefault(label, one)
    return list(found.values())


def check_fault(protection: Protection | None, fault: Fault, place: str | None) -> None:
    """See that it can be told what a protection makes of a fault.

    Raises:
        CampaignError: It cannot.
    """
    if protection is None:
        return
    try:
        protection.check(fault)
    except ValueError as error:
        raise CampaignError(
            str(error), place=place, hint="give the protection a grid of its own, with bit flips"
        ) from error


def _build(
    given: ComponentSpec, layers: Sequence[LayerInfo], place: str | None
) -> Protection | None:
    parameters: dict[str, Any] = dict(given.parameters)
    try:
        if "layers" in parameters:
            parameters["layers"] = _addresses(parameters["layers"], layers, place)
        with placed(place):
            return registry.build(given.type, parameters)
    except ValueError as error:
        text = str(error)
        told = text if text.startswith(given.type) else f"{given.type}: {text}"
        raise CampaignError(told, place=place) from error


def _addresses(given: object, layers: Sequence[LayerInfo], place: str | None) -> tuple[str, ...]:
    """Return the addresses of the layers that selectors name, in the order of the model.

    Raises:
        CampaignError: One names none.
        ValueError: It is no selector.
    """
    found: set[str] = set()
    for selector in selectors(given):
        some = named(selector, layers)
        if not some:
            raise names_none(selector, layers, place)
        found.update(one.layer for one in some)
    return tuple(one.layer for one in layers if one.layer in found)
