"""How many trials a cell, a layer or the network gets until its rate is known as wanted.

It is looked at after fixed numbers of trials, which follow from the plan alone, and goes no further
after the first look at which its interval is narrow enough. What a look sees are the rows of the
trials up to there, so two executions stop at the same trial.

Looks at every trial would stop too often where the estimate is extreme by chance; therefore there
are few, each half as many trials again after the one before, and the first waits until an interval
could be as narrow as wanted (no success among n: Wilson's half width is z^2 / 2(n + z^2)). The last
is where any rate is known that well, also if a trial has fewer hits than are expected.

A campaign file is checked without the package ``results``, which loads pyarrow: that is imported
where it is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, Literal, Protocol, Self

from pydantic import Field, model_validator

from injecttf2.config.fields import Schema, Text, Whole, number

GROWTH = 1.5
"""Trials at a look, relative to those at the look before."""

FEWEST = 100
"""Injected samples, or faults in weights, before a first look."""

RAREST = 1e-3
"""The rate that is still known with the relative precision wanted, where no maximum is given."""

Share = Annotated[float, number("a number above 0 and below 1", lambda x: 0 < x < 1)]

Allocation = Literal["neyman", "proportional"]


class Tally(Protocol):
    """What trials have brought so far."""

    @property
    def rate(self) -> float:
        """The rate; NaN where it is not known."""

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the bounds of the rate; NaN where it is not known."""


class Precision(Schema):
    """The precision at which a cell, a layer or the network has enough trials."""

    scope: Literal["cell", "layer", "network"] = Field(
        "cell",
        description="Whose rate is to be known: that of every cell (default), of every layer or of "
        "the network, in which cells count by their sites.",
    )
    allocation: Allocation | None = Field(
        None,
        description="How the trials of a layer or the network are given to its cells: neyman "
        "(default), more to bits whose outcomes differ more, or proportional to the sites.",
    )
    metric: Text = Field(
        "sdc", description="The rate that is to be known: sdc (default), due, or sdc_NAME."
    )
    half_width: Share | None = Field(
        None,
        description="Half the width of its interval, for example 0.01, or in a layer or the "
        "network how far its interval may reach from the rate; or relative.",
    )
    relative: Share | None = Field(
        None, description="The same as a share of the rate, for rare events; or half_width."
    )
    confidence: Share = Field(0.95, description="Of the interval; default 0.95.")
    minimum: Whole = Field(1, description="Trials that every cell gets; default 1.")
    maximum: Whole | None = Field(
        None,
        description="Trials that a cell, a layer or the network gets at most; default what any "
        "rate, or with relative one of 0.001, takes.",
    )

    @model_validator(mode="after")
    def _has_one_width(self) -> Self:
        if (self.half_width is None) == (self.relative is None):
            raise ValueError("either half_width or relative")
        if self.maximum is not None and self.maximum < self.minimum:
            raise ValueError("a maximum that is not below the minimum")
        if self.allocation is not None and not self.pools:
            raise ValueError("no allocation with the scope cell, or the scope layer or network")
        return self

    @property
    def pools(self) -> bool:
        """Whether the rate that is asked for is one of several cells together."""
        return self.scope != "cell"

    @property
    def whose(self) -> str:
        """What has a rate each, as users are told."""
        return "the network" if self.scope == "network" else f"every {self.scope}"

    @property
    def is_neyman(self) -> bool:
        """Whether the cells of a layer or the network get trials by what they have shown."""
        return self.pools and self.allocation != "proportional"

    def looks(self, hits: float, cells: int = 1) -> tuple[int, ...]:
        """Return after how many trials a cell, or several together, are looked at, ascending.

        Args:
            hits: Independent injections that a trial is expected to have: the samples that it
                hits in outputs, one where a fault in weights holds for all.
            cells: How many cells are looked at together.
        """
        lowest = self.minimum * cells
        if hits <= 0:
            return (lowest,)
        first, last = self._sizes()
        least = lowest * hits if self.pools else 0.0
        sizes = [max(first, least)]
        while sizes[-1] * GROWTH < last[0] + least:
            sizes.append(sizes[-1] * GROWTH)
        counts = [math.ceil(size / hits) for size in [*sizes, *(one + least for one in last)]]
        highest = self.maximum or max(counts[-1], lowest)
        inside = {min(max(count, lowest), highest) for count in counts}
        return tuple(sorted({*inside, highest}))

    def fixed(self, hits: float, population: int) -> int:
        """Return the trials that a plan of one size for all would give, by Leveugle.

        There is no such size for a relative precision: the answer is then the last look.

        Args:
            hits: As for :meth:`looks`.
            population: Sites of what the rate is of.
        """
        if hits <= 0:
            return self.minimum
        from results.statistics.sample_size import sample_size

        if self.half_width is None:
            return self.looks(hits)[-1]
        return math.ceil(sample_size(self.half_width, self.confidence, population) / hits)

    def is_met(self, tally: Tally) -> bool:
        """Return whether a rate is known well enough."""
        return self.margin(tally) <= self.asked(tally)

    def margin(self, tally: Tally) -> float:
        """Return how well a rate is known; NaN where it is not.

        Half the width of a cell's interval. Of several cells together it is the distance to the
        farther bound: where few hits are expected, half the width is small by the chance that they
        have been fewer, and to stop there gives too low a rate, and an interval that does not hold.
        """
        low, high = tally.interval(self.confidence)
        if self.pools:
            return max(high - tally.rate, tally.rate - low)
        return (high - low) / 2

    def asked(self, tally: Tally) -> float:
        """Return the margin that is asked for."""
        if self.half_width is not None:
            return self.half_width
        assert self.relative is not None  # noqa: S101 - one of them is
        return self.relative * tally.rate

    def _sizes(self) -> tuple[float, tuple[float, float]]:
        """Return how many injections there are at the first look and at the last two.

        The last two are where the worst rate is known well enough if everything goes as expected,
        and where it is even if chance takes three standard deviations away.
        """
        from results.statistics.sample_size import sample_size

        z = NormalDist().inv_cdf(0.5 + self.confidence / 2)
        if self.half_width is not None:
            first = z**2 * (1 / (2 * self.half_width) - 1)
            size = int(sample_size(self.half_width, self.confidence))
            last = max(FEWEST, size), max(FEWEST, size + 3 * math.sqrt(size))
            return max(FEWEST, first), last
        assert self.relative is not None  # noqa: S101 - one of them is
        rare = math.ceil((z / self.relative) ** 2 * (1 - RAREST) / RAREST)
        return FEWEST, (rare, rare * (1 + 3 * self.relative / z))


@dataclass(frozen=True)
class CellTally:
    """What the trials of a cell have brought so far.

    Args:
        trials: Trials.
        injected: Their injected samples.
        hits: Those of them that count for the rate.
        squares: Sum of the squares of the trials' hits; for weights.
        clustered: Whether a trial's samples share its fault, so that the trial is the unit.
    """

    trials: int = 0
    injected: int = 0
    hits: int = 0
    squares: float = 0.0
    clustered: bool = False

    @property
    def rate(self) -> float:
        """Share of the injected samples that count; NaN without any."""
        return self.hits / self.injected if self.injected else math.nan

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the bounds of the rate; NaN where nothing was injected."""
        from results.statistics import wilson
        from results.statistics.clusters import cluster_wilson

        if self.clustered:
            low, high = cluster_wilson(
                self.trials, self.injected, self.hits, self.squares, confidence
            )
        else:
            low, high = wilson(self.hits, self.injected, confidence)
        return float(low), float(high)
