"""How many sites a trial gets."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from injecttf2.sampling.rates import RATES, BitErrorRate, Count, Probability, Rate


def test_rates_are_named_as_the_columns_are() -> None:
    assert {"probability": Probability, "count": Count, "ber": BitErrorRate} == RATES
    assert [kind.name for kind in RATES.values()] == list(RATES)


@pytest.mark.parametrize("kind", [Probability, BitErrorRate])
@pytest.mark.parametrize(
    ("given", "value"),
    [(0, 0.0), (1, 1.0), (1e-12, 1e-12), ("1e-3", 0.001), (np.float32(0.5), 0.5)],
)
def test_a_chance_is_a_float(kind: type[Probability], given: Any, value: float) -> None:
    rate = kind(given)
    assert (type(rate.value), rate.value) == (float, value)


@pytest.mark.parametrize("given", [0, 1, 10**12, np.int64(3)])
def test_a_count_is_a_whole_number(given: Any) -> None:
    assert (type(Count(given).value), Count(given).value) == (int, int(given))


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (Probability, 1.5, "a probability lies between 0 and 1; received 1.5"),
        (Probability, -0.1, "a probability lies between 0 and 1; received -0.1"),
        (Probability, float("nan"), "a probability is a finite number; received .nan"),
        (Probability, True, "a probability is a finite number; received true"),
        (BitErrorRate, 2, "a bit error rate lies between 0 and 1; received 2"),
        (BitErrorRate, None, "a bit error rate is a finite number; received nothing"),
        (Count, -1, "a count is a whole number of 0 or more; received -1"),
        (Count, 1.0, "a count is a whole number of 0 or more; received 1.0"),
        (Count, True, "a count is a whole number of 0 or more; received true"),
    ],
)
def test_a_rate_that_makes_no_sense_is_refused(kind: type[Rate], given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        kind(given)
