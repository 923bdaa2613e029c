"""Drawing the sites of a trial.

A trial's sites depend on its key and on nothing else: its id, or what it shares with the trials
that it is paired with. The generator is Philox4x64-10 (Salmon et al., "Parallel random numbers: as
easy as 1, 2, 3", SC 2011) with that key, and the order of its draws is fixed. How its words become
numbers is said in ``random_numbers``.

At a probability, rows of uniform numbers in [0, 1), one number a sample in each:

    row 0   the sample is hit if the number is below the probability
    row 1   the element: floor(number * elements)
    row 2   the bit: the candidate at floor(number * candidates), ascending
    row 3.. the numbers that the fault itself needs for a site, if any

They are drawn for every sample, hit or not, so that a site can be recomputed from a results row.
The numbers have 53 bits, so an element's chance is off by less than elements / 2^53.

At a count or a bit error rate, all sites that there are stand in one order, by sample (or
variable), element and candidate bit; where a site is a whole word, by sample and element:

    1.      at a bit error rate, a uniform number: the count, by inversion of the binomial
            distribution
    2.      count different numbers below the number of sites
    3.      where a site is a whole word, a row of uniform numbers for the bits, one number a site
            in ascending order, used as row 2 above
    4.      the rows that the fault itself needs, one number a site

Nothing is drawn where a trial hits the place that its number says (``exhaustive``): the places
stand in one order, by variable, element and candidate bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from injecttf2.sampling.random_numbers import distinct, uniform
from injecttf2.sampling.rates import DrawnRate

NO_BIT = -1
"""Stands in a site's column ``bit`` where the fault has none."""


@dataclass(frozen=True)
class Choice:
    """What is drawn for a site within its element.

    Args:
        candidates: The bits that may be hit, ascending; None where the fault has no bit.
        one_bit: Whether a site is one bit, so that several may fall on one element. Otherwise it
            is a whole word, and at a count no element is hit twice.
        draws: Uniform numbers that the fault itself needs for a site.
    """

    candidates: range | None
    one_bit: bool
    draws: int = 0

    @property
    def sites(self) -> int:
        """How many sites an element has."""
        return self.places if self.one_bit else 1

    @property
    def places(self) -> int:
        """How many places an element has that a fault may fall on: its candidate bits, or one."""
        return 1 if self.candidates is None else len(self.candidates)


@dataclass(frozen=True, eq=False)
class Sites:
    """The sites of one trial in outputs, ascending by sample, then element, then bit.

    Args:
        sample: int64 [sites], indices into the data set.
        element: int64 [sites], indices into the flattened output of one sample, row-major.
        bit: int64 [sites], counted from the least significant; -1 where the fault has none.
        draws: float64 [sites, draws], in [0, 1), what the fault itself needs.
    """

    sample: npt.NDArray[np.int64]
    element: npt.NDArray[np.int64]
    bit: npt.NDArray[np.int64]
    draws: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.sample)

    @property
    def words(self) -> npt.NDArray[np.int64]:
        """Where the sites of each word that is hit begin, int64 [words], for ``merged``."""
        return word_starts(self.sample, self.element)


@dataclass(frozen=True, eq=False)
class WeightSites:
    """The sites of one trial in weights, ascending by variable, then element, then bit.

    Args:
        variable: int64 [sites], indices into the variables that were given.
        element: int64 [sites], indices into the flattened variable, row-major.
        bit: int64 [sites], counted from the least significant; -1 where the fault has none.
        draws: float64 [sites, draws], in [0, 1), what the fault itself needs.
    """

    variable: npt.NDArray[np.int64]
    element: npt.NDArray[np.int64]
    bit: npt.NDArray[np.int64]
    draws: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.variable)

    @property
    def words(self) -> npt.NDArray[np.int64]:
        """Where the sites of each word that is hit begin, int64 [words], for ``merged``."""
        return word_starts(self.variable, self.element)


