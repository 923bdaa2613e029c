from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

from results import Run
from results.statistics.intervals import paired_t, square_and_add, wilson
from tests.results.conftest import repetitions_of

Table = Callable[..., pa.Table]
Make = Callable[..., Run]


WEIGHTS = {"target": "weights", "variable": "kernel"}


A = [1, 0, 3, 2, 5, 1, 2, 4, 1, 3, 2, 1]
B = [2, 1, 3, 4, 6, 1, 3, 6, 2, 4, 2, 3]


def test_cells_that_share_sites_are_compared_trial_by_trial(made: Make, trials: Table) -> None:
    paired = {"sampling": "paired"}
    opened = made(*repetitions_of(3, A, **paired), *repetitions_of(5, B, **paired))
    row = opened.differences("bit", None).iloc[0]
    expected = paired_t((np.array(B) - np.array(A)) / 10)
    assert (row["bit_a"], row["bit_b"], row["pairs"], row["method"]) == (3, 5, 12, "paired t")
    assert row["difference"] == pytest.approx((sum(B) - sum(A)) / 120)
    assert (row["low"], row["high"]) == pytest.approx(expected)
    free = square_and_add(row["rate_a"], wilson(sum(A), 120), row["rate_b"], wilson(sum(B), 120))
    assert row["high"] - row["low"] < 0.6 * (free[1] - free[0])


def test_only_trials_that_both_cells_have_are_pairs(made: Make, trials: Table) -> None:
    paired = {"sampling": "paired"}
    opened = made(*repetitions_of(3, [*A, 9, 9], **paired), *repetitions_of(5, B, **paired))
    row = opened.differences("bit", None).iloc[0]
    assert (row["pairs"], row["rate_a"]) == (12, sum(A) / 120)


def test_nested_hits_are_compared_by_their_ratios(made: Make, trials: Table) -> None:
    """Trials of two probabilities hit other numbers of samples; SciPy resamples them in pairs."""
    rng = np.random.default_rng(8)
    many = rng.integers(30, 60, 40)
    few = rng.binomial(many, 0.3) + 1
    sdc_few = rng.binomial(few, 0.4)
    sdc_many = sdc_few + rng.binomial(many - few, 0.6)
    cells = [
        table
        for cell, (probability, injected, sdc) in enumerate(
            ((0.1, few, sdc_few), (0.5, many, sdc_many))
        )
        for n in range(40)
        for table in repetitions_of(
            3,
            [int(sdc[n])],
            trial_id=100 * cell + n,
            sampling="paired",
            cell_id=cell,
            probability=probability,
            repetition=n,
            samples=100,
            injected=int(injected[n]),
            benign=int(injected[n] - sdc[n]),
        )
    ]
    row = made(*cells).differences("probability", None).iloc[0]
    expected = stats.bootstrap(
        (sdc_few, few, sdc_many, many),
        lambda k, m, j, n, axis: j.sum(axis) / n.sum(axis) - k.sum(axis) / m.sum(axis),
        paired=True,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert (row["probability_a"], row["probability_b"], row["method"]) == (0.1, 0.5, "paired t")
    assert row["difference"] == sdc_many.sum() / many.sum() - sdc_few.sum() / few.sum()
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high), abs=0.006)


@pytest.mark.parametrize("counts", [A[:6], [0] * 11 + [1]])
def test_too_few_pairs_are_taken_as_independent(
    made: Make, trials: Table, counts: list[int]
) -> None:
    paired = {"sampling": "paired"}
    zeros = [0] * len(counts)
    opened = made(*repetitions_of(3, zeros, **paired), *repetitions_of(5, counts, **paired))
    row = opened.differences("bit", None).iloc[0]
    n = 10 * len(counts)
    expected = square_and_add(0, wilson(0, n), sum(counts) / n, wilson(sum(counts), n))
    assert (row["method"], row["pairs"]) == ("newcombe", len(counts))
    assert (row["low"], row["high"]) == pytest.approx(expected)


def test_random_cells_are_independent(made: Make, trials: Table) -> None:
    row = made(*repetitions_of(3, A), *repetitions_of(5, B)).differences("bit", None).iloc[0]
    assert (row["method"], row["pairs"]) == ("newcombe", 0)


def test_faults_in_weights_are_compared_by_trials(made: Make, trials: Table) -> None:
    cells = [*repetitions_of(3, A, **WEIGHTS), *repetitions_of(5, B, **WEIGHTS)]
    opened = made(*cells)
    row = opened.differences("bit", None).iloc[0]
    both = opened.summary("bit")
    expected = square_and_add(
        both["sdc_rate"][0],
        (both["sdc_low"][0], both["sdc_high"][0]),
        both["sdc_rate"][1],
        (both["sdc_low"][1], both["sdc_high"][1]),
    )
    assert row["method"] == "square and add"
    assert (row["low"], row["high"]) == pytest.approx(expected)


def test_exact_rates_differ_exactly(made: Make, trials: Table) -> None:
    plan = {"trials": 4, "layers": {"conv2d": 4}, "exhaustive": {"0": 2, "1": 2}}
    tables = [
        trials(0, 1, sampling="exhaustive"),
        trials(2, 3, sampling="exhaustive", due=0, due_changed=0, benign=3),
    ]
    row = made(*tables, plan=plan).differences("bit", None, metric="due").iloc[0]
    assert row["method"] == "exact"
    assert (row["low"], row["difference"], row["high"]) == (1 / 6, 1 / 6, 1 / 6)


