from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from results import ResultsError, Run, RunHeader, RunWriter, compare, injections_table, open_run
from results.criticality import ranks
from results.intervals import Interval, paired_t, square_and_add, wilson

Table = Callable[..., pa.Table]
Make = Callable[..., Run]


@pytest.fixture
def run(tmp_path: Path, header: RunHeader) -> Make:
    def make(
        *tables: pa.Table, injections: pa.Table | None = None, name: str = "run", **changes: object
    ) -> Run:
        with RunWriter.open(tmp_path / name, replace(header, **changes)) as writer:  # type: ignore[arg-type]
            writer.append(pa.concat_tables(tables), injections)
        return open_run(tmp_path / name)

    return make


def hits(*rows: dict[str, object], number: int = 0) -> pa.Table:
    """Injections of trial ``number``, in element 0 of sample 0 unless told otherwise."""
    row = {
        "trial_id": 2**64 - 1 - number * 7919,
        "layer": "conv2d",
        "sample": 0,
        "variable": None,
        "element": 0,
        "bit": 31,
        "original": 1.0,
        "corrupted": -1.0,
        "outcome": "sdc",
        "golden_class": 7,
        "faulty_class": 1,
    }
    return injections_table([{**row, **change} for change in rows])


# --- criticality


def at_rate(trials: Table, *sdc: int) -> list[pa.Table]:
    """Trials of one bit each, with ``sdc`` of 1,000 injected samples."""
    tallies = {"samples": 1_000, "injected": 1_000, "masked": 0, "due": 0, "sdc_critical": 0}
    return [
        trials(2 * bit, **tallies, sdc=count, benign=1_000 - count) for bit, count in enumerate(sdc)
    ]


def test_groups_are_ranked_with_the_ranks_that_are_possible(run: Make, trials: Table) -> None:
    table = run(*at_rate(trials, 100, 500, 110, 0)).criticality("bit")
    assert table["bit"].tolist() == [30, 29, 31, 28]
    assert table["rank"].tolist() == [1, 2, 3, 4]
    assert table["rank_low"].tolist() == [1, 2, 2, 4]
    assert table["rank_high"].tolist() == [1, 3, 3, 4]
    assert table["certain"].tolist() == [True, False, False, True]
    assert table["sdc_rate"].tolist() == [0.5, 0.11, 0.1, 0]


def test_table_of_ranks_has_a_fixed_order_of_columns(run: Make, trials: Table) -> None:
    assert run(trials(0)).criticality(["layer", "bit"]).columns.tolist() == [
        *("layer", "bit", "trials", "injected"),
        *("sdc", "sdc_rate", "sdc_low", "sdc_high", "due", "due_rate", "due_low", "due_high"),
        *("rank", "rank_low", "rank_high", "certain", "method"),
    ]


def test_intervals_are_those_of_the_summary(run: Make, trials: Table) -> None:
    opened = run(*at_rate(trials, 100, 500))
    row = opened.criticality("bit").iloc[0]
    assert (row["sdc_low"], row["sdc_high"]) == wilson(500, 1_000)


def test_groups_can_be_ranked_by_due_or_a_criterion(run: Make, trials: Table) -> None:
    tables = [trials(0, due=0, benign=3, sdc_top5=3), trials(2, sdc_top5=0)]
    opened = run(*tables, columns=("sdc_top5",))
    assert opened.criticality("bit", metric="due")["bit"].tolist() == [30, 31]
    by_top5 = opened.criticality("bit", metric="sdc_top5")
    assert by_top5["bit"].tolist() == [31, 30]
    assert by_top5.columns.tolist()[11:15] == [
        "sdc_top5",
        "sdc_top5_rate",
        "sdc_top5_low",
        "sdc_top5_high",
    ]


def test_group_without_injections_has_no_rank(run: Make, trials: Table) -> None:
    nothing = dict.fromkeys(("injected", "masked", "benign", "sdc", "sdc_critical", "due"), 0)
    table = run(trials(0), trials(2, **nothing)).criticality("bit")
    assert table["bit"].tolist() == [31, 30]
    assert table["rank"].isna().tolist() == [False, True]
    assert table["certain"].tolist() == [True, False]


def test_run_without_trials_has_no_ranks(run: Make, trials: Table) -> None:
    table = run(trials()).criticality()
    assert len(table) == 0
    assert table["rank"].dtype == "Int64"


