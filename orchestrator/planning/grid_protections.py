"""The protections of a grid, as its file writes them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from injecttf2.errors import CampaignError, placed
from injecttf2.faults.fault_model import Fault
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.graph.points import path_of
from injecttf2.protections import Protection, registry
from orchestrator.campaign.campaign import Campaign
from orchestrator.campaign.component_spec import ComponentSpec
from orchestrator.campaign.grid import GridSpec, selectors
from orchestrator.planning.naming import named, names_none


def protections_of(
    campaign: Campaign, index: int, spec: GridSpec, graph: ModelGraph
) -> list[Protection | None]:
    """Return the protections of a grid, each once; None stands for none.

    Args:
        campaign: The campaign.
        index: Which of its grids.
        spec: That grid.
        graph: The model.

    Raises:
        CampaignError: There is no such protection, its parameters are wrong, or it names no layer.
    """
    found: dict[Protection | None, None] = {}
    for position, given in enumerate(spec.protections):
        found[_build(given, graph, campaign.place("grid", index, "protections", position))] = None
    return list(found)


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


def _build(given: ComponentSpec, graph: ModelGraph, place: str | None) -> Protection | None:
    parameters: dict[str, Any] = dict(given.parameters)
    try:
        if "layers" in parameters:
            parameters["layers"] = _addresses(parameters["layers"], graph, place)
        with placed(place):
            return registry.build(given.type, parameters)
    except ValueError as error:
        text = str(error)
        told = text if text.startswith(given.type) else f"{given.type}: {text}"
        raise CampaignError(told, place=place) from error


def _addresses(given: object, graph: ModelGraph, place: str | None) -> tuple[str, ...]:
    """Return the addresses of the layers that selectors name, in the order of the model.

    With a layer stands what is inside it.

    Raises:
        CampaignError: One names none.
        ValueError: It is no selector.
    """
    found: set[str] = set()
    for selector in selectors(given):
        some = named(selector, graph.layers)
        if not some:
            raise names_none(selector, graph.layers, place)
        found.update(one.layer for one in some)
    found |= inside_of(found, graph)
    return tuple(one.layer for one in graph.layers if one.layer in found)


def inside_of(named: Collection[str], graph: ModelGraph) -> set[str]:
    """Return the addresses of what is inside layers of which all calls and outputs are named.

    Args:
        named: Addresses.
        graph: The model.
    """
    every = [info.layer for info in graph.layers]
    calls: dict[str, set[str]] = {}
    for one in every:
        calls.setdefault(path_of(one), set()).add(one)
    whole = [one for one in named if calls[path_of(one)] <= {*named}]
    return {one for one in every if any(graph.is_inside(one, holder) for holder in whole)}
