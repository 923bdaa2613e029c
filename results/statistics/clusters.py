"""Rates whose samples come in clusters: all samples of a trial share its fault.

A few faults that happen to agree must not look like certainty: the fault that destroys a model may
not have been drawn yet. Therefore one more cluster is counted in the variance, which goes the other
way: wholly hit where the rate is below a half, not hit at all where it is above.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from results.statistics.intervals import Floats
from results.statistics.strata import Estimate, Strata, add_up, at_size, effective_size


def cluster_wilson(
    clusters: npt.ArrayLike,
    injected: npt.ArrayLike,
    hits: npt.ArrayLike,
    squares: npt.ArrayLike,
    confidence: float = 0.95,
) -> tuple[Floats, Floats]:
    """Return Wilson's interval of a rate at the effective size of a sample of equal clusters.

    The effective size is the number of independent samples whose mean varies as much as that of the
    clusters' rates, with one more cluster of the other extreme. It is at least the number of
    clusters. It is ``clustered_sums`` of each cell by itself.

    Args:
        clusters: Number of clusters n, such as trials with a fault in weights.
        injected: Samples of all clusters together, the same number in each.
        hits: Those of them that count.
        squares: Sum over the clusters of the square of each one's hits.
        confidence: Two-sided confidence level, strictly between 0 and 1.

    Returns:
        Lower and upper bound, float64 of the broadcast shape; NaN where nothing was injected.

    Raises:
        ValueError: ``confidence`` is outside its range.

    Source: L. Kish, Survey Sampling, Wiley 1965: the design effect.

    Examples:
        Ten faults in weights, each evaluated on 100 samples. One of them spoils 50:

        >>> from results.statistics import cluster_wilson, wilson
        >>> low, high = cluster_wilson(clusters=10, injected=1000, hits=50, squares=50**2)
        >>> print(low.round(3), high.round(3))
        0.005 0.345

        The same as if the samples were independent, which they are not:

        >>> low, high = wilson(50, 1000)
        >>> print(low.round(3), high.round(3))
        0.038 0.065
    """
    sums = np.broadcast_arrays(
        *(np.asarray(one, np.float64) for one in (clusters, injected, hits, squares))
    )
    shape = sums[0].shape
    n, total, k, squared = (one.ravel() for one in sums)
    each = Strata.of(total > 0, group=np.arange(len(total)))
    found = clustered_sums(n, total, k, squared, each, confidence)
    return found.low.reshape(shape)[()], found.high.reshape(shape)[()]


def clustered(
    successes: npt.ArrayLike,
    sizes: npt.ArrayLike,
    cell: npt.ArrayLike,
    strata: Strata,
    confidence: float = 0.95,
    *,
    unit: npt.ArrayLike | None = None,
) -> Estimate:
    """Return the rates of groups whose outcomes come in clusters, such as all samples of a trial.

    Between clusters of a cell nothing is assumed but that they are independent. Cells of a single
    cluster, which show no spread of their own, are taken as clusters of one cell.

    The interval is Wilson's at an effective sample size, that of the variance between clusters.
    One more cluster is counted in that variance, as in ``cluster_wilson``: one for the whole group,
    which weighs as much as the heaviest that is there. The size is at least that of as many single
    outcomes as there are clusters, and at most that of all outcomes taken as independent.

    Args:
        successes: [clusters], how many outcomes of a cluster are successes.
        sizes: [clusters], how many outcomes it has.
        cell: [clusters], which of the cells it belongs to.
        strata: The cells. Those that share their sites have to have their clusters numbered in
            ``unit``; how they vary together is then seen, nothing is assumed about it.
        confidence: Two-sided confidence level, strictly between 0 and 1.
        unit: int64 [clusters]; clusters of a group with the same number are one, spread over
            several cells. By default each is one.

    Returns:
        Rates and bounds, by group; ``variance`` is that of the clusters that are there.

    Raises:
        ValueError: An argument is outside its range.

    Sources: W. G. Cochran, Sampling Techniques, 3rd ed., Wiley 1977, sections 6.3 and 6.4: Taylor
    linearisation of a ratio; L. Kish, Survey Sampling, Wiley 1965: the design effect.
    """
    k, m = np.asarray(successes, np.float64), np.asarray(sizes, np.float64)
    place = np.asarray(cell, np.int64)
    cells = len(strata.group)
    group = strata.group[place]
    n, injected = np.bincount(place, minlength=cells), add_up(m, place, cells)
    there = np.maximum(injected, 1.0)
    rates = add_up(k, place, cells) / there
    rate = strata.mean(rates)
    lone = n == 1
    peers = np.where(lone, strata.sum(lone)[strata.group], n)
    centre = np.where(lone, rate[strata.group], rates)
    scale = strata.proportion / there * np.sqrt(1 - strata.sampled)
    unbiased = scale * np.sqrt(peers / np.maximum(peers - 1, 1))
    which = np.arange(len(k)) if unit is None else np.asarray(unit, np.int64)
    units, member = np.unique(np.stack([group, which]), axis=1, return_inverse=True)

    def by_unit(values: Floats) -> Floats:
        return add_up(values, member.ravel(), units.shape[1])

    variance = add_up(
        by_unit(unbiased[place] * (k - centre[place] * m)) ** 2, units[0], strata.groups
    )
    families = np.unique(np.stack([strata.group, np.where(lone, -1, strata.shared)]), axis=1)
    count = np.bincount(units[0], minlength=strata.groups)
    freedom = np.maximum(count - np.bincount(families[0], minlength=strata.groups), 0)
    heaviest = np.zeros(strata.groups)
    np.maximum.at(heaviest, units[0], np.nan_to_num(by_unit(scale[place] * m)))
    least = effective_size(rates, np.maximum(n, 1).astype(np.float64), strata)
    most = effective_size(rates, there, strata)
    return _with_one_more(rate, variance, freedom, heaviest, (least, most), confidence)


def clustered_sums(
    clusters: npt.ArrayLike,
    injected: npt.ArrayLike,
    hits: npt.ArrayLike,
    squares: npt.ArrayLike,
    strata: Strata,
    confidence: float = 0.95,
) -> Estimate:
    """Return the rates of groups of cells from sums over each cell's clusters.

    What ``clustered`` does for clusters that are told one by one, for cells whose clusters have one
    size: with the same variance and the same one more cluster. It may be far more precise than as
    many outcomes drawn at random, where the cells are: the size is limited by what the outcomes
    would tell if they were independent within their cells, not by Kish's.

    Outcomes that are independent are clusters of one: ``clusters`` is ``injected`` then and
    ``squares`` is ``hits``.

    Args:
        clusters: [cells], number of clusters n.
        injected: [cells], samples of all its clusters together, the same number in each.
        hits: [cells], those of them that count.
        squares: [cells], sum over its clusters of the square of each one's hits.
        strata: The cells; none of them share their sites. Those without any clusters weigh 0.
        confidence: Two-sided confidence level, strictly between 0 and 1.

    Returns:
        Rates and bounds, by group.

    Raises:
        ValueError: ``confidence`` is outside its range.

    Source: W. G. Cochran, Sampling Techniques, 3rd ed., Wiley 1977, section 5.3.
    """
    k, squared = np.asarray(hits, np.float64), np.asarray(squares, np.float64)
    n, total = (np.maximum(np.asarray(x, np.float64), 1.0) for x in (clusters, injected))
    size = total / n
    rates = k / total
    rate = strata.mean(rates)
    # Cells of a single cluster, which show no spread of their own, as clusters of one cell.
    lone = n == 1
    singles = strata.sum(lone)
    peers = np.where(lone, singles[strata.group], n)
    centre = np.where(lone, rate[strata.group], rates)
    spread = squared / size**2 - 2 * centre * n * rates + n * centre**2
    terms = np.maximum(spread, 0.0) / n**2 * peers / np.maximum(peers - 1, 1)
    variance = strata.sum(strata.proportion**2 * terms)
    freedom = np.maximum(strata.sum(n - 1) + np.maximum(singles - 1, 0), 0)
    heaviest = np.zeros(strata.groups)
    np.maximum.at(heaviest, strata.group, np.nan_to_num(strata.proportion / n))
    independent = strata.variance(rates * (1 - rates) / total)
    with np.errstate(divide="ignore", invalid="ignore"):
        most = np.nan_to_num(rate * (1 - rate) / independent, nan=0.0)
    least = effective_size(rates, n, strata)
    return _with_one_more(rate, variance, freedom, heaviest, (least, most), confidence)


def _with_one_more(
    rate: Floats,
    variance: Floats,
    freedom: Floats,
    heaviest: Floats,
    limits: tuple[Floats, Floats],
    confidence: float,
) -> Estimate:
    """Return rates with Wilson's interval at the size of their variance with one more cluster.

    Args:
        rate: [groups].
        variance: [groups], of the rates.
        freedom: [groups], degrees of freedom of the variance.
        heaviest: [groups], by how much the heaviest cluster counts, of 1 for all.
        limits: The least effective size and the most, each [groups]; the least wins.
        confidence: Two-sided confidence level.
    """
    opposite = np.where(rate < 0.5, 1.0, 0.0)
    # Of one cell with n equal clusters this is the variance of the mean of its rates and the
    # opposite one: freedom n - 1, heaviest 1 / n.
    wider = variance * freedom / (freedom + 1)
    wider += heaviest**2 / (1 + heaviest) * (opposite - rate) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        size = rate * (1 - rate) / wider
    least, most = limits
    low, high = at_size(rate, np.clip(size, least, np.maximum(least, most)), confidence)
    return Estimate(rate, variance, low, high)