def test_metric_that_there_is_not_is_refused(run: Make, trials: Table) -> None:
    with pytest.raises(ValueError, match="metric names 'sdcs', expected one of: sdc"):
        run(trials(0)).criticality(metric="sdcs")


def test_equal_rates_share_a_rank() -> None:
    rate = np.array([0.2, 0.5, 0.5, np.nan, 0.1])
    place, first, last = ranks(rate, (rate, rate))
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
        _, first, last = ranks(counts / 300, interval)
        right += bool(((first <= true_rank) & (true_rank <= last)).all())
    assert right / 2_000 >= 0.945


# --- vulnerability map


def test_elements_have_their_outcomes_and_rates(run: Make, trials: Table) -> None:
    rows = hits(
        {"element": 5},
        {"element": 5, "sample": 1, "outcome": "masked"},
        {"element": 9, "outcome": "due", "faulty_class": None},
    )
    table = run(trials(0), injections=rows).vulnerability_map("conv2d")
    assert table.columns.tolist() == [
        *("element", "injected", "masked", "benign", "sdc", "due", "sdc_rate", "sdc_low"),
        *("sdc_high", "due_rate", "due_low", "due_high", "method"),
    ]
    assert table["element"].tolist() == [5, 9]
    assert table[["injected", "masked", "benign", "sdc", "due"]].to_numpy().tolist() == [
        [2, 1, 0, 1, 0],
        [1, 0, 0, 0, 1],
    ]
    assert (table["sdc_low"][0], table["sdc_high"][0]) == wilson(1, 2)
    assert table["due_rate"].tolist() == [0, 1]


def test_channels_are_the_last_axis(run: Make, trials: Table) -> None:
    """The layer's shape is 8 x 8 x 4."""
    rows = hits({"element": 2}, {"element": 6}, {"element": 7})
    table = run(trials(0), injections=rows).vulnerability_map("conv2d", by="channel")
    assert table[["channel", "injected"]].to_numpy().tolist() == [[2, 2], [3, 1]]


def test_positions_are_the_other_axes(run: Make, trials: Table) -> None:
    elements = [np.ravel_multi_index(at, (8, 8, 4)) for at in ((0, 3, 1), (0, 3, 2), (5, 1, 0))]
    rows = hits(*({"element": int(element)} for element in elements))
    table = run(trials(0), injections=rows).vulnerability_map("conv2d", by="position")
    columns = ["position", "axis_0", "axis_1", "injected"]
    assert table.columns.tolist()[:4] == columns
    assert table[columns].to_numpy().tolist() == [[3, 0, 3, 2], [41, 5, 1, 1]]


def test_first_axis_may_have_any_size(run: Make, trials: Table) -> None:
    layers = {"conv2d": {"type": "LSTM", "shape": [None, 4], "dtype": "float32"}}
    opened = run(trials(0), injections=hits({"element": 9}), layers=layers)
    table = opened.vulnerability_map("conv2d", by="position")
    assert table[["position", "axis_0"]].to_numpy().tolist() == [[2, 2]]


def test_layer_whose_shape_is_not_known_has_elements_only(run: Make, trials: Table) -> None:
    layers = {"conv2d": {"type": "Conv2D", "shape": [None, None, None], "dtype": "float32"}}
    opened = run(trials(0), injections=hits({}), layers=layers)
    assert len(opened.vulnerability_map("conv2d")) == 1
    for by in ("channel", "position"):
        with pytest.raises(ResultsError, match=r"has the shape \[None, None, None\]") as caught:
            opened.vulnerability_map("conv2d", by=by)
        assert 'Map it with by="element"' in str(caught.value)
        assert caught.value.place == opened.path


WEIGHTS = {"target": "weights", "variable": "kernel"}


def test_faults_in_weights_are_the_units(run: Make, trials: Table) -> None:
    """Two faults on four samples each, whose outcomes belong together."""
    rows = [
        hits(
            *({"variable": "kernel", "sample": n, "outcome": what} for n in range(4)), number=trial
        )
        for trial, what in ((0, "sdc"), (1, "masked"))
    ]
    opened = run(trials(0, 1, **WEIGHTS), injections=pa.concat_tables(rows))
    table = opened.vulnerability_map("conv2d")
    assert table[["injected", "sdc", "sdc_rate"]].to_numpy().tolist() == [[8, 4, 0.5]]
    assert table["method"].tolist() == ["korn-graubard"]
    assert table["sdc_high"][0] > wilson(4, 8)[1]


