"""The oracle's protections: what becomes of each site, one at a time, as documented."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.reference_sites import Site


def fates(
    protection: dict[str, Any], layer: str, target: str, width: int, sites: Sequence[Site]
) -> tuple[set[Site], bool]:
    """The sites of one tensor that have no effect, and whether the system stops.

    Args:
        protection: As a cell says it; empty for none.
        layer: Address.
        target: ``outputs`` or ``weights``.
        width: Bits of a word.
        sites: All in one sample's outputs, or in one variable.
    """
    words: dict[int, list[Site]] = {}
    if protection.get("type") == "tmr" and layer in protection["layers"]:
        for site in sites:
            words.setdefault(site.element, []).append(site)
        return {some[0] for some in words.values() if len(some) == 1}, False
    where = protection.get("layers") or [layer]
    if protection.get("type") != "ecc" or protection["target"] != target or layer not in where:
        return set(), False
    for site in sites:
        position = site.element * width + site.bit
        words.setdefault((position - position % protection.get("word", 32)) // 8, []).append(site)
    corrected: set[Site] = set()
    stopped = False
    for some in words.values():
        if len(some) <= protection.get("corrects", 1):
            corrected.update(some)
        elif len(some) <= protection.get("detects", 2):
            stopped = True
    return corrected, stopped
