"""The oracle's draws: every number from the generator's words, one at a time, as documented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NO_BIT = -1


@dataclass(frozen=True)
class Site:
    """Where a fault falls; ``place`` is the sample, or the number of the weight variable."""

    place: int
    element: int
    bit: int
    draws: tuple[float, ...] = ()


@dataclass(frozen=True)
class Spot:
    """What is drawn within an element: one of some bits, or the whole word, and numbers."""

    candidates: list[int] | None
    one_bit: bool
    draws: int = 0

    @property
    def sites(self) -> int:
        return len(self.candidates or []) if self.one_bit else 1

    def bit(self, number: float) -> int:
        if self.candidates is None:
            return NO_BIT
        return self.candidates[int(number * len(self.candidates))]


class Numbers:
    """Uniform and whole numbers from Philox's 64-bit words."""

    def __init__(self, trial_id: int, stream: int = 0) -> None:
        self._source = np.random.Philox(key=trial_id, counter=(0, 0, 0, stream))

    def word(self) -> int:
        return int(self._source.random_raw())

    def uniform(self) -> float:
        return (self.word() >> 11) * 2.0**-53

    def rows(self, rows: int, columns: int) -> list[list[float]]:
        return [[self.uniform() for _ in range(columns)] for _ in range(rows)]

    def distinct(self, count: int, below: int) -> list[int]:
        if count > below - count:
            others = set(self.distinct(below - count, below))
            return [number for number in range(below) if number not in others]
        width = (below - 1).bit_length()
        found: set[int] = set()
        while len(found) < count:
            number = self.word() >> (64 - width)
            if number < below:
                found.add(number)
        return sorted(found)

    def binomial(self, trials: int, chance: float) -> int:
        """At least k succeed where the number is below the probability of that."""
        number = self.uniform()
        if chance == 1:
            return trials
        successes, exactly = 0, (1 - chance) ** trials
        at_least_one_more = 1 - exactly
        while successes < trials and number < at_least_one_more:
            exactly *= (trials - successes) / (successes + 1) * chance / (1 - chance)
            successes += 1
            at_least_one_more -= exactly
        return successes


def draw_outputs(
    trial_id: int, rate: tuple[str, Any], spot: Spot, *, samples: int, elements: int, stream: int
) -> list[Site]:
    if rate[0] == "exhaustive":
        _, element, bit = every_place([(elements, spot)])[rate[1]]
        return [Site(sample, element, bit) for sample in range(samples)]
    numbers = Numbers(trial_id, stream)
    if rate[0] != "probability":
        return _different(numbers, rate, [(elements, spot)] * samples)
    hit, place, bit, *draws = numbers.rows(3 + spot.draws, samples)
    return [
        Site(
            sample,
            int(place[sample] * elements),
            spot.bit(bit[sample]),
            tuple(row[sample] for row in draws),
        )
        for sample in range(samples)
        if hit[sample] < rate[1]
    ]


def draw_weights(
    trial_id: int, rate: tuple[str, Any], variables: Sequence[tuple[int, Spot]]
) -> list[Site]:
    if rate[0] == "exhaustive":
        return [Site(*every_place(variables)[rate[1]])]
    return _different(Numbers(trial_id), rate, variables)


def every_place(variables: Sequence[tuple[int, Spot]]) -> list[tuple[int, int, int]]:
    """Variable, element and bit of all places, in their order."""
    return [
        (number, element, bit)
        for number, (elements, spot) in enumerate(variables)
        for element in range(elements)
        for bit in spot.candidates or [NO_BIT]
    ]


def _different(
    numbers: Numbers, rate: tuple[str, Any], places: Sequence[tuple[int, Spot]]
) -> list[Site]:
    total = sum(elements * spot.sites for elements, spot in places)
    count = rate[1] if rate[0] == "count" else numbers.binomial(total, rate[1])
    chosen = numbers.distinct(count, total)
    spots = [spot for _, spot in places]
    bits = None if spots[0].one_bit else numbers.rows(1, count)[0]
    draws = numbers.rows(spots[0].draws, count)
    sites = []
    for index, number in enumerate(chosen):
        place = 0
        while number >= places[place][0] * spots[place].sites:
            number -= places[place][0] * spots[place].sites
            place += 1
        spot = spots[place]
        if bits is None:
            assert spot.candidates is not None
            element, bit = divmod(number, len(spot.candidates))
            bit = spot.candidates[bit]
        else:
            element, bit = number, spot.bit(bits[index])
        sites.append(Site(place, element, bit, tuple(row[index] for row in draws)))
    return sites
