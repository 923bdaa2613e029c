from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from results import Run
from results.analysis.accuracy import mean_accuracy
from results.analysis.criticality import ranks
from results.statistics.intervals import Interval, wilson

Table = Callable[..., pa.Table]
Make = Callable[..., Run]


def at_rate(trials: Table, *sdc: int) -> list[pa.Table]:
    """Trials of one bit each, with ``sdc`` of 1,000 injected samples."""
    tallies = {
        "samples": 1_000,
        "injected": 1_000,
        "masked": 0,
        "due": 0,
        "due_changed": 0,
        "sdc_critical": 0,
    }
    return [
        trials(2 * bit, **tallies, sdc=count, benign=1_000 - count) for bit, count in enumerate(sdc)
    ]


def test_groups_are_ranked_with_the_ranks_that_are_possible(made: Make, trials: Table) -> None:
    table = made(*at_rate(trials, 100, 500, 110, 0)).criticality("bit")
    assert table["bit"].tolist() == [30, 29, 31, 28]
    assert table["rank"].tolist() == [1, 2, 3, 4]
    assert table["rank_low"].tolist() == [1, 2, 2, 4]
    assert table["rank_high"].tolist() == [1, 3, 3, 4]
    assert table["certain"].tolist() == [True, False, False, True]
    assert table["sdc_rate"].tolist() == [0.5, 0.11, 0.1, 0]


def test_table_of_ranks_has_a_fixed_order_of_columns(made: Make, trials: Table) -> None:
    assert made(trials(0)).criticality(["layer", "bit"]).columns.tolist() == [
        *("layer", "bit", "trials", "injected"),
        *("sdc", "sdc_rate", "sdc_low", "sdc_high", "due", "due_rate", "due_low", "due_high"),
        *("critical", "critical_rate", "critical_low", "critical_high"),
        *("sdc+due", "sdc+due_rate", "sdc+due_low", "sdc+due_high", "accuracy"),
        *("rank", "rank_low", "rank_high", "certain", "method"),
    ]


def test_intervals_are_those_of_the_summary(made: Make, trials: Table) -> None:
    opened = made(*at_rate(trials, 100, 500))
    row = opened.criticality("bit").iloc[0]
    assert (row["sdc_low"], row["sdc_high"]) == wilson(500, 1_000)


def test_groups_can_be_ranked_by_due_or_a_criterion(made: Make, trials: Table) -> None:
    tables = [trials(0, due=0, due_changed=0, benign=3, sdc_top5=3), trials(2, sdc_top5=0)]
    opened = made(*tables, columns=("sdc_top5",))
    assert opened.criticality("bit", metric="due")["bit"].tolist() == [30, 31]
    by_top5 = opened.criticality("bit", metric="sdc_top5")
    assert by_top5["bit"].tolist() == [31, 30]
    assert by_top5.columns.tolist()[19:23] == [
        "sdc_top5",
        "sdc_top5_rate",
        "sdc_top5_low",
        "sdc_top5_high",
    ]


def test_groups_are_ranked_by_what_is_lost(made: Make, trials: Table) -> None:
    """A layer whose faults are all noticed is not harmless."""
    loud = {"injected": 6, "masked": 2, "benign": 0, "sdc": 0, "sdc_critical": 0, "due": 4}
    opened = made(trials(0, **loud), trials(2))
    assert opened.criticality("bit")["bit"].tolist() == [31, 30]
    assert opened.criticality("bit")["sdc+due_rate"].tolist() == [4 / 6, 3 / 6]
    assert opened.criticality("bit", metric="sdc")["bit"].tolist() == [30, 31]


def test_groups_can_be_ranked_by_the_accuracy_that_they_lose(made: Make, trials: Table) -> None:
    opened = made(
        trials(0, 1, accuracy=0.85), trials(2, accuracy=0.2), trials(3, accuracy=0.21), trials(4, 5)
    )
    table = opened.criticality("bit", metric="accuracy_lost")
    assert table["bit"].tolist() == [30, 29, 31]
    assert table["accuracy_lost_rate"].tolist() == pytest.approx([0.695, 0.1, 0.05])
    wide = mean_accuracy(opened.trials(), ["bit"])  # bits 29, 30, 31
    assert table["accuracy_lost_low"].tolist() == pytest.approx(
        (0.9 - wide["accuracy_high"])[[1, 0, 2]].tolist()
    )
    assert table["certain"].tolist() == [True, True, True]