def test_variable_has_to_be_given_where_there_are_several(run: Make, trials: Table) -> None:
    rows = hits({"variable": "kernel"}, {"variable": "bias", "element": 3})
    opened = run(trials(0, **WEIGHTS), injections=rows)
    with pytest.raises(ValueError, match="give one of bias, kernel"):
        opened.vulnerability_map("conv2d")
    assert opened.vulnerability_map("conv2d", variable="bias")["element"].tolist() == [3]
    with pytest.raises(ValueError, match="variable names 'kernl', expected one of: kernel"):
        opened.vulnerability_map("conv2d", variable="kernl")
    with pytest.raises(ValueError, match="expected 'element': weights have no channels"):
        opened.vulnerability_map("conv2d", by="channel", variable="kernel")


def test_outputs_are_mapped_where_weights_were_hit_too(run: Make, trials: Table) -> None:
    rows = pa.concat_tables([hits({"element": 3}), hits({"variable": "kernel"}, number=2)])
    opened = run(trials(0), trials(2, **WEIGHTS), injections=rows)
    assert opened.vulnerability_map("conv2d")["element"].tolist() == [3]
    assert opened.vulnerability_map("conv2d", variable="kernel")["element"].tolist() == [0]


def test_map_of_all_sites_is_exact(run: Make, trials: Table) -> None:
    plan = {"trials": 1, "layers": {"conv2d": 1}, "exhaustive": {"0": 1}}
    rows = hits({}, {"sample": 1, "outcome": "benign"})
    opened = run(trials(0, sampling="exhaustive"), injections=rows, plan=plan)
    row = opened.vulnerability_map("conv2d").iloc[0]
    assert (row["sdc_low"], row["sdc_rate"], row["sdc_high"], row["method"]) == (
        0.5,
        0.5,
        0.5,
        "exact",
    )


def test_unknown_layer_and_part_are_named(run: Make, trials: Table) -> None:
    opened = run(trials(0), injections=hits({}))
    with pytest.raises(ValueError, match="layer names 'conv', expected one of: conv2d"):
        opened.vulnerability_map("conv")
    with pytest.raises(ValueError, match="by names 'chanel', expected one of: channel"):
        opened.vulnerability_map("conv2d", by="chanel")  # type: ignore[arg-type]


def test_run_without_injections_says_what_to_do(run: Make, trials: Table) -> None:
    opened = run(trials(0))
    for ask in (opened.class_drift, lambda: opened.vulnerability_map("conv2d")):
        with pytest.raises(ResultsError, match="no injections were recorded") as caught:
            ask()
        assert "`record: injections`" in str(caught.value)
        assert caught.value.place == opened.path


# --- class drift


def test_drift_counts_the_sdc_samples_of_each_pair_of_classes(run: Make, trials: Table) -> None:
    rows = hits(
        {},
        {"sample": 1},
        {"sample": 2, "faulty_class": 3},
        {"sample": 3, "golden_class": 2},
        {"sample": 4, "outcome": "benign", "faulty_class": 7},
        {"sample": 5, "outcome": "due", "faulty_class": None},
    )
    drift = run(trials(0), injections=rows).class_drift()
    assert drift.columns.tolist() == ["golden_class", "faulty_class", "count", "share"]
    assert drift.to_numpy().tolist() == [[2, 1, 1, 1], [7, 1, 2, 2 / 3], [7, 3, 1, 1 / 3]]


def test_sample_with_several_sites_counts_once(run: Make, trials: Table) -> None:
    drift = run(trials(0), injections=hits({"element": 1}, {"element": 2})).class_drift()
    assert drift["count"].tolist() == [1]


def test_model_without_classes_has_no_drift(run: Make, trials: Table) -> None:
    rows = hits({"golden_class": None, "faulty_class": None})
    with pytest.raises(ResultsError, match="have no classes"):
        run(trials(0), injections=rows).class_drift()


# --- differences


def repeated(trials: Table, bit: int, counts: list[int], **changes: object) -> list[pa.Table]:
    """Trials of one cell, of 10 injected samples each."""
    same = {"injected": 10, "masked": 0, "due": 0, "sdc_critical": 0, "cell_id": bit, "bit": bit}
    same |= {"layer": "conv2d", "layer_index": 0}
    return [
        trials(
            100 * bit + n, **{**same, "repetition": n, "sdc": sdc, "benign": 10 - sdc, **changes}
        )
        for n, sdc in enumerate(counts)
    ]


