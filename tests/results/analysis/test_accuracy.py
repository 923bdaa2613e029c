import numpy as np
import pandas as pd
import pytest
from scipy import stats

from results.analysis.accuracy import mean_accuracy


def trials_of(*cells: list[float], sampling: str = "random") -> pd.DataFrame:
    rows = [
        {
            "layer": "conv",
            "cell_id": cell,
            "sampling": sampling,
            "accuracy": accuracy,
            "golden_accuracy": 0.9,
        }
        for cell, accuracies in enumerate(cells)
        for accuracy in accuracies
    ]
    return pd.DataFrame(rows)


def interval(*cells: list[float], confidence: float = 0.95) -> tuple[float, float, float]:
    row = mean_accuracy(trials_of(*cells), ["layer"], confidence=confidence).iloc[0]
    return row["accuracy"], row["accuracy_low"], row["accuracy_high"]


def test_the_interval_of_one_cell_is_students() -> None:
    values = [0.5, 0.6, 0.55, 0.7]
    expected = stats.t.interval(0.9, 3, np.mean(values), stats.sem(values))
    mean, low, high = interval(values, confidence=0.9)
    assert mean == pytest.approx(np.mean(values))
    assert (low, high) == pytest.approx(expected)


def test_cells_are_strata_so_that_their_difference_does_not_widen_the_interval() -> None:
    one, other = [0.2, 0.22], [0.8, 0.82]
    deviation = np.sqrt((np.var(one, ddof=1) / 2 + np.var(other, ddof=1) / 2) / 4)
    half = stats.t.ppf(0.975, 2) * deviation
    assert interval(one, other) == pytest.approx((0.51, 0.51 - half, 0.51 + half))


def test_a_cell_with_more_trials_does_not_count_for_more() -> None:
    assert interval([0.4] * 9, [0.8, 0.8])[0] == pytest.approx(0.6)


def test_with_one_trial_a_cell_the_trials_are_one_stratum() -> None:
    values = [0.5, 0.6, 0.7]
    expected = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert interval(*([value] for value in values))[1:] == pytest.approx(expected)


def test_a_single_trial_has_no_interval() -> None:
    mean, low, high = interval([0.5])
    assert mean == 0.5
    assert np.isnan([low, high]).all()


def test_bounds_stay_within_0_and_1() -> None:
    assert interval([0.0, 1.0])[1:] == (0.0, 1.0)


def test_exhaustive_cells_count_by_their_places_and_are_exact() -> None:
    trials = trials_of([0.4, 0.5, 0.6], [0.9], sampling="exhaustive")
    row = mean_accuracy(trials, ["layer"], sites={"0": 3, "1": 1}).iloc[0]
    assert row["accuracy"] == pytest.approx(0.6)
    assert row["accuracy_low"] == row["accuracy"] == row["accuracy_high"]


def test_unfinished_exhaustive_cell_keeps_an_interval() -> None:
    trials = trials_of([0.4, 0.5, 0.6], [0.9], sampling="exhaustive")
    row = mean_accuracy(trials, ["layer"], sites={"0": 9, "1": 1}).iloc[0]
    half = stats.t.ppf(0.975, 2) * 0.9 * np.sqrt(0.1**2 / 3 * (1 - 3 / 9))
    assert row["accuracy"] == pytest.approx((9 * 0.5 + 0.9) / 10)
    assert row["accuracy_high"] - row["accuracy"] == pytest.approx(half)
