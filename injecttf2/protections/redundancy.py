"""Protections that know of a fault by redundant bits or copies: what they do follows from sites."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from injecttf2 import bits
from injecttf2.config.parameters import whole
from injecttf2.faults.fault_model import Fault
from injecttf2.protections.protection import Fates, Protection, WordSites
from injecttf2.sampling.sites import word_starts


@dataclass(frozen=True, eq=False)
class Tmr(Protection):
    """Triple modular redundancy of some layers, whose three results a voter compares word by word.

    A word with a single fault is outvoted, in outputs and in weights; a weight that several layers
    share has copies where all of them have. A word with several faults is taken as it is: they may
    be in different copies, of which the voter then finds no two alike (Lyons and Vanderkulk, "The
    use of triple-modular redundancy to improve computer reliability", IBM Journal, 1962). So the
    rates of sdc are no smaller than in hardware. The voter itself has no faults.

    Args:
        layers: Addresses of the layers, in the order of the model.
    """

    name: ClassVar[str] = "tmr"

    layers: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("tmr: layers names none, expected those that there are three of")

    def covers(self, target: str, layers: Iterable[str]) -> bool:
        """Return whether there are three of all the layers."""
        del target
        return set(self.layers).issuperset(layers)

    def fates(self, sites: WordSites) -> Fates | None:
        """Return that single faults of a word are corrected."""
        if not self.covers(sites.target, sites.layers):
            return None
        corrected = _together(sites.owner, sites.element) == 1
        return Fates(corrected, np.zeros(len(sites), np.bool_))


@dataclass(frozen=True, eq=False)
class Ecc(Protection):
    """An error-correcting code over the words of a memory.

    By default it corrects one flipped bit of 32 and detects two (SECDED; Hsiao, "A class of optimal
    minimum odd-weight-column SEC-DED codes", IBM Journal, 1970). What it detects and cannot correct
    is ``due``: of all samples where it is in a weight. More flips pass as they are. The check bits
    have no faults.

    Args:
        target: What the memory holds: ``weights`` or ``outputs``.
        word: Data bits that have check bits together: those of several elements, or a part of one.
        corrects: Flipped bits of a word that it corrects, at most.
        detects: Flipped bits of a word that it detects, at most.
        layers: Addresses of the layers; empty for all.
    """

    name: ClassVar[str] = "ecc"

    target: str
    word: int = 32
    corrects: int = 1
    detects: int = 2
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.target not in ("weights", "outputs"):
            raise ValueError(f"target is {self.target!r}, expected weights or outputs")
        for name, least in (("word", 8), ("corrects", 0), ("detects", 0)):
            whole(name, getattr(self, name), least=least)
        if self.word & (self.word - 1):
            raise ValueError(f"word is {self.word}, expected a power of two, in bits")
        if not 0 <= self.corrects <= self.detects <= self.word:
            raise ValueError(
                f"corrects is {self.corrects} and detects {self.detects}, expected "
                f"0 <= corrects <= detects <= {self.word}"
            )

    def covers(self, target: str, layers: Iterable[str]) -> bool:
        """Return whether the memory holds what is of the layers."""
        return target == self.target and (not self.layers or set(self.layers).issuperset(layers))

    def check(self, fault: Fault) -> None:
        """See that each site of a fault is a flipped bit.

        Raises:
            ValueError: It is not.
        """
        if fault.name != "bit_flip":
            raise ValueError(
                f"ecc counts flipped bits, and a site of a fault {fault.name} may be any number of "
                "them; expected bit_flip"
            )

    def fates(self, sites: WordSites) -> Fates | None:
        """Return what is corrected and detected, by the flips in each word of the code."""
        if not self.covers(sites.target, sites.layers):
            return None
        place = sites.element * bits.layout(sites.dtype).width + sites.bit
        flips = _together(sites.owner, place // self.word)
        corrected = flips <= self.corrects
        return Fates(corrected, ~corrected & (flips <= self.detects))


def _together(*columns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return of each row how many rows beside it are equal in all columns, itself included."""
    starts = word_starts(*columns)
    sizes = np.diff(starts, append=len(columns[0]))
    return np.repeat(sizes, sizes)
