from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from results import Run, RunHeader, RunWriter, open_run, wilson
from results.analysis.summary import add_up
from results.report.plot_data import accuracy

Table = Callable[..., pa.Table]
NOTHING = dict.fromkeys(
    ("injected", "masked", "benign", "sdc", "sdc_critical", "due", "due_changed"), 0
)


@pytest.fixture
def run(tmp_path: Path, header: RunHeader) -> Callable[..., Run]:
    def make(*tables: pa.Table) -> Run:
        with RunWriter.open(tmp_path / "run", header) as writer:
            for table in tables:
                writer.append(table)
        return open_run(tmp_path / "run")

    return make


def test_one_row_a_layer_and_bit(run: Callable[..., Run], trials: Table) -> None:
    summary = run(trials(*range(48))).summary()
    assert summary.columns.tolist() == [
        "layer",
        "bit",
        "trials",
        "injected",
        "masked",
        "benign",
        "sdc",
        "sdc_critical",
        "due",
        "due_changed",
        "critical",
        "sdc+due",
        "accuracy",
        "golden_accuracy",
        "sdc_rate",
        "sdc_low",
        "sdc_high",
        "due_rate",
        "due_low",
        "due_high",
        "critical_rate",
        "critical_low",
        "critical_high",
        "sdc+due_rate",
        "sdc+due_low",
        "sdc+due_high",
        "method",
    ]
    assert len(summary) == 24
    assert summary["layer"].tolist()[::8] == ["conv2d", "dense", "activation"]
    assert summary["bit"].tolist()[:8] == list(range(24, 32))


def test_counts_are_summed_and_rates_are_over_the_injected(
    run: Callable[..., Run], trials: Table
) -> None:
    row = run(trials(*range(16))).summary("layer").iloc[0]
    assert (row["trials"], row["injected"], row["sdc"], row["due"]) == (16, 96, 32, 16)
    assert (row["masked"], row["benign"], row["sdc_critical"]) == (16, 32, 16)
    assert (row["sdc_rate"], row["due_rate"]) == (32 / 96, 16 / 96)
    assert (row["sdc_low"], row["sdc_high"]) == wilson(32, 96)
    assert (row["due_low"], row["due_high"]) == wilson(16, 96)


def test_accuracy_and_metrics_are_means_of_the_cells(
    header: RunHeader, tmp_path: Path, trials: Table
) -> None:
    """One cell has 3 trials, the other 1; the report says the same."""
    header = replace(header, columns=["metric_loss"])
    with RunWriter.open(tmp_path / "run", header) as writer:
        writer.append(trials(0, accuracy=0.8, metric_loss=1.0))
        for n in range(2):
            again = {"trial_id": n, "repetition": 5 + n}
            writer.append(trials(0, accuracy=0.5, metric_loss=2.5, **again))
        writer.append(trials(2, accuracy=0.2, metric_loss=4.0))
    opened = open_run(tmp_path / "run")
    row = opened.summary("layer").iloc[0]
    assert row["accuracy"] == pytest.approx((0.6 + 0.2) / 2)
    assert row["golden_accuracy"] == pytest.approx(0.9)
    assert row["metric_loss"] == pytest.approx((2.0 + 4.0) / 2)
    assert accuracy(opened)["accuracy"][0] == row["accuracy"]


def test_bounds_follow_the_confidence(run: Callable[..., Run], trials: Table) -> None:
    row = run(trials(0)).summary("layer", confidence=0.5).iloc[0]
    assert (row["sdc_low"], row["sdc_high"]) == wilson(2, 6, 0.5)


def test_group_without_injections_has_no_rates(run: Callable[..., Run], trials: Table) -> None:
    row = run(trials(0, **NOTHING)).summary("layer").iloc[0]
    assert np.isnan(
        [row[f"{name}_{end}"] for name in ("sdc", "due") for end in ("rate", "low")]
    ).all()
    assert row["accuracy"] == 0.8


def test_repeated_trials_count_once(run: Callable[..., Run], trials: Table) -> None:
    assert run(trials(0, 1), trials(0)).summary("layer")["trials"].tolist() == [2]


def test_missing_keys_are_groups_too(run: Callable[..., Run], trials: Table) -> None:
    summary = run(trials(0, bit=None, bit_field="any"), trials(2, 3)).summary(["bit", "bit_field"])
    assert summary["bit"].isna().tolist() == [False, True]
    assert summary["bit_field"].isna().tolist() == [True, False]
    assert summary["trials"].tolist() == [2, 1]
    assert summary["bit"].dtype == "Int16"


