"""The oracle's protections: what becomes of each site, one at a time, as documented."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.reference_sites import Site


def fates(
    protection: dict[str, Any],
    layers: Sequence[str],
    target: str,
    width: int,
    sites: Sequence[Site],
) -> tuple[set[Site], bool]:
    """The sites of one tensor that have no effect, and whether the system stops.

    Args:
        protection: As a cell says it; empty for none.
        layers: Addresses of the layer that gives it out, or of all that compute with the weight.
        target: ``outputs`` or ``weights``.
        width: Bits of a word.
        sites: All in one sample's outputs, or in one variable.
    """
    words: dict[int, list[Site]] = {}
    held = all(one in protection.get("layers", layers) for one in layers)
    if not held:
        return set(), False
    if protection.get("type") == "tmr":
        for site in sites:
            words.setdefault(site.element, []).append(site)
        return {some[0] for some in words.values() if len(some) == 1}, False
    if protection.get("type") != "ecc" or protection["target"] != target:
        return set(), False
    for site in sites:
        position = site.element * width + site.bit
        start = position - position % protection.get("word", 32)
        words.setdefault(start, []).append(site)
    corrected: set[Site] = set()
    stopped = False
    for some in words.values():
        if len(some) <= protection.get("corrects", 1):
            corrected.update(some)
        elif len(some) <= protection.get("detects", 2):
            stopped = True
    return corrected, stopped


def innermost(addresses: Sequence[str]) -> list[str]:
    """Those of some addresses that stand around none of the others, whatever call they name."""
    paths = {one: one.partition("#")[0].partition(":")[0] for one in addresses}
    return [
        one
        for one, path in paths.items()
        if not any(other.startswith(f"{path}/") for other in addresses)
    ]
