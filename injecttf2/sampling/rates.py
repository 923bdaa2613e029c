"""Rates: how many sites a trial gets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from injecttf2.config.parameters import share, whole
from injecttf2.sampling.random_numbers import binomial


class Rate(ABC):
    """How many sites a trial gets.

    Attributes:
        name: Its name in results, where it is a column if sites are drawn by it.
        sampling: How sites are chosen, as results say it.
        value: Its number.
    """

    name: ClassVar[str]
    sampling: ClassVar[str]
    value: Any

    @property
    def shared(self) -> Any:
        """What of its value paired trials have in common; see ``trial.pair_keys``."""
        return self.value

    @abstractmethod
    def share_hit(self, samples: int, sites: int) -> float:
        """Return the share of samples that a trial is expected to hit in a layer's outputs.

        Args:
            samples: Samples in the data set.
            sites: Sites in the layer's output of one sample.
        """

    @abstractmethod
    def expected_sites(self, samples: int, sites: int) -> float:
        """Return how many sites a trial is expected to have; see ``share_hit``."""


class DrawnRate(Rate):
    """A rate whose sites are drawn.

    Attributes:
        per_sample: Whether each sample has its own chance; else sites are drawn of all together.
    """

    sampling: ClassVar[str] = "random"
    per_sample: ClassVar[bool] = False

    def check(self, total: int, *, one_bit: bool) -> None:
        """See that sites can be drawn.

        Args:
            total: How many there are.
            one_bit: Whether the fault hits single bits.

        Raises:
            ValueError: They cannot.
        """

    @abstractmethod
    def number(self, total: int, chance: Callable[[], float]) -> int:
        """Return how many sites a trial has.

        Args:
            total: How many there are.
            chance: Draws a uniform number in [0, 1).
        """


@dataclass(frozen=True)
class Probability(DrawnRate):
    """Every sample is hit at one site with this probability; for ``outputs`` only.

    Args:
        value: Chance that a sample is hit, in [0, 1].
    """

    name: ClassVar[str] = "probability"
    per_sample: ClassVar[bool] = True

    value: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", share("a probability", self.value))

    @property
    def shared(self) -> None:
        """Nothing: what is hit at a low probability is hit at a higher one too."""
        return

    def share_hit(self, samples: int, sites: int) -> float:  # noqa: ARG002
        """Return its value."""
        return self.value

    def expected_sites(self, samples: int, sites: int) -> float:  # noqa: ARG002
        """Return one for each sample that is hit."""
        return self.value * samples

    def number(self, total: int, chance: Callable[[], float]) -> int:
        """Raise: sites are drawn sample by sample."""
        raise NotImplementedError


@dataclass(frozen=True)
class Count(DrawnRate):
    """Every trial has this many different sites.

    Args:
        value: Number of sites, 0 or more.
    """

    name: ClassVar[str] = "count"

    value: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", whole("a count", self.value, least=0))

    def share_hit(self, samples: int, sites: int) -> float:  # noqa: ARG002
        """Return the chance that one of its sites is in a sample."""
        return 1 - (1 - 1 / samples) ** self.value

    def expected_sites(self, samples: int, sites: int) -> float:  # noqa: ARG002
        """Return its value."""
        return self.value

    def check(self, total: int, *, one_bit: bool) -> None:  # noqa: ARG002
        """See that there are as many sites."""
        if self.value > total:
            raise ValueError(f"there are {total:,} sites; received a count of {self.value:,}")

    def number(self, total: int, chance: Callable[[], float]) -> int:  # noqa: ARG002
        """Return its value."""
        return self.value


@dataclass(frozen=True)
class BitErrorRate(DrawnRate):
    """Every bit that the fault may fall on is hit with this probability, whatever others are.

    Args:
        value: Chance that a bit is hit, in [0, 1].
    """

    name: ClassVar[str] = "ber"

    value: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", share("a bit error rate", self.value))

    def share_hit(self, samples: int, sites: int) -> float:  # noqa: ARG002
        """Return the chance that a bit of a sample is hit."""
        return float(1 - (1 - self.value) ** sites)

    def expected_sites(self, samples: int, sites: int) -> float:
        """Return its share of all sites."""
        return self.value * samples * sites

    def check(self, total: int, *, one_bit: bool) -> None:  # noqa: ARG002
        """See that sites are single bits."""
        if not one_bit:
            raise ValueError(
                "a bit error rate takes a fault that hits single bits; "
                "received one that changes whole words, which takes a count"
            )

    def number(self, total: int, chance: Callable[[], float]) -> int:
        """Draw how many of all bits are hit."""
        return binomial(chance(), total, self.value)


@dataclass(frozen=True)
class Exhaustive(Rate):
    """Every place once: a trial hits one, which its repetition numbers.

    In outputs that is one element (and bit) of every sample, in weights one element (and bit) of a
    variable.
    """

    name: ClassVar[str] = "exhaustive"
    sampling: ClassVar[str] = "exhaustive"

    value: bool = True

    def share_hit(self, samples: int, sites: int) -> float:  # noqa: ARG002
        """Return 1: every sample is hit."""
        return 1.0

    def expected_sites(self, samples: int, sites: int) -> float:  # noqa: ARG002
        """Return one for each sample."""
        return samples


RATES: dict[str, type[Probability | Count | BitErrorRate]] = {
    kind.name: kind for kind in (Probability, Count, BitErrorRate)
}
"""Rates whose sites are drawn by their names, which are also columns of the results."""