def test_all_pairs_or_those_with_the_baseline(made: Make, trials: Table) -> None:
    opened = made(trials(*range(8)), trials(16, 18))
    every = opened.differences("bit", None)
    assert list(zip(every["layer"], every["bit_a"], every["bit_b"], strict=True)) == [
        *(("conv2d", a, b) for a in range(28, 32) for b in range(a + 1, 32)),
        ("dense", 30, 31),
    ]
    based = opened.differences("bit", baseline=30)
    assert list(zip(based["layer"], based["bit_a"], based["bit_b"], strict=True)) == [
        *(("conv2d", 30, b) for b in (28, 29, 31)),
        ("dense", 30, 31),
    ]


def test_the_others_are_compared_with_the_worst(made: Make, trials: Table) -> None:
    """In each layer the bit with the highest rate, and of equal ones the first."""
    opened = made(
        *(
            table
            for bit, counts in ((3, A), (5, B), (7, B), (9, A))
            for table in repetitions_of(bit, counts)
        ),
        trials(16, 18),
    )
    found = opened.differences("bit")
    assert list(zip(found["layer"], found["bit_a"], found["bit_b"], strict=True)) == [
        *(("conv2d", 5, b) for b in (3, 7, 9)),
        ("dense", 30, 31),
    ]
    assert found["rate_a"].tolist()[:3] == [sum(B) / 120] * 3
    pd.testing.assert_frame_equal(found, opened.differences("bit", "worst"))


def test_cells_differ_in_nothing_else(made: Make, trials: Table) -> None:
    opened = made(trials(0), trials(2, probability=0.25), trials(4, fault="stuck_at"))
    assert len(opened.differences("bit", None)) == 0
    assert opened.differences("bit", None).columns.tolist() == [
        *("layer", "target", "variable", "fault", "parameters", "probability"),
        *("count", "ber", "protection", "sampling", "bit_a", "bit_b", "pairs", "rate_a", "rate_b"),
        *("difference", "low", "high", "method"),
    ]


FIELDS = {31: "sign", 30: "exponent", 0: "mantissa"}


def test_bits_of_different_fields_are_compared(made: Make, trials: Table) -> None:
    """Rows of numbered bits have the field that the bit lies in; drawn bits are left out."""
    paired = {"sampling": "paired"}
    tables = [
        table
        for bit, field in FIELDS.items()
        for table in repetitions_of(bit, A, **paired, bit_field=field)
    ]
    drawn = repetitions_of(7, B, **paired, bit=None, bit_field="sign")
    table = made(*tables, *drawn).differences("bit", None)
    assert table[["bit_a", "bit_b"]].to_numpy().tolist() == [[0, 30], [0, 31], [30, 31]]
    assert table[["pairs", "method"]].to_numpy().tolist() == [[12, "paired t"]] * 3
    based = made(*tables, *drawn).differences("bit", baseline=31)
    assert based[["bit_a", "bit_b"]].to_numpy().tolist() == [[31, 0], [31, 30]]


def test_fields_are_compared_by_the_bits_drawn_from_them(made: Make, trials: Table) -> None:
    numbered = [
        table for bit, field in FIELDS.items() for table in repetitions_of(bit, B, bit_field=field)
    ]
    drawn = [
        table
        for n, field in enumerate(FIELDS.values())
        for table in repetitions_of(40 + n, A, bit=None, bit_field=field)
    ]
    opened = made(*numbered, *drawn)
    table = opened.differences("bit_field", baseline="sign")
    assert table[["bit_field_a", "bit_field_b"]].to_numpy().tolist() == [
        ["sign", "exponent"],
        ["sign", "mantissa"],
    ]
    assert table["rate_a"].tolist() == [sum(A) / 120] * 2
    assert "bit" not in table


def test_paired_faults_share_their_sites(made: Make, trials: Table) -> None:
    paired = {"sampling": "paired", "bit": None}
    cells = [
        *repetitions_of(3, A, **paired, fault="zero"),
        *repetitions_of(5, B, **paired, fault="negate"),
    ]
    row = made(*cells).differences("fault", None).iloc[0]
    assert (row["fault_a"], row["fault_b"]) == ("negate", "zero")
    assert (row["method"], row["pairs"]) == ("paired t", 12)


def test_layers_can_be_compared_too(made: Make, trials: Table) -> None:
    opened = made(trials(0, 16))
    row = opened.differences("layer", None).iloc[0]
    assert (row["layer_a"], row["layer_b"], row["method"]) == ("conv2d", "dense", "newcombe")
    against_worst = opened.differences("layer")
    assert (against_worst["rate_a"] >= against_worst["rate_b"]).all()
    assert len(against_worst) == len(opened.differences("layer", None))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        ({"of": "bits"}, "of names 'bits', expected one of: bit"),
        ({"of": "bit", "baseline": 7}, "baseline is 7, expected a value that cells have: 30, 31"),
        ({"of": "ber", "baseline": 0.1}, "baseline is 0.1, expected a value that cells have: null"),
        ({"of": "bit", "metric": "accuracy"}, "metric names 'accuracy'"),
        ({"of": "bit", "confidence": 95}, "confidence is 95"),
    ],
)
def test_wrong_questions_are_named(
    made: Make, trials: Table, ask: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        made(trials(0, 2)).differences(**ask)  # type: ignore[arg-type]


def test_run_without_trials_has_no_differences(made: Make, trials: Table) -> None:
    assert len(made(trials()).differences("bit", None)) == 0
