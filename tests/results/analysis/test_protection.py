"""Protections against the same faults without them, by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from results import NothingToShowError, Run
from results.statistics.intervals import paired_t, square_and_add, wilson
from tests.results.conftest import repetitions_of, trial_id_of

Make = Callable[..., Run]

A = [4, 0, 3, 2, 5, 1, 2, 4, 1, 3, 2, 1]
B = [1, 0, 1, 2, 2, 1, 0, 3, 1, 1, 0, 0]


def under(
    label: str, cell: int, counts: list[int], *, of: int = 3, **changes: object
) -> list[pa.Table]:
    """Trials of the cell ``of`` under a protection."""
    return [
        table
        for n, sdc in enumerate(counts)
        for table in repetitions_of(
            cell,
            [sdc],
            **{
                "trial_id": trial_id_of(100 * cell + n),
                "repetition": n,
                "bit": of,
                "protection": label,
                "bare_trial_id": trial_id_of(100 * of + n),
                "detected": 0,
                **changes,
            },
        )
    ]


def test_a_protection_is_compared_with_the_same_faults_trial_by_trial(made: Make) -> None:
    opened = made(*repetitions_of(3, A), *under("tmr", 5, B))
    bare, tmr = opened.protection(metric="sdc").to_dict("records")
    assert (bare["trials"], bare["injected"]) == (12, 120)
    assert pd.isna(bare["detected"])
    assert bare["sdc_rate"] == pytest.approx(sum(A) / 120)
    assert np.isnan(bare["difference"])
    assert tmr["protection"] == "tmr"
    assert (tmr["pairs"], tmr["method"]) == (12, "paired t")
    before, after = np.array(A, float), np.array(B, float)
    assert tmr["difference"] == pytest.approx((sum(B) - sum(A)) / 120)
    assert (tmr["low"], tmr["high"]) == pytest.approx(paired_t((after - before) / 10))
    ratio = sum(B) / sum(A)
    assert tmr["reduction"] == pytest.approx(1 - ratio)
    each = 1 - ratio - (after - ratio * before) / before.mean()
    bounds = (tmr["reduction_low"], tmr["reduction_high"])
    assert bounds == pytest.approx(paired_t(each), abs=1e-12)


def test_pairs_are_of_the_same_cell_and_repetition(made: Make) -> None:
    """The rows stand in another order; what another bit does without a protection is no matter."""
    other = repetitions_of(9, [9] * 12)
    opened = made(*under("tmr", 5, B)[::-1], *other, *repetitions_of(3, A))
    by_bit = opened.protection("bit", metric="sdc")
    assert by_bit["bit"].tolist() == [3, 3, 9]
    row = by_bit.iloc[1]
    assert (row["protection"], row["pairs"], row["method"]) == ("tmr", 12, "paired t")
    assert row["difference"] == pytest.approx((sum(B) - sum(A)) / 120)
    assert np.isnan(by_bit["difference"].iloc[2])


def test_only_faults_that_both_have_are_compared(made: Make) -> None:
    """Another bit has no trials under the protection, and one trial of this bit is missing."""
    opened = made(*repetitions_of(3, A), *repetitions_of(9, [9] * 12), *under("tmr", 5, B[:11]))
    bare, tmr = opened.protection(metric="sdc").to_dict("records")
    assert bare["sdc_rate"] == pytest.approx((sum(A) + 9 * 12) / 240)
    assert tmr["bare_rate"] == pytest.approx(sum(A[:11]) / 110)
    assert (tmr["pairs"], tmr["method"]) == (11, "paired t")
    assert tmr["difference"] == pytest.approx((sum(B[:11]) - sum(A[:11])) / 110)
    assert tmr["reduction"] == pytest.approx(1 - sum(B[:11]) / sum(A[:11]))


def test_cells_that_share_their_sites_are_no_news(made: Make) -> None:
    """Bits of a paired campaign with the same outcomes tell as much as one of them."""
    paired = {"sampling": "paired"}
    one = made(
        *repetitions_of(3, A, **paired), *under("tmr", 5, B, **paired), name="one"
    ).protection(metric="sdc")
    several = made(
        *repetitions_of(3, A, **paired),
        *under("tmr", 5, B, **paired),
        *repetitions_of(7, A, **paired),
        *under("tmr", 8, B, of=7, **paired),
    ).protection(metric="sdc")
    assert several["pairs"].tolist() == [0, 24]
    names = ["difference", "low", "high", "reduction", "reduction_low", "reduction_high"]
    expected = one.iloc[1][names].to_numpy(float)
    assert several.iloc[1][names].to_numpy(float) == pytest.approx(expected)
    assert several["method"].iloc[1] == "paired t"


def test_few_faults_are_taken_as_independent(made: Make) -> None:
    row = made(*repetitions_of(3, A[:8]), *under("tmr", 5, B[:8])).protection(metric="sdc").iloc[1]
    a, b = sum(A[:8]) / 80, sum(B[:8]) / 80
    assert (row["pairs"], row["method"]) == (8, "newcombe")
    bounds = square_and_add(a, wilson(sum(A[:8]), 80), b, wilson(sum(B[:8]), 80))
    assert (row["low"], row["high"]) == pytest.approx(bounds)
    assert row["reduction"] == pytest.approx(1 - b / a)
    assert np.isnan(row["reduction_low"])


def test_a_protection_without_its_bare_trials_has_no_difference(made: Make) -> None:
    bare, tmr = made(*repetitions_of(9, A), *under("tmr", 5, B)).protection().to_dict("records")
    assert bare["protection"] is not tmr["protection"]
    assert (tmr["pairs"], tmr["trials"]) == (0, 12)
    assert np.isnan(tmr["difference"])
    assert np.isnan(tmr["bare_rate"])


def test_cells_that_count_by_their_sites_have_no_bounds_of_the_reduction(made: Make) -> None:
    """The bit of a hundred sites is outvoted always, that of one never."""
    plan = {"trials": 48, "layers": {"conv2d": 48}}
    plan["sites"] = {"3": 100, "5": 100, "7": 1, "8": 1}
    tables = [
        *repetitions_of(3, A),
        *under("tmr", 5, [0] * 12),
        *repetitions_of(7, B),
        *under("tmr", 8, B, of=7),
    ]
    row = made(*tables, plan=plan).protection(metric="sdc").iloc[1]
    before = (100 * sum(A) + sum(B)) / 101 / 120
    after = sum(B) / 101 / 120
    assert row["bare_rate"] == pytest.approx(before)
    assert row["sdc_rate"] == pytest.approx(after)
    assert row["reduction"] == pytest.approx(1 - after / before)
    assert row["method"] != "paired t"
    assert np.isnan(row["reduction_low"])


def test_exhaustive_rates_are_reduced_exactly(made: Make) -> None:
    plan = {"trials": 24, "layers": {"conv2d": 24}, "exhaustive": {"3": 12, "5": 12}}
    every = {"sampling": "exhaustive", "probability": None}
    tables = (*repetitions_of(3, A, **every), *under("tmr", 5, B, **every))
    row = made(*tables, plan=plan).protection(metric="sdc").iloc[1]
    assert (row["method"], row["pairs"]) == ("exact", 12)
    assert row["low"] == row["high"] == row["difference"]
    assert row["difference"] == pytest.approx((sum(B) - sum(A)) / 120)
    assert row["reduction_low"] == row["reduction"] == row["reduction_high"]
    assert row["reduction"] == pytest.approx(1 - sum(B) / sum(A))


def test_protections_stand_beside_each_other_the_bare_model_first(made: Make) -> None:
    stopped = {"sdc": 0, "due": 2, "benign": 8, "detected": 2}
    opened = made(*under("tmr", 5, B), *under("ecc", 6, [0] * 12, **stopped), *repetitions_of(3, A))
    found = opened.protection()
    assert found["protection"].astype(object).fillna("-").tolist() == ["-", "ecc", "tmr"]
    assert found["detected"].astype(object).fillna(-1).tolist() == [-1, 24, 0]
    assert found["due_rate"].tolist() == pytest.approx([0, 0.2, 0])
    assert found["sdc+due_rate"].tolist()[1] == pytest.approx(0.2)


def test_of_nothing_that_is_lost_there_is_no_share(made: Make) -> None:
    row = made(*repetitions_of(3, [0] * 12), *under("tmr", 5, [0] * 12)).protection().iloc[1]
    assert (row["difference"], row["method"]) == (0, "newcombe")
    assert np.isnan(row["reduction"])


def test_rates_are_never_pooled(made: Make) -> None:
    opened = made(
        *repetitions_of(3, A),
        *under("tmr", 5, B),
        *repetitions_of(7, A, probability=0.25),
        *under("tmr", 8, B, of=7, bit=7, probability=0.25),
    )
    found = opened.protection(metric="sdc")
    assert found["probability"].tolist() == [0.25, 0.25, 0.5, 0.5]
    assert found["pairs"].tolist() == [0, 12, 0, 12]


def test_a_run_without_protections_has_nothing_to_compare(made: Make) -> None:
    with pytest.raises(NothingToShowError, match="The run has no protection"):
        made(*repetitions_of(3, A)).protection()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        ({"by": "bits"}, "by names 'bits', expected one of: "),
        ({"metric": "accuracy"}, "metric names 'accuracy'"),
        ({"confidence": 95}, "confidence is 95"),
    ],
)
def test_wrong_questions_are_named(made: Make, ask: dict[str, object], message: str) -> None:
    opened = made(*repetitions_of(3, A), *under("tmr", 5, B))
    with pytest.raises(ValueError, match=message):
        opened.protection(**ask)  # type: ignore[arg-type]