A = [1, 0, 3, 2, 5, 1, 2, 4, 1, 3, 2, 1]
B = [2, 1, 3, 4, 6, 1, 3, 6, 2, 4, 2, 3]


def test_cells_that_share_sites_are_compared_trial_by_trial(run: Make, trials: Table) -> None:
    paired = {"sampling": "paired"}
    opened = run(*repeated(trials, 3, A, **paired), *repeated(trials, 5, B, **paired))
    row = opened.differences("bit").iloc[0]
    expected = paired_t((np.array(B) - np.array(A)) / 10)
    assert (row["bit_a"], row["bit_b"], row["pairs"], row["method"]) == (3, 5, 12, "paired t")
    assert row["difference"] == pytest.approx((sum(B) - sum(A)) / 120)
    assert (row["low"], row["high"]) == pytest.approx(expected)
    free = square_and_add(row["rate_a"], wilson(sum(A), 120), row["rate_b"], wilson(sum(B), 120))
    assert row["high"] - row["low"] < 0.6 * (free[1] - free[0])


def test_only_trials_that_both_cells_have_are_pairs(run: Make, trials: Table) -> None:
    paired = {"sampling": "paired"}
    opened = run(*repeated(trials, 3, [*A, 9, 9], **paired), *repeated(trials, 5, B, **paired))
    row = opened.differences("bit").iloc[0]
    assert (row["pairs"], row["rate_a"]) == (12, sum(A) / 120)


def test_differences_with_hits_that_vary_are_those_of_rates(run: Make, trials: Table) -> None:
    """With nested hits the cells inject different numbers of samples in a trial."""
    common = {"sampling": "paired", "bit": 3}
    few = [
        trials(
            n,
            **common,
            probability=0.1,
            cell_id=1,
            repetition=n,
            injected=2,
            masked=0,
            due=0,
            sdc=n % 2,
            benign=2 - n % 2,
            sdc_critical=0,
        )
        for n in range(12)
    ]
    many = [
        trials(
            50 + n,
            **common,
            probability=0.5,
            cell_id=2,
            repetition=n,
            injected=6,
            masked=0,
            due=0,
            sdc=3 * (n % 2),
            benign=6 - 3 * (n % 2),
            sdc_critical=0,
        )
        for n in range(12)
    ]
    row = run(*few, *many).differences("probability").iloc[0]
    assert (row["probability_a"], row["probability_b"], row["method"]) == (0.1, 0.5, "newcombe")
    assert (row["rate_a"], row["rate_b"], row["difference"]) == (0.25, 0.25, 0)


@pytest.mark.parametrize("counts", [A[:6], [0] * 11 + [1]])
def test_too_few_pairs_are_taken_as_independent(
    run: Make, trials: Table, counts: list[int]
) -> None:
    paired = {"sampling": "paired"}
    zeros = [0] * len(counts)
    opened = run(*repeated(trials, 3, zeros, **paired), *repeated(trials, 5, counts, **paired))
    row = opened.differences("bit").iloc[0]
    n = 10 * len(counts)
    expected = square_and_add(0, wilson(0, n), sum(counts) / n, wilson(sum(counts), n))
    assert (row["method"], row["pairs"]) == ("newcombe", len(counts))
    assert (row["low"], row["high"]) == pytest.approx(expected)


def test_random_cells_are_independent(run: Make, trials: Table) -> None:
    row = run(*repeated(trials, 3, A), *repeated(trials, 5, B)).differences("bit").iloc[0]
    assert (row["method"], row["pairs"]) == ("newcombe", 0)


def test_faults_in_weights_are_compared_by_trials(run: Make, trials: Table) -> None:
    cells = [*repeated(trials, 3, A, **WEIGHTS), *repeated(trials, 5, B, **WEIGHTS)]
    opened = run(*cells)
    row = opened.differences("bit").iloc[0]
    both = opened.summary("bit")
    expected = square_and_add(
        both["sdc_rate"][0],
        (both["sdc_low"][0], both["sdc_high"][0]),
        both["sdc_rate"][1],
        (both["sdc_low"][1], both["sdc_high"][1]),
    )
    assert row["method"] == "square and add"
    assert (row["low"], row["high"]) == pytest.approx(expected)


def test_exact_rates_differ_exactly(run: Make, trials: Table) -> None:
    plan = {"trials": 4, "layers": {"conv2d": 4}, "exhaustive": {"0": 2, "1": 2}}
    tables = [
        trials(0, 1, sampling="exhaustive"),
        trials(2, 3, sampling="exhaustive", due=0, benign=3),
    ]
    row = run(*tables, plan=plan).differences("bit", metric="due").iloc[0]
    assert row["method"] == "exact"
    assert (row["low"], row["difference"], row["high"]) == (1 / 6, 1 / 6, 1 / 6)