def test_ranks_are_within_a_rate(made: Make, trials: Table) -> None:
    """A layer that is hit more often is not more critical."""
    many = {"injected": 10, "masked": 0, "benign": 0, "sdc": 10, "sdc_critical": 10}
    few = {"injected": 10, "masked": 9, "benign": 0, "sdc": 1, "sdc_critical": 1}
    none = {"due": 0, "due_changed": 0}
    table = made(
        trials(0, **few, **none, probability=0.1),
        trials(16, **{**few, "masked": 8, "sdc": 2}, **none, probability=0.1),
        trials(1, **many, **none, probability=1.0),
        trials(17, **{**many, "masked": 1, "sdc": 9, "sdc_critical": 9}, **none, probability=1.0),
    ).criticality("layer")
    assert table.columns[:2].tolist() == ["probability", "layer"]
    assert table["probability"].tolist() == [0.1, 0.1, 1.0, 1.0]
    assert table["layer"].tolist() == ["dense", "conv2d", "conv2d", "dense"]
    assert table["rank"].tolist() == [1, 2, 1, 2]


def test_rates_that_are_asked_for_have_ranks_of_their_own(made: Make, trials: Table) -> None:
    less = {"benign": 3, "sdc": 1}
    opened = made(trials(0, probability=0.1, **less), trials(1, probability=1.0))
    assert opened.criticality("probability")["rank"].tolist() == [1, 2]
    assert opened.criticality(["layer", "probability"])["rank"].tolist() == [1, 1]


def test_a_rate_of_which_little_is_known_does_not_stand_first(made: Make, trials: Table) -> None:
    few = {"injected": 4, "masked": 0, "benign": 0, "sdc": 4, "sdc_critical": 4}
    none = {"due": 0, "due_changed": 0}
    table = made(*at_rate(trials, 800, 100), trials(4, **few, **none)).criticality("bit")
    assert table["bit"].tolist() == [31, 29, 30]
    assert table["sdc+due_rate"].tolist() == [0.8, 1.0, 0.1]
    assert table["rank"].tolist() == [1, 2, 3]
    assert table["rank_low"].tolist() == [1, 1, 3]


def test_group_without_injections_has_no_rank(made: Make, trials: Table) -> None:
    nothing = dict.fromkeys(
        ("injected", "masked", "benign", "sdc", "sdc_critical", "due", "due_changed"), 0
    )
    table = made(trials(0), trials(2, **nothing)).criticality("bit")
    assert table["bit"].tolist() == [31, 30]
    assert table["rank"].isna().tolist() == [False, True]
    assert table["certain"].tolist() == [True, False]


def test_run_without_trials_has_no_ranks(made: Make, trials: Table) -> None:
    table = made(trials()).criticality()
    assert len(table) == 0
    assert table["rank"].dtype == "Int64"


def test_metric_that_there_is_not_is_refused(made: Make, trials: Table) -> None:
    with pytest.raises(ValueError, match="metric names 'sdcs', expected one of: sdc"):
        made(trials(0)).criticality(metric="sdcs")


def test_equal_rates_share_a_rank() -> None:
    rate = np.array([0.2, 0.5, 0.5, np.nan, 0.1])
    place, first, last = ranks(rate, rate, np.stack([rate, rate]))
    assert place[[0, 1, 2, 4]].tolist() == [3, 1, 1, 4]
    assert first[[0, 1, 2, 4]].tolist() == [3, 1, 1, 4]
    assert last[[0, 1, 2, 4]].tolist() == [3, 2, 2, 4]


def test_true_ranks_are_all_within_their_bounds_as_often_as_asked() -> None:
    """2,000 tables of 12 rates; every rank of a table has to be right at once."""
    rng = np.random.default_rng(4)
    truth = np.linspace(0.02, 0.3, 12)
    true_rank = np.arange(12, 0, -1)
    right = 0
    for counts in rng.binomial(300, truth, (2_000, 12)):
        interval: Interval = wilson(counts, 300, 0.95 ** (1 / 12))
        _, first, last = ranks(counts / 300, interval[0], np.stack(interval))
        right += bool(((first <= true_rank) & (true_rank <= last)).all())
    assert right / 2_000 >= 0.945


def test_ranks_are_within_a_sampling_plan(made: Make, trials: Table) -> None:
    """Sites that were all hit, and sites that were drawn, are no sample of the same."""
    few = {"probability": None, "sampling": "exhaustive"}
    table = made(trials(0, 1), trials(16, **few)).criticality("layer")
    assert table.columns[:3].tolist() == ["probability", "sampling", "layer"]
    assert table["rank"].tolist() == [1, 1]
