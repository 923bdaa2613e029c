"""Sites depend on the trial's id and on nothing else, and are uniform."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from injecttf2.faults.bit_faults import BitFlip, StuckAt
from injecttf2.sampling import sites
from injecttf2.sampling.rates import BitErrorRate, Count, Probability, Rate
from injecttf2.sampling.sites import Choice, Sites, WeightSites
from injecttf2.trial import Identity, trial_ids
from tests.builders import cell_of

ids = st.integers(0, 2**64 - 1)


def draw(trial_id: int = 1, **arguments: Any) -> Sites:
    """Draw the sites of a trial of single bits at a probability."""
    rate = Probability(arguments.pop("probability", 1.0))
    choice = Choice(arguments.pop("candidates", range(32)), one_bit=True)
    return sites.draw_outputs(
        trial_id, rate, choice, **{"samples": 100, "elements": 50, **arguments}
    )


def rows(drawn: Sites) -> list[list[int]]:
    return [drawn.sample.tolist(), drawn.element.tolist(), drawn.bit.tolist()]


def p_value(counts: np.ndarray) -> float:
    return float(stats.chisquare(counts).pvalue)


def test_draws_never_change() -> None:
    drawn = draw(
        0x0123456789ABCDEF, samples=12, elements=1000, candidates=range(32), probability=0.5
    )
    assert rows(drawn) == [
        [1, 2, 3, 6, 11],
        [451, 424, 570, 737, 437],
        [22, 13, 20, 23, 31],
    ]
    drawn = draw(2**64 - 1, samples=4, elements=10**6, candidates=range(23, 31), probability=1.0)
    assert rows(drawn) == [[0, 1, 2, 3], [350162, 762890, 520385, 306170], [23, 23, 24, 24]]


def test_a_site_can_be_recomputed_from_the_raw_words_of_the_generator() -> None:
    raw = np.random.Philox(key=77).random_raw(3 * 200).reshape(3, 200)
    numbers = [[int(word) >> 11 for word in row] for row in raw]  # of 2^53
    expected = [
        (sample, element * 50 >> 53, 23 + (bit * 8 >> 53))
        for sample, (hit, element, bit) in enumerate(zip(*numbers, strict=True))
        if hit < 0.25 * 2**53
    ]
    drawn = draw(77, samples=200, candidates=range(23, 31), probability=0.25)
    assert list(zip(*rows(drawn), strict=True)) == expected
    assert len(expected) == 57


def test_draws_neither_use_nor_change_the_global_state() -> None:
    np.random.seed(0)  # noqa: NPY002 - the state that must not matter
    untouched = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    first = rows(draw(5))
    assert np.random.random() == untouched  # noqa: NPY002
    assert rows(draw(5)) == first


def test_a_key_from_a_results_row_draws_the_same() -> None:
    assert rows(draw(2**64 - 5)) == rows(draw(int(np.uint64(2**64 - 5))))
    assert rows(draw(np.uint64(2**64 - 5))) == rows(draw(2**64 - 5))  # type: ignore[arg-type]


@settings(deadline=None)
@given(trial_id=ids)
def test_probability_zero_hits_nothing(trial_id: int) -> None:
    drawn = draw(trial_id, probability=0.0)
    assert len(drawn) == 0
    assert rows(drawn) == [[], [], []]


@settings(deadline=None)
@given(trial_id=ids)
def test_probability_one_hits_every_sample_once(trial_id: int) -> None:
    drawn = draw(trial_id, probability=1.0)
    assert len(drawn) == 100
    assert drawn.sample.tolist() == list(range(100))


@settings(deadline=None)
@given(
    trial_id=ids,
    samples=st.integers(1, 50),
    elements=st.integers(1, 2**53) | st.sampled_from([1, 2, 2**31 + 1, 2**53]),
    start=st.integers(0, 60),
    width=st.integers(1, 64),
    probability=st.floats(0, 1),
)
def test_sites_lie_in_range_at_most_one_a_sample_ascending(
    trial_id: int, samples: int, elements: int, start: int, width: int, probability: float
) -> None:
    candidates = range(start, start + width)
    drawn = draw(
        trial_id,
        samples=samples,
        elements=elements,
        candidates=candidates,
        probability=probability,
    )
    assert all(column.dtype == np.int64 for column in (drawn.sample, drawn.element, drawn.bit))
    sample, element, bit = rows(drawn)
    assert sample == sorted(set(sample))
    assert set(sample) <= set(range(samples))
    assert all(0 <= one < elements for one in element)
    assert set(bit) <= set(candidates)


def test_candidates_may_leave_gaps() -> None:
    drawn = draw(candidates=range(1, 32, 10), samples=1000)
    assert set(drawn.bit.tolist()) == {1, 11, 21, 31}


@settings(deadline=None)
@given(trial_id=ids, low=st.floats(0, 1), high=st.floats(0, 1))
def test_hits_are_nested_for_growing_probability(trial_id: int, low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)
    few, many = draw(trial_id, probability=low), draw(trial_id, probability=high)
    of_many = dict(zip(many.sample.tolist(), zip(*rows(many)[1:], strict=True), strict=True))
    for sample, element, bit in zip(*rows(few), strict=True):
        assert of_many[sample] == (element, bit)


def test_a_sample_is_hit_when_its_number_is_below_the_probability() -> None:
    (number,) = np.random.Generator(np.random.Philox(key=5)).random((3, 1))[0]
    assert draw(5, samples=1, probability=number).sample.tolist() == []
    assert draw(5, samples=1, probability=np.nextafter(number, 1)).sample.tolist() == [0]


def test_elements_and_bits_of_one_trial_are_uniform() -> None:
    drawn = draw(2026, samples=200_000, elements=50, candidates=range(32))
    assert p_value(np.bincount(drawn.element, minlength=50)) > 0.01
    assert p_value(np.bincount(drawn.bit, minlength=32)) > 0.01
    pairs = np.bincount(drawn.element * 32 + drawn.bit, minlength=50 * 32)
    assert p_value(pairs) > 0.01


def test_the_share_of_hits_is_the_probability() -> None:
    hits = len(draw(2026, samples=200_000, probability=0.03))
    assert hits == 6008
    assert stats.binomtest(hits, 200_000, 0.03).pvalue > 0.01


@pytest.mark.parametrize("keys", ["ids", "consecutive"])
def test_the_same_sample_of_many_trials_is_uniform(keys: str) -> None:
    identity, cell = Identity("m", "d", 1), cell_of("conv", BitFlip(bit=30), Probability(0.5))
    chosen = trial_ids(identity, cell, range(10_000)).tolist() if keys == "ids" else range(10_000)
    drawn = [draw(key, samples=3, elements=40, probability=0.5) for key in chosen]
    hit = np.asarray([np.isin(np.arange(3), one.sample) for one in drawn])
    patterns = np.bincount(hit @ [1, 2, 4], minlength=8)
    assert p_value(patterns) > 0.01
    first = [one for one in drawn if 0 in one.sample]
    assert p_value(np.bincount([one.element[0] for one in first], minlength=40)) > 0.01
    assert p_value(np.bincount([one.bit[0] for one in first], minlength=32)) > 0.01


def test_an_element_and_its_bit_are_drawn_independently_of_the_hit() -> None:
    drawn = draw(9, samples=200_000, elements=50, probability=0.01)
    assert p_value(np.bincount(drawn.element, minlength=50)) > 0.01
    assert p_value(np.bincount(drawn.bit, minlength=32)) > 0.01


BITS = Choice(range(32), one_bit=True)
WORDS = Choice(None, one_bit=False)


def outputs(rate: Rate, choice: Choice = BITS, trial_id: int = 1, **shape: int) -> Sites:
    return sites.draw_outputs(trial_id, rate, choice, **{"samples": 100, "elements": 50, **shape})


def weights(rate: Rate, *variables: tuple[int, Choice], trial_id: int = 1) -> WeightSites:
    return sites.draw_weights(trial_id, rate, variables)


def sites_of(drawn: Sites | WeightSites) -> list[tuple[int, int, int]]:
    first = drawn.sample if isinstance(drawn, Sites) else drawn.variable
    columns = (first.tolist(), drawn.element.tolist(), drawn.bit.tolist())
    return list(zip(*columns, strict=True))


def test_draws_at_a_count_never_change() -> None:
    key = 0x0123456789ABCDEF
    drawn = outputs(Count(8), Choice(range(23, 31), one_bit=True), key, samples=3, elements=4)
    assert rows(drawn) == [
        [0, 0, 0, 0, 0, 2, 2, 2],
        [0, 1, 2, 2, 3, 1, 3, 3],
        [30, 29, 23, 26, 27, 25, 24, 25],
    ]
    words = outputs(
        Count(3), Choice(range(32), one_bit=False, draws=2), key, samples=5, elements=10
    )
    assert rows(words) == [[0, 0, 1], [7, 9, 4], [22, 22, 1]]
    assert words.draws.tolist() == [
        [0.8057835839789993, 0.9110241531511055],
        [0.5829071977609017, 0.1324460680933166],
        [0.901569168565704, 0.8840781724628649],
    ]


def test_draws_at_a_bit_error_rate_never_change() -> None:
    drawn = outputs(BitErrorRate(1e-9), BITS, 0x0123456789ABCDEF, samples=10_000, elements=100_000)
    assert len(drawn) == 26
    assert sites_of(drawn)[:3] == [(659, 48613, 18), (1180, 34375, 26), (1422, 12882, 23)]


def test_draws_in_weights_never_change() -> None:
    upper = Choice(range(8, 16), one_bit=True)
    drawn = weights(Count(5), (100, BITS), (3, BITS), (50, upper), trial_id=0x0123456789ABCDEF)
    assert sites_of(drawn) == [(0, 14, 2), (0, 19, 12), (0, 28, 1), (0, 89, 1), (2, 25, 15)]


def test_sites_at_a_count_can_be_recomputed_from_the_raw_words() -> None:
    choice = Choice(range(1, 32, 10), one_bit=True, draws=1)  # 4 bits, so 20 sites
    drawn = outputs(Count(5), choice, 77, samples=2, elements=3)
    words = [int(word) for word in np.random.Philox(key=77).random_raw(40)]
    numbers: set[int] = set()
    while len(numbers) < 5:
        number = words.pop(0) >> 59
        if number < 24:
            numbers.add(number)
    expected = [(n // 12, n // 4 % 3, 1 + 10 * (n % 4)) for n in sorted(numbers)]
    assert sites_of(drawn) == expected
    assert drawn.draws[:, 0].tolist() == [(word >> 11) * 2.0**-53 for word in words[:5]]


def test_the_count_at_a_bit_error_rate_comes_from_the_first_number() -> None:
    number = np.random.Generator(np.random.Philox(key=3)).random()
    drawn = outputs(BitErrorRate(1e-3), BITS, 3)
    assert len(drawn) == stats.binom.isf(number, 160_000, 1e-3) == 141


def test_the_numbers_of_a_fault_follow_those_of_its_sites() -> None:
    numbers = np.random.Generator(np.random.Philox(key=5)).random((5, 100))
    plain, drawn = draw(5), outputs(Probability(1.0), Choice(range(32), True, draws=2), 5)
    assert rows(drawn) == rows(plain)
    assert drawn.draws.tolist() == numbers[3:].T.tolist()
    assert (plain.draws.shape, drawn.draws.flags.c_contiguous) == ((100, 0), True)


def test_a_fault_without_a_bit_has_none_and_hits_the_same_elements() -> None:
    drawn = outputs(Probability(0.5), WORDS, 5)
    assert rows(drawn)[:2] == rows(draw(5, probability=0.5))[:2]
    assert set(drawn.bit.tolist()) == {-1}


@settings(deadline=None)
@given(
    trial_id=ids,
    samples=st.integers(1, 20),
    elements=st.integers(1, 20),
    width=st.integers(1, 64),
    draws=st.integers(0, 2),
    data=st.data(),
)
def test_sites_at_a_count_are_so_many_and_distinct_and_sorted(
    trial_id: int, samples: int, elements: int, width: int, draws: int, data: st.DataObject
) -> None:
    one_bit = data.draw(st.booleans())
    bit = data.draw(st.just(range(width)) | st.none()) if not one_bit else range(width)
    choice = Choice(bit, one_bit, draws)
    count = data.draw(st.integers(0, samples * elements * (width if one_bit else 1)))
    drawn = outputs(Count(count), choice, trial_id, samples=samples, elements=elements)
    found = sites_of(drawn)
    assert found == sorted(found)
    places = found if one_bit else [site[:2] for site in found]
    assert len(set(places)) == len(drawn) == count
    for sample, element, one in found:
        assert 0 <= sample < samples
        assert 0 <= element < elements
        assert one in bit if bit is not None else one == -1
    assert (drawn.draws.shape, drawn.draws.dtype) == ((count, draws), np.float64)


@settings(deadline=None)
@given(
    trial_id=ids,
    variables=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 8)), min_size=1, max_size=5),
    data=st.data(),
)
def test_sites_in_weights_lie_in_their_variable(
    trial_id: int, variables: list[tuple[int, int]], data: st.DataObject
) -> None:
    count = data.draw(st.integers(0, sum(size * width for size, width in variables)))
    choices = [(size, Choice(range(2, 2 + width), one_bit=True)) for size, width in variables]
    found = sites_of(weights(Count(count), *choices, trial_id=trial_id))
    assert len(set(found)) == count
    assert found == sorted(found)
    for variable, element, bit in found:
        size, width = variables[variable]
        assert 0 <= element < size
        assert 2 <= bit < 2 + width


@pytest.mark.parametrize("rate", [Count(12), BitErrorRate(1.0)])
def test_all_sites_are_hit_where_that_is_asked_for(rate: Rate) -> None:
    drawn = outputs(rate, Choice(range(2), one_bit=True), samples=2, elements=3)
    assert sites_of(drawn) == [(s, e, b) for s in range(2) for e in range(3) for b in range(2)]


@settings(deadline=None)
@given(trial_id=ids)
def test_no_site_is_hit_at_count_zero_and_bit_error_rate_zero(trial_id: int) -> None:
    for rate in (Count(0), BitErrorRate(0.0)):
        assert sites_of(outputs(rate, BITS, trial_id)) == []
        assert sites_of(weights(rate, (10, BITS), trial_id=trial_id)) == []


def test_no_bit_is_flipped_twice_in_a_trial_however_many_are() -> None:
    drawn = outputs(Count(159_000), BITS, 2026)
    assert len(set(sites_of(drawn))) == 159_000


def test_a_low_bit_error_rate_hits_in_some_trials_rather_than_never() -> None:
    """A rate of 0.3 sites a trial: `int(bits * rate)` would be 0 for ever."""
    hits = [len(outputs(BitErrorRate(0.3 / 160_000), BITS, key)) for key in range(2000)]
    expected = stats.binom.pmf(np.arange(4), 160_000, 0.3 / 160_000) * 2000
    counts = np.bincount(np.minimum(hits, 3), minlength=4)
    expected[3] = 2000 - expected[:3].sum()
    assert stats.chisquare(counts, expected).pvalue > 0.01


def test_every_bit_is_hit_at_the_bit_error_rate_independently_of_others() -> None:
    choice = Choice(range(3), one_bit=True)
    patterns = np.zeros(8, int)
    for key in range(4000):
        drawn = outputs(BitErrorRate(0.3), choice, key, samples=1, elements=1)
        patterns[np.bitwise_or.reduce(1 << drawn.bit) if len(drawn) else 0] += 1
    expected = [4000 * 0.3**n * 0.7 ** (3 - n) for n in (0, 1, 1, 2, 1, 2, 2, 3)]
    assert stats.chisquare(patterns, expected).pvalue > 0.01


def test_sites_at_a_count_are_uniform_over_samples_elements_and_bits() -> None:
    drawn = outputs(Count(200_000), BITS, 2026, samples=1000, elements=5000)
    assert p_value(np.bincount(drawn.sample, minlength=1000)) > 0.01
    assert p_value(np.bincount(drawn.element, minlength=5000)) > 0.01
    assert p_value(np.bincount(drawn.bit, minlength=32)) > 0.01


def test_a_single_site_of_many_trials_is_uniform() -> None:
    found = [
        sites_of(outputs(Count(1), BITS, key, samples=3, elements=2))[0] for key in range(9600)
    ]
    numbers = [(sample * 2 + element) * 32 + bit for sample, element, bit in found]
    assert p_value(np.bincount(numbers, minlength=192)) > 0.01


def test_variables_are_hit_by_their_number_of_bits() -> None:
    narrow = Choice(range(8), one_bit=True)
    drawn = weights(Count(10_000), (10_000, BITS), (40_000, narrow), (20_000, BITS), trial_id=4)
    counts = np.bincount(drawn.variable, minlength=3)
    assert stats.chisquare(counts, [2500, 2500, 5000]).pvalue > 0.01


def test_bits_of_bursts_in_variables_are_those_of_their_dtype() -> None:
    wide, narrow = (Choice(range(width), one_bit=False) for width in (31, 7))
    drawn = weights(Count(4000), (3000, wide), (3000, narrow), trial_id=4)
    assert set(drawn.bit[drawn.variable == 0].tolist()) == set(range(31))
    assert set(drawn.bit[drawn.variable == 1].tolist()) == set(range(7))


def test_bits_of_one_element_are_one_word() -> None:
    column = np.asarray
    sample, element = column([0, 0, 0, 1, 1, 3]), column([2, 2, 3, 3, 3, 3])
    drawn = Sites(sample, element, column([0, 5, 1, 1, 2, 9]), np.empty((6, 0)))
    assert drawn.words.tolist() == [0, 2, 3, 5]
    nowhere = outputs(Count(0))
    assert nowhere.words.tolist() == []


@pytest.mark.parametrize(
    ("rate", "choice", "message"),
    [
        (Count(160_001), BITS, "^there are 160,000 sites; received a count of 160,001$"),
        (Count(5001), WORDS, "^there are 5,000 sites; received a count of 5,001$"),
        (
            BitErrorRate(1e-3),
            WORDS,
            "^a bit error rate takes a fault that hits single bits; "
            "received one that changes whole words, which takes a count$",
        ),
    ],
)
def test_a_rate_that_cannot_be_had_is_refused(rate: Rate, choice: Choice, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        outputs(rate, choice)
    with pytest.raises(ValueError, match=message):
        weights(rate, (4000, choice), (1000, choice))


def test_weights_take_no_probability() -> None:
    message = "^weights take a count or a bit error rate; received a probability$"
    with pytest.raises(ValueError, match=message):
        weights(Probability(0.5), (10, BITS))


def test_more_sites_than_can_be_numbered_are_refused() -> None:
    with pytest.raises(ValueError, match=rf"^at most 2\^63 - 1 sites .* received {2**63}$"):
        outputs(Count(1), WORDS, samples=2**3, elements=2**60)
    with pytest.raises(ValueError, match=rf"^at most 2\^63 - 1 sites .* received {2**64}$"):
        outputs(Count(1), WORDS, samples=2, elements=2**63)
    assert len(outputs(Count(1), WORDS, samples=1, elements=2**63 - 1)) == 1


def test_a_count_neither_uses_nor_changes_the_global_state() -> None:
    np.random.seed(0)  # noqa: NPY002 - the state that must not matter
    untouched = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    first = sites_of(outputs(BitErrorRate(0.01), BITS, 5))
    assert np.random.random() == untouched  # noqa: NPY002
    assert sites_of(outputs(BitErrorRate(0.01), BITS, 5)) == first


def test_the_generator_is_keyed_once_a_trial() -> None:
    """Keying it again for every site would give all of them the same numbers."""
    choice = StuckAt(bit_field="any", value=1, flips=2).choice("float32")
    drawn = outputs(Count(1000), choice, 6)
    assert len(np.unique(drawn.draws)) == 2000


@pytest.mark.parametrize(
    ("rate", "share"),
    [
        (Probability(0.25), 0.25),
        (BitErrorRate(0.25), 1 - 0.75 ** (3 * 2)),  # none of 3 elements of 2 bits
        (Count(3), 1 - 0.9**3),  # none of 3 falls on one of 10 samples
    ],
)
def test_the_share_of_samples_that_a_trial_is_expected_to_hit(rate: Rate, share: float) -> None:
    choice = Choice(candidates=range(4, 6), one_bit=True)
    found = rate.share_hit(10, 3 * choice.sites)
    assert found == pytest.approx(share, rel=1e-12)