def word_starts(*columns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return where each run of rows begins that are equal in all ``columns``, int64 [runs]."""
    differs = np.ones(len(columns[0]), bool)
    differs[1:] = False
    for column in columns:
        differs[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(differs)


def draw_outputs(
    key: int, rate: DrawnRate, choice: Choice, *, samples: int, elements: int, stream: int = 0
) -> Sites:
    """Draw the sites of a trial in a layer's outputs.

    Args:
        key: The trial's, the generator's key.
        rate: How many sites there are.
        choice: What is drawn within an element.
        samples: Samples in the data set.
        elements: Elements in the layer's output of one sample.
        stream: Which of several layers that are hit together it is: the last 64 bits of the
            counter that the generator starts from.

    Raises:
        ValueError: There are fewer sites than the count, or a bit error rate is asked of a fault
            whose sites are no single bits.
    """
    source = np.random.Philox(key=key, counter=(0, 0, 0, stream))
    if not rate.per_sample:
        size = elements * choice.sites
        total = _checked(rate, samples * size, choice)
        bounds = np.arange(samples + 1, dtype=np.int64) * size
        return Sites(*_draw_distinct(source, rate, total, bounds, [choice]))
    numbers = uniform(source, 3 + choice.draws, samples)
    sample = np.flatnonzero(numbers[0] < rate.value)
    element = (numbers[1, sample] * elements).astype(np.int64)
    bit = _bits(numbers[2, sample], [choice])
    return Sites(sample, element, bit, np.ascontiguousarray(numbers[3:, sample].T))


def place_in_outputs(number: int, choice: Choice, *, samples: int, elements: int) -> Sites:
    """Return the sites of a trial that hits one place in every sample.

    Args:
        number: Which of the ``elements * choice.places`` places, from 0.
        choice: What may be hit within an element, without draws.
        samples: Samples in the data set.
        elements: Elements in the layer's output of one sample.

    Raises:
        ValueError: There is no such place, or the fault needs draws.
    """
    _, element, bit = _place(number, [(elements, choice)])
    return Sites(
        np.arange(samples),
        np.full(samples, element),
        np.full(samples, bit),
        np.empty((samples, 0)),
    )


def place_in_weights(number: int, variables: Sequence[tuple[int, Choice]]) -> WeightSites:
    """Return the site of a trial that hits one place in weights; see :func:`place_in_outputs`.

    Args:
        number: Which of the places, from 0.
        variables: The elements of each variable, and what may be hit within one.
    """
    variable, element, bit = _place(number, variables)
    return WeightSites(np.array([variable]), np.array([element]), np.array([bit]), np.empty((1, 0)))


def _place(number: int, variables: Sequence[tuple[int, Choice]]) -> tuple[int, int, int]:
    """Return variable, element and bit of a place, by its number among all of them."""
    left = number
    for variable, (elements, choice) in enumerate(variables):
        if choice.draws:
            raise ValueError("a fault that is drawn by chance has no places to go through")
        if left < elements * choice.places:
            element, bit = divmod(left, choice.places)
            return (
                variable,
                element,
                NO_BIT if choice.candidates is None else choice.candidates[bit],
            )
        left -= elements * choice.places
    raise ValueError(f"there is no place {number}; there are {number - left}")


def draw_weights(key: int, rate: DrawnRate, variables: Sequence[tuple[int, Choice]]) -> WeightSites:
    """Draw the sites of a trial in weights, uniform over the sites of all variables together.

    Args:
        key: The trial's, the generator's key.
        rate: How many sites there are, a count or a bit error rate.
        variables: The elements of each variable, and what is drawn within one. The choices are
            those of one fault, so they differ in their candidates alone. At least one.

    Raises:
        ValueError: As for ``draw_outputs``, or the rate is a probability.
    """
    if rate.per_sample:
        raise ValueError("weights take a count or a bit error rate; received a probability")
    choices = [choice for _, choice in variables]
    sizes = [elements * choice.sites for elements, choice in variables]
    total = _checked(rate, sum(sizes), choices[0])
    source = np.random.Philox(key=key)
    bounds = np.cumsum([0, *sizes], dtype=np.int64)
    return WeightSites(*_draw_distinct(source, rate, total, bounds, choices))


def _checked(rate: DrawnRate, total: int, choice: Choice) -> int:
    """Return ``total``, the number of sites, once it is known that the rate can be had."""
    rate.check(total, one_bit=choice.one_bit)
    if total >= 2**63:
        raise ValueError(f"at most 2^63 - 1 sites can be numbered; received {total}")
    return total


def _draw_distinct(
    source: np.random.Philox,
    rate: DrawnRate,
    total: int,
    bounds: npt.NDArray[np.int64],
    choices: Sequence[Choice],
) -> tuple[Any, Any, Any, Any]:
    """Draw different sites of samples or variables that stand one after another.

    Args:
        source: The generator.
        rate: How many.
        total: The number of sites.
        bounds: int64 [places + 1], the number of the first site of each sample or variable.
        choices: One for all places, or one each.

    Returns:
        The columns of ``Sites``.
    """
    count = rate.number(total, lambda: uniform(source, 1, 1).item())
    number = distinct(source, count, total)
    hits = np.diff(np.searchsorted(number, bounds))
    place = np.repeat(np.arange(len(hits)), hits)
    number -= bounds[place]
    owner = place if len(choices) > 1 else None
    choice = choices[0]
    if choice.one_bit:
        size, start, step = _candidates(choices, owner)
        element, number = np.divmod(number, size)
        bit = start + number * step
    else:
        element = number
        bit = _bits(uniform(source, 1, count)[0], choices, owner)
    draws = np.ascontiguousarray(uniform(source, choice.draws, count).T)
    return place, element, bit, draws


def _bits(
    numbers: npt.NDArray[np.float64], choices: Sequence[Choice], owner: Any = None
) -> npt.NDArray[np.int64]:
    """Return the bits of sites from uniform numbers [sites], -1 where the fault has none."""
    if choices[0].candidates is None:
        return np.full(len(numbers), NO_BIT, np.int64)
    size, start, step = _candidates(choices, owner)
    bit: npt.NDArray[np.int64] = start + (numbers * size).astype(np.int64) * step
    return bit


def _candidates(choices: Sequence[Choice], owner: Any) -> tuple[Any, Any, Any]:
    """Return number, first and step of the candidates, int64, once or [sites] by their owner."""
    ranges = [choice.candidates or range(0) for choice in choices]
    table = np.array([(len(one), one.start, one.step) for one in ranges], np.int64)
    size, start, step = table[0] if owner is None else table[owner].T
    return size, start, step
