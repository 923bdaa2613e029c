from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from results import Run, compare
from results.statistics.intervals import paired_t, square_and_add, wilson
from tests.results.conftest import repetitions_of

Table = Callable[..., pa.Table]
Make = Callable[..., Run]

A = [1, 0, 3, 2, 5, 1, 2, 4, 1, 3, 2, 1]
B = [2, 1, 3, 4, 6, 1, 3, 6, 2, 4, 2, 3]


def test_same_cells_of_two_runs_are_compared(made: Make, trials: Table) -> None:
    a = made(*repetitions_of(3, A), name="a")
    b = made(*repetitions_of(3, B, cell_id=99), name="b")
    row = compare(a, b).iloc[0]
    expected = square_and_add(sum(A) / 120, wilson(sum(A), 120), sum(B) / 120, wilson(sum(B), 120))
    assert (row["runs"], row["trials_a"], row["trials_b"]) == ("both", 12, 12)
    assert (row["injected_a"], row["injected_b"], row["method"]) == (120, 120, "newcombe")
    assert row["difference"] == pytest.approx((sum(B) - sum(A)) / 120)
    assert (row["low"], row["high"]) == pytest.approx(expected)


def test_cells_of_one_run_only_are_told(made: Make, trials: Table) -> None:
    a, b = made(trials(0, 2), name="a"), made(trials(2, 4), name="b")
    table = compare(a, b)
    assert table["bit"].tolist() == [30, 31, 29]
    assert table["runs"].tolist() == ["both", "a", "b"]
    assert table["trials_b"].tolist() == [1, 0, 1]
    assert table["rate_a"].tolist()[:2] == [1 / 2, 1 / 2]
    assert table["difference"].isna().tolist() == [False, True, True]
    assert table["method"].isna().tolist() == [False, True, True]


def test_layers_of_two_models_keep_their_order(made: Make, trials: Table) -> None:
    a = made(trials(0, 16, 32), name="a")
    b = made(trials(32), trials(33, layer="relu", layer_index=1, bit=31), trials(0), name="b")
    assert compare(a, b)["layer"].tolist() == ["conv2d", "dense", "activation", "relu"]


def test_comparison_has_a_fixed_order_of_columns(made: Make, trials: Table) -> None:
    a = made(trials(0), name="a")
    assert compare(a, a, 0.9).columns.tolist() == [
        *("layer", "target", "variable", "fault", "parameters", "bit_field", "bit"),
        *("probability", "count", "ber", "protection", "runs", "trials_a", "trials_b"),
        *("injected_a", "injected_b", "pairs", "rate_a", "rate_b", "difference", "low", "high"),
        "method",
    ]


def test_runs_can_be_compared_by_another_metric(made: Make, trials: Table) -> None:
    a, b = made(trials(0), name="a"), made(trials(0, due=0, due_changed=0, benign=3), name="b")
    assert compare(a, b, metric="due")["difference"].tolist() == [-1 / 6]
    with pytest.raises(ValueError, match="metric names 'sdc_top5'"):
        compare(a, b, metric="sdc_top5")


PAIRED = {"sampling": "paired"}


def test_paired_cells_of_two_models_are_compared_trial_by_trial(made: Make, trials: Table) -> None:
    model = {"version": 1, "model": "cc33", "data": "bb22", "seed": 7}
    a = made(*repetitions_of(3, A, **PAIRED), *repetitions_of(4, A), name="a")
    b = made(
        *repetitions_of(3, [*B, 9], **PAIRED, cell_id=99),
        *repetitions_of(4, B),
        name="b",
        identity=model,
    )
    table = compare(a, b).set_index("bit")
    row = table.loc[3]
    assert (row["method"], row["pairs"], row["trials_b"]) == ("paired t", 12, 13)
    assert (row["rate_a"], row["rate_b"]) == (sum(A) / 120, sum(B) / 120)
    assert (row["low"], row["high"]) == pytest.approx(paired_t((np.array(B) - np.array(A)) / 10))
    assert table.loc[4, ["method", "pairs"]].tolist() == ["newcombe", 0]


def test_paired_run_does_not_differ_from_itself(made: Make, trials: Table) -> None:
    a = made(*repetitions_of(3, A, **PAIRED), *repetitions_of(5, B, **PAIRED), name="a")
    table = compare(a, a)
    assert table[["difference", "low", "high"]].to_numpy().tolist() == [[0, 0, 0]] * 2
    assert table["method"].tolist() == ["paired t"] * 2


@pytest.mark.parametrize("other", [{"seed": 8}, {"data": "dd44"}])
def test_other_data_or_seed_have_other_sites(
    made: Make, trials: Table, other: dict[str, object]
) -> None:
    cells = repetitions_of(3, A, **PAIRED)
    identity = {"version": 1, "model": "aa11", "data": "bb22", "seed": 7}
    a, b = made(*cells, name="a"), made(*cells, name="b", identity=identity | other)
    assert compare(a, b)[["method", "pairs"]].to_numpy().tolist() == [["newcombe", 0]]


def test_paths_are_no_runs(made: Make, trials: Table) -> None:
    a = made(trials(0), name="a")
    with pytest.raises(TypeError, match=r"run_a is 'runs/a', expected a run: open it with open_r"):
        compare("runs/a", a)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="run_b is None"):
        compare(a, None)  # type: ignore[arg-type]


def test_run_without_trials_has_no_cells(made: Make, trials: Table) -> None:
    table = compare(made(trials(0), name="a"), made(trials(), name="b"))
    assert table["runs"].tolist() == ["a"]
    assert table["rate_a"].tolist() == [1 / 2]