CELLS: dict[str, dict[str, object]] = {
    "flip": {},
    "random flip": {"bit": None, "bit_field": "any"},
    "counted": {"bit": None, "bit_field": "any", "probability": None, "count": 3},
    "weights": {"target": "weights", "variable": "kernel", "probability": None, "count": 3},
    "ber": {"target": "weights", "variable": "bias", "probability": None, "ber": 1e-3},
    "scale": {"fault": "scale", "parameters": '{"factor":2}', "bit": None},
    "listed": {"probability": None},
}
"""Cells of all kinds, by what is null in them; each gets trials 2n and 2n + 1, of one bit."""


@pytest.mark.parametrize(
    "by",
    [
        ["bit_field"],
        ["variable"],
        ["parameters"],
        ["bit"],
        ["probability"],
        ["count"],
        ["ber"],
        ["layer", "target", "variable", "bit_field"],
        ["ber", "count", "probability"],
        ["count", "layer", "bit"],
        ["bit", "bit_field", "parameters", "fault", "probability", "count", "ber", "variable"],
    ],
)
def test_null_is_a_group_beside_every_other_value(
    run: Callable[..., Run], trials: Table, row: Callable[[int], dict[str, object]], by: list[str]
) -> None:
    changes = list(CELLS.values())
    made = run(*(trials(2 * n, 2 * n + 1, **change) for n, change in enumerate(changes)))
    summary = add_up(made, by, 0.95)
    rows = [{**row(2 * n), **change} for n, change in enumerate(changes)]
    expected = Counter(tuple(one[name] for name in by) for one in rows)
    groups = summary[by].astype(object).where(summary[by].notna(), None)
    keys = list(groups.itertuples(index=False, name=None))
    assert len(keys) == len(expected)
    found = dict(zip(keys, summary["trials"].tolist(), strict=True))
    assert found == {key: 2 * count for key, count in expected.items()}


def test_targets_faults_and_rates_are_told_apart_without_being_asked_for(
    run: Callable[..., Run], trials: Table
) -> None:
    weights = trials(2, 3, **CELLS["weights"] | {"sites": 3, "injected": 10, "sdc": 6})
    opened = run(trials(0, 1), weights, trials(4, fault="zero", bit=None, bit_field=None))
    summary = opened.summary("layer")
    told = summary[["layer", "target", "fault"]].astype(str).to_numpy().tolist()
    assert told == [
        ["conv2d", "outputs", "bit_flip"],
        ["conv2d", "outputs", "zero"],
        ["conv2d", "weights", "bit_flip"],
    ]
    assert (
        summary.columns.tolist().index("trials") == 5
    )  # and the rate, which weights have as count
    assert summary["trials"].tolist() == [2, 1, 2]
    assert summary["sdc_rate"].tolist()[::2] == [4 / 12, 12 / 20]


def test_bits_of_several_fields_are_told_apart(run: Callable[..., Run], trials: Table) -> None:
    drawn = (trials(2 * n, bit=None, bit_field=one) for n, one in enumerate(("sign", "mantissa")))
    summary = run(*drawn, trials(5)).summary("bit")
    assert summary.columns[:2].tolist() == ["bit", "bit_field"]
    assert summary["trials"].tolist() == [1, 1, 1]


def test_accuracy_may_be_a_mean_score(run: Callable[..., Run], trials: Table) -> None:
    scores = [trials(0, accuracy=0.8125), trials(1, accuracy=0.71875)]
    row = run(*scores).summary("bit").iloc[0]
    assert row["accuracy"] == 0.765625


def test_only_groups_that_occur_are_listed(run: Callable[..., Run], trials: Table) -> None:
    summary = run(trials(0), trials(16, worker="w")).summary(["layer", "worker"])
    assert list(zip(summary["layer"], summary["worker"], strict=True)) == [
        ("conv2d", "worker-0"),
        ("dense", "w"),
    ]


@pytest.mark.parametrize(
    "by",
    [
        "layer_type",
        "target",
        "fault",
        "parameters",
        "probability",
        "count",
        "ber",
        "variable",
        "repetition",
        "sites",
    ],
)
def test_every_other_column_can_be_grouped_by(
    run: Callable[..., Run], trials: Table, by: str
) -> None:
    assert run(trials(0, 1)).summary(by)["trials"].sum() == 2


def test_column_named_twice_is_grouped_by_once(run: Callable[..., Run], trials: Table) -> None:
    assert run(trials(0)).summary(["bit", "bit"]).columns.tolist().count("bit") == 1


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("lyer", "by names 'lyer', expected one of: layer"),
        (["layer", "sdc"], "by names 'sdc', expected one of: "),
        ("accuracy", "by names 'accuracy'"),
        ([], "by is empty, expected at least one of: trial_id, "),
    ],
)
def test_column_that_cannot_be_grouped_by_is_named(
    run: Callable[..., Run], trials: Table, by: str | list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(trials(0)).summary(by)


def test_confidence_out_of_range_is_refused(run: Callable[..., Run], trials: Table) -> None:
    with pytest.raises(ValueError, match="confidence is 95"):
        run(trials(0)).summary("layer", confidence=95)
