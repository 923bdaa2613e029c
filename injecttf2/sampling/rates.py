"""Rates: how many sites a trial gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from injecttf2.config.parameters import share, whole


@dataclass(frozen=True)
class Probability:
    """Every sample is hit at one site with this probability; for ``outputs`` only.

    Args:
        value: Chance that a sample is hit, in [0, 1].
    """

    name: ClassVar[str] = "probability"

    value: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", share("a probability", self.value))


@dataclass(frozen=True)
class Count:
    """Every trial has this many different sites.

    Args:
        value: Number of sites, 0 or more.
    """

    name: ClassVar[str] = "count"

    value: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", whole("a count", self.value, least=0))


@dataclass(frozen=True)
class BitErrorRate:
    """Every bit that the fault may fall on is hit with this probability, whatever others are.

    Args:
        value: Chance that a bit is hit, in [0, 1].
    """

    name: ClassVar[str] = "ber"

    value: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", share("a bit error rate", self.value))


@dataclass(frozen=True)
class Exhaustive:
    """Every place once: a trial hits one, which its repetition numbers.

    In outputs that is one element (and bit) of every sample, in weights one element (and bit) of a
    variable.
    """

    name: ClassVar[str] = "exhaustive"

    value: bool = True


DrawnRate = Probability | Count | BitErrorRate
"""A rate whose sites are drawn."""

Rate = DrawnRate | Exhaustive

RATES: dict[str, type[DrawnRate]] = {kind.name: kind for kind in (Probability, Count, BitErrorRate)}
"""Rates whose sites are drawn by their names, which are also columns of the results."""
