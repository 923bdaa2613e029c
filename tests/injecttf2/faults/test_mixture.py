"""Every site of a mixture gets one of its faults, by weight."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from scipy import stats

from injecttf2.faults.bit_faults import BitFlip, StuckAt
from injecttf2.faults.fault_model import Fault, FaultedElements
from injecttf2.faults.mixture import Mixture
from injecttf2.faults.value_faults import Constant, RandomBits, Scale, Zero
from injecttf2.sampling import sites
from injecttf2.sampling.rates import BitErrorRate, Count

STUCK = Mixture(((1, StuckAt(bit_field="any", value=0)), (3, StuckAt(bit_field="any", value=1))))
WORDS = Mixture(
    (
        (0.5, Constant(7)),
        (0.25, Scale(2)),
        (0.125, BitFlip(bit_field="any", burst=2)),
        (0.125, BitFlip(bit_field="any", flips=3)),
    )
)


def corrupted(fault: Fault, values: np.ndarray, bit: Any, draws: Any) -> list[Any]:
    hits = FaultedElements(values.dtype.name, np.asarray(bit), np.asarray(draws, float), values)
    result: list[Any] = fault.changes(hits).apply(values).tolist()
    return result


def test_the_first_number_chooses_by_weight() -> None:
    values = np.zeros(4, np.uint8)
    draws = [[0.0], [0.2499], [0.25], [0.999]]
    assert corrupted(STUCK, values, [0, 1, 2, 3], draws) == [0, 0, 4, 8]
    assert corrupted(STUCK, ~values, [0, 1, 2, 3], draws) == [254, 253, 255, 255]


def test_faults_of_the_same_bits_make_a_fault_of_one_bit() -> None:
    choice = STUCK.choice("int8")
    assert (choice.candidates, choice.one_bit, choice.draws) == (range(8), True, 1)
    assert (STUCK.bit, STUCK.bit_field, STUCK.field("int8")) == (None, "any", "any")
    fixed = Mixture(((1, StuckAt(bit=31, value=0)), (1, BitFlip(bit=31))))
    assert (fixed.bit, fixed.bit_field, fixed.field("float32")) == (31, None, "sign")
    assert fixed.candidates("float32") == range(31, 32)


def test_stuck_bits_of_both_values_take_a_bit_error_rate() -> None:
    drawn = sites.draw_outputs(
        9, BitErrorRate(0.1), STUCK.choice("uint8"), samples=1000, elements=100
    )
    change = STUCK.changes(FaultedElements("uint8", drawn.bit, drawn.draws))
    ones = np.count_nonzero(change.flip)
    assert stats.binomtest(int(ones), len(drawn), 0.75).pvalue > 0.01


@pytest.mark.parametrize(
    "other", [Zero(), BitFlip(bit_field="sign"), BitFlip(bit=3), BitFlip(bit_field="any", burst=2)]
)
def test_other_faults_make_a_fault_of_words(other: Fault) -> None:
    mixture = Mixture(((1, BitFlip(bit_field="any")), (1, other)))
    choice = mixture.choice("float32")
    assert (choice.candidates, choice.one_bit) == (None, False)
    assert (mixture.bit, mixture.bit_field, mixture.field("float32")) == (None, None, None)


def test_a_fault_in_a_mixture_of_words_draws_its_own_bit_and_numbers() -> None:
    values = np.full(4, 1, np.uint8)
    assert WORDS.draws == 2 + 3
    draws = [
        [0.0, 0.9, 0, 0, 0],
        [0.5, 0.9, 0, 0, 0],
        [0.75, 6 / 7, 0, 0, 0],  # the lowest bit of a burst is one of 0 to 6
        [0.875, 0.9, 0, 0, 0],  # Floyd: bits 0, then 0 taken so 6, then 0 taken so 7
    ]
    assert corrupted(WORDS, values, [-1] * 4, draws) == [7, 2, 0b1100_0001, 0b1100_0000]


def test_shares_of_a_mixture_are_its_weights() -> None:
    drawn = sites.draw_outputs(4, Count(8000), WORDS.choice("uint8"), samples=100, elements=100)
    values = np.full(8000, 100, np.uint8)
    new = np.asarray(corrupted(WORDS, values, drawn.bit, drawn.draws), np.uint8)
    flipped = np.bitwise_count(new ^ values)
    counts = [np.count_nonzero(new == 7), np.count_nonzero(new == 200)]
    counts += [np.count_nonzero((flipped == 2) & (new != 7)), 0]
    counts[3] = 8000 - sum(counts)
    assert stats.chisquare(counts, [4000, 2000, 1000, 1000]).pvalue > 0.01


def test_a_site_does_not_depend_on_those_beside_it() -> None:
    draws = np.random.Generator(np.random.Philox(key=2)).random((50, WORDS.draws))
    values = np.arange(50, dtype=np.uint8)
    together = corrupted(WORDS, values, [-1] * 50, draws)
    alone = [corrupted(WORDS, values[[i]], [-1], draws[[i]])[0] for i in range(50)]
    assert together == alone


def test_a_mixture_may_hold_mixtures() -> None:
    outer = Mixture(((1, STUCK), (1, StuckAt(bit_field="any", value=1))))
    assert outer.choice("uint8").one_bit
    values = np.full(3, 0b0101, np.uint8)
    assert corrupted(outer, values, [0, 1, 1], [[0.1, 0.1], [0.1, 0.9], [0.9, 0]]) == [4, 7, 7]


def test_a_mixture_needs_values_if_one_of_its_faults_does() -> None:
    assert (STUCK.needs_values, WORDS.needs_values) == (False, True)


def test_a_mixture_of_no_sites_changes_nothing() -> None:
    assert len(WORDS.changes(FaultedElements("int8", np.empty(0, int), np.empty((0, 5))))) == 0


def test_every_fault_is_checked() -> None:
    mixture = Mixture(((1, BitFlip(bit=3)), (1, Constant(300))))
    mixture.check("int16")
    with pytest.raises(ValueError, match=r"^the value of a constant does not fit int8"):
        mixture.check("int8")


@pytest.mark.parametrize(
    ("weight", "shown"),
    [
        (0, "0"),
        (-1, "-1"),
        (math.nan, ".nan"),
        (math.inf, ".inf"),
        ("much", "'much'"),
        (None, "nothing"),
    ],
)
def test_a_weight_is_above_zero(weight: Any, shown: str) -> None:
    message = f"^the weight of a fault is .*; received {re.escape(shown)}$"
    with pytest.raises(ValueError, match=message):
        Mixture(((weight, RandomBits()),))


def test_a_mixture_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a mixture takes at least one fault; received none$"):
        Mixture(())


def test_a_mixture_is_written_down_with_all_its_faults() -> None:
    mixture = Mixture(((1, BitFlip(bit=3)), (0.5, Constant(math.inf))))
    assert mixture.parameters() == {
        "faults": [
            {"weight": 1.0, "fault": "bit_flip", "bit": 3, "parameters": {}},
            {"weight": 0.5, "fault": "constant", "parameters": {"value": "inf"}},
        ]
    }
    assert mixture == Mixture(((1.0, BitFlip(bit=3)), (0.5, Constant("inf"))))  # type: ignore[arg-type]
    assert mixture != Mixture(((1, BitFlip(bit=4)), (0.5, Constant(math.inf))))
