"""Fault models as a grid writes them, brought into the form of ``faults.registry``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from injecttf2.faults import registry as fault_registry
from injecttf2.faults.bit_faults import BitFault
from injecttf2.faults.mixture import Mixture


def takes_bits(name: str, parameters: Mapping[str, Any], folder: Path) -> bool:
    """Return whether a fault model hits bits that its own parameters do not name."""
    kind = fault_registry.find(name, folder)
    if kind is not Mixture:
        return issubclass(kind, BitFault)
    faults = written_out(parameters).get("faults")
    return isinstance(faults, list) and any(
        takes_bits(one["fault"], one.get("parameters") or {}, folder)
        for one in faults
        if isinstance(one, dict) and isinstance(one.get("fault"), str)
        if one.get("bit") is None and one.get("bit_field") is None
    )


def written_out(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters in which the faults of a mixture stand as the registry takes them.

    In YAML a fault is a name or ``{type: NAME, ...}``; there it is a name, with ``parameters``
    beside it.
    """
    faults = parameters.get("faults")
    if not isinstance(faults, list):
        return dict(parameters)
    return {**parameters, "faults": [_entry_written_out(one) for one in faults]}


def _entry_written_out(entry: Any) -> Any:
    fault = entry.get("fault") if isinstance(entry, dict) else None
    if not isinstance(fault, dict) or not isinstance(fault.get("type"), str):
        return entry
    parameters = {key: value for key, value in fault.items() if key != "type"}
    return {**entry, "fault": fault["type"], "parameters": written_out(parameters)}