def test_all_pairs_or_those_with_the_baseline(run: Make, trials: Table) -> None:
    opened = run(trials(*range(8)), trials(16, 18))
    every = opened.differences("bit")
    assert list(zip(every["layer"], every["bit_a"], every["bit_b"], strict=True)) == [
        *(("conv2d", a, b) for a in range(28, 32) for b in range(a + 1, 32)),
        ("dense", 30, 31),
    ]
    based = opened.differences("bit", baseline=30)
    assert list(zip(based["layer"], based["bit_a"], based["bit_b"], strict=True)) == [
        *(("conv2d", 30, b) for b in (28, 29, 31)),
        ("dense", 30, 31),
    ]


def test_cells_differ_in_nothing_else(run: Make, trials: Table) -> None:
    opened = run(trials(0), trials(2, probability=0.25), trials(4, fault="stuck_at"))
    assert len(opened.differences("bit")) == 0
    assert opened.differences("bit").columns.tolist() == [
        *("layer", "target", "variable", "fault", "parameters", "bit_field", "probability"),
        *("count", "ber", "sampling", "bit_a", "bit_b", "pairs", "rate_a", "rate_b"),
        *("difference", "low", "high", "method"),
    ]


def test_layers_can_be_compared_too(run: Make, trials: Table) -> None:
    row = run(trials(0, 16)).differences("layer").iloc[0]
    assert (row["layer_a"], row["layer_b"], row["method"]) == ("conv2d", "dense", "newcombe")


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
    run: Make, trials: Table, ask: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(trials(0, 2)).differences(**ask)  # type: ignore[arg-type]


# --- two runs


def test_same_cells_of_two_runs_are_compared(run: Make, trials: Table) -> None:
    a = run(*repeated(trials, 3, A), name="a")
    b = run(*repeated(trials, 3, B, cell_id=99), name="b")
    row = compare(a, b).iloc[0]
    expected = square_and_add(sum(A) / 120, wilson(sum(A), 120), sum(B) / 120, wilson(sum(B), 120))
    assert (row["runs"], row["trials_a"], row["trials_b"]) == ("both", 12, 12)
    assert (row["injected_a"], row["injected_b"], row["method"]) == (120, 120, "newcombe")
    assert row["difference"] == pytest.approx((sum(B) - sum(A)) / 120)
    assert (row["low"], row["high"]) == pytest.approx(expected)


def test_cells_of_one_run_only_are_told(run: Make, trials: Table) -> None:
    a, b = run(trials(0, 2), name="a"), run(trials(2, 4), name="b")
    table = compare(a, b)
    assert table["bit"].tolist() == [30, 31, 29]
    assert table["runs"].tolist() == ["both", "a", "b"]
    assert table["trials_b"].tolist() == [1, 0, 1]
    assert table["rate_a"].tolist()[:2] == [1 / 3, 1 / 3]
    assert table["difference"].isna().tolist() == [False, True, True]
    assert table["method"].isna().tolist() == [False, True, True]


def test_layers_of_two_models_keep_their_order(run: Make, trials: Table) -> None:
    a = run(trials(0, 16, 32), name="a")
    b = run(trials(32), trials(33, layer="relu", layer_index=1, bit=31), trials(0), name="b")
    assert compare(a, b)["layer"].tolist() == ["conv2d", "dense", "activation", "relu"]


def test_comparison_has_a_fixed_order_of_columns(run: Make, trials: Table) -> None:
    a = run(trials(0), name="a")
    assert compare(a, a, 0.9).columns.tolist() == [
        *("layer", "target", "variable", "fault", "parameters", "bit_field", "bit"),
        *("probability", "count", "ber", "runs", "trials_a", "trials_b"),
        *("injected_a", "injected_b", "rate_a", "rate_b", "difference", "low", "high", "method"),
    ]


def test_runs_can_be_compared_by_another_metric(run: Make, trials: Table) -> None:
    a, b = run(trials(0), name="a"), run(trials(0, due=0, benign=3), name="b")
    assert compare(a, b, metric="due")["difference"].tolist() == [-1 / 6]
    with pytest.raises(ValueError, match="metric names 'sdc_top5'"):
        compare(a, b, metric="sdc_top5")
