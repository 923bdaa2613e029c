"""Which interval a row of a summary gets."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from results import Run, RunHeader, RunWriter, open_run, wilson
from results.analysis.summary import add_up
from results.statistics.clusters import cluster_wilson, clustered_sums
from results.statistics.strata import Strata, stratified

Table = Callable[..., pa.Table]
Make = Callable[..., Run]
WEIGHTS = {
    "target": "weights",
    "variable": "kernel",
    "injected": 10,
    "masked": 5,
    "sdc_critical": 0,
    "due_changed": 0,
}


@pytest.fixture
def run(tmp_path: Path, header: RunHeader) -> Make:
    def make(
        *tables: pa.Table,
        complete: dict[str, int] | None = None,
        sites: dict[str, int] | None = None,
    ) -> Run:
        plan = {**header.plan, "exhaustive": complete or {}, "sites": sites or {}}
        with RunWriter.open(tmp_path / "run", replace(header, plan=plan)) as writer:
            for table in tables:
                writer.append(table)
        return open_run(tmp_path / "run")

    return make


def bounds(row: object, name: str = "sdc") -> tuple[float, float, float]:
    return tuple(row[f"{name}_{end}"] for end in ("rate", "low", "high"))  # type: ignore[index, return-value]


def test_cells_with_as_many_trials_get_wilson_on_the_sums(run: Make, trials: Table) -> None:
    row = run(trials(*range(16))).summary("layer").iloc[0]
    assert row["method"] == "wilson"
    assert bounds(row) == (32 / 96, *wilson(32, 96))


def test_cell_with_more_trials_counts_for_no_more(run: Make, trials: Table) -> None:
    """Cell 0 has 2 trials with 2 of 6, cell 1 has 1 trial with 0 of 6."""
    row = run(trials(0, 1), trials(2, sdc=0, sdc_critical=0, benign=4)).summary("layer").iloc[0]
    expected = stratified([4, 0], [12, 6], Strata.of([6, 6]))
    assert row["method"] == "stratified wilson"
    assert bounds(row) == pytest.approx(
        ((2 / 6 + 0) / 2, float(expected.low[0]), float(expected.high[0]))
    )
    assert (row["sdc"], row["injected"]) == (4, 18)


@pytest.mark.parametrize("more", [{}, WEIGHTS])
def test_cells_whose_sites_are_told_count_by_them(
    more: dict[str, object], run: Make, trials: Table
) -> None:
    """What a precision of a layer or the network stops by."""
    opened = run(
        trials(0, 1, **more), trials(2, **{**more, "sdc": 0, "benign": 4, "sdc_critical": 0})
    )
    cells = opened.trials().groupby("cell_id", sort=True)["sdc"].agg(["sum", "count"])
    names = [str(name) for name in cells.index]
    found = run(sites={name: 3 - 2 * place for place, name in enumerate(names)})
    row = found.summary("layer").iloc[0]
    each = 10 if more else 6
    injected = cells["count"] * each
    squares = [sum(one**2 for one in part["sdc"]) for _, part in opened.trials().groupby("cell_id")]
    by_trial = (cells["count"], injected, cells["sum"], squares)
    by_sample = (injected, injected, cells["sum"], cells["sum"])
    expected = clustered_sums(*(by_trial if more else by_sample), Strata.of([3, 1]))
    assert row["method"] == ("cluster wilson" if more else "stratified wilson")
    assert bounds(row) == pytest.approx(
        (float(expected.rate[0]), float(expected.low[0]), float(expected.high[0])), rel=1e-12
    )
    assert run().summary("layer").iloc[0]["sdc_rate"] == row["sdc_rate"]  # it stays known


def test_cells_weigh_as_much_as_they_inject_in_a_trial(run: Make, trials: Table) -> None:
    """So the rate is the pooled one as soon as the trials are as many."""
    seldom = {
        "probability": 0.1,
        "injected": 2,
        "masked": 0,
        "benign": 1,
        "sdc": 0,
        "sdc_critical": 0,
        "due_changed": 0,
    }
    some = run(trials(0), trials(2, 3, **seldom))
    assert add_up(some, ["layer"], 0.95)["sdc_rate"][0] == pytest.approx(2 / (6 + 2))
    again = run(trials(1))
    assert add_up(again, ["layer"], 0.95)["sdc_rate"][0] == 4 / (12 + 4)


def test_one_cell_gets_wilson_however_many_trials_it_has(run: Make, trials: Table) -> None:
    summary = run(trials(0, 1), trials(2)).summary()
    assert summary["method"].tolist() == ["wilson", "wilson"]


def test_trials_are_the_units_for_weights(run: Make, trials: Table) -> None:
    tables = [
        trials(n, **WEIGHTS, cell_id=1, repetition=n, sdc=sdc, benign=4 - sdc)
        for n, sdc in enumerate((0, 3, 1, 0))
    ]
    row = run(*tables).summary("layer").iloc[0]
    assert row["method"] == "cluster wilson"
    assert bounds(row) == pytest.approx((0.1, *cluster_wilson(4, 40, 4, 9 + 1)))
    assert row["sdc_high"] > wilson(4, 40)[1]


def test_weight_faults_that_were_never_seen_are_bounded_by_their_number(
    run: Make, trials: Table
) -> None:
    """30 trials on 10 samples each are 30 faults, not 300."""
    never = {**WEIGHTS, "cell_id": 1, "sdc": 0, "benign": 4}
    tables = [trials(n, **never, repetition=n) for n in range(30)]
    row = run(*tables).summary("target").iloc[0]
    assert bounds(row) == pytest.approx((0, *wilson(0, 30)))


def test_outputs_and_weights_in_one_group_have_trials_as_units(run: Make, trials: Table) -> None:
    opened = run(trials(0, 1), trials(2, 3, **WEIGHTS))
    assert add_up(opened, ["layer"], 0.95)["method"].tolist() == ["cluster wilson"]
    assert add_up(opened, ["target"], 0.95)["method"].tolist() == ["wilson", "cluster wilson"]


def test_complete_exhaustive_cells_are_exact(run: Make, trials: Table) -> None:
    opened = run(trials(0, 1, 2, sampling="exhaustive"), complete={"0": 2, "1": 2})
    summary = opened.summary()
    assert summary["method"].tolist() == ["cluster wilson", "exact"]  # bits 30 and 31
    assert bounds(summary.iloc[1]) == (1 / 3, 1 / 3, 1 / 3)
    assert bounds(summary.iloc[1], "due") == (1 / 6, 1 / 6, 1 / 6)
    assert opened.summary("layer")["method"].tolist() == ["cluster wilson"]
    again = run(trials(3, sampling="exhaustive"), complete={"0": 2, "1": 2})
    assert again.summary("layer")["method"].tolist() == ["exact"]


def test_exact_rate_may_be_0_beside_rates_of_clusters(run: Make, trials: Table) -> None:
    nothing = {"sdc": 0, "sdc_critical": 0, "benign": 4}
    tables = [trials(n, sampling="exhaustive", **nothing) for n in (0, 1, 2)]
    summary = run(*tables, complete={"0": 2, "1": 2}).summary()
    assert summary["method"].tolist() == ["cluster wilson", "exact"]
    assert bounds(summary.iloc[1]) == (0, 0, 0)


def test_exhaustive_cells_of_a_wider_plan_stay_exact(run: Make, trials: Table) -> None:
    tables = [trials(0, 1, sampling="exhaustive"), trials(2, 3, sampling="exhaustive")]
    run(*tables, complete={"0": 2, "1": 2})
    narrowed = run(complete={"0": 2})
    assert narrowed.summary()["method"].tolist() == ["exact", "exact"]
    assert narrowed.plan["exhaustive"] == {"0": 2, "1": 2}
    again = run(trials(4, 5, sampling="exhaustive"), complete={"2": 2})
    assert again.summary("layer")["method"].tolist() == ["exact"]


def test_exhaustive_cell_that_the_plan_does_not_know_is_not_exact(run: Make, trials: Table) -> None:
    assert run(trials(0, 1, sampling="exhaustive")).summary()["method"].tolist() == [
        "cluster wilson"
    ]


def test_exhaustive_and_random_cells_share_a_group(run: Make, trials: Table) -> None:
    """The complete one has no error: the interval is narrower than of two random ones."""
    opened = run(trials(0, 1, sampling="exhaustive"), trials(2, 3), complete={"0": 2})
    row = add_up(opened, ["layer"], 0.95).iloc[0]
    assert row["method"] == "stratified wilson"
    assert bounds(row) == pytest.approx((1 / 3, *wilson(48 / 3, 48)))


def test_cells_that_share_their_sites_are_one_observation(run: Make, trials: Table) -> None:
    """8 bits at the same 12 sites are 12 observations, not 96."""
    row = run(trials(*range(16), sampling="paired")).summary("layer").iloc[0]
    assert row["method"] == "stratified wilson"
    assert bounds(row) == pytest.approx((1 / 3, *wilson(4, 12)))


def test_paired_bits_apart_are_as_any_cells(run: Make, trials: Table) -> None:
    summary = run(trials(*range(16), sampling="paired")).summary("bit")
    assert set(summary["method"]) == {"wilson"}


def test_paired_weights_vary_together(run: Make, trials: Table) -> None:
    """Two bits with the same outcomes are as certain as one of them."""
    tables = [
        trials(
            2 * n + cell,
            **WEIGHTS,
            sampling="paired",
            cell_id=cell,
            bit=cell,
            repetition=n,
            sdc=sdc,
            benign=4 - sdc,
        )
        for n, sdc in enumerate((0, 3, 1, 0))
        for cell in range(2)
    ]
    opened = run(*tables)
    one, both = opened.summary("bit").iloc[0], opened.summary("target").iloc[0]
    assert bounds(both) == pytest.approx(bounds(one))


def test_group_without_injections_has_no_bounds(run: Make, trials: Table) -> None:
    nothing = dict.fromkeys(
        ("injected", "masked", "benign", "sdc", "sdc_critical", "due", "due_changed"), 0
    )
    summary = run(
        trials(0, 1, **nothing), trials(2, 3, **nothing, target="weights", variable="kernel")
    ).summary("target")
    assert np.isnan(summary[["sdc_rate", "sdc_low", "due_high"]].to_numpy(float)).all()


def test_cell_without_injections_takes_nothing_from_others(run: Make, trials: Table) -> None:
    nothing = dict.fromkeys(
        ("injected", "masked", "benign", "sdc", "sdc_critical", "due", "due_changed"), 0
    )
    row = run(trials(0), trials(2, 3, **nothing)).summary("layer").iloc[0]
    assert bounds(row) == pytest.approx((1 / 3, *wilson(2, 6)))


def test_exhaustive_cells_have_the_rate_of_all_their_sites(run: Make, trials: Table) -> None:
    """A kernel of 6 places and a bias of 2: the rate is that of 8 places, in 10 samples each."""
    every = {**WEIGHTS, "sampling": "exhaustive"}
    kernel = [
        trials(n, **every, cell_id=1, repetition=n, sdc=n % 2, benign=4 - n % 2, accuracy=0.5)
        for n in range(6)
    ]
    bias = [
        trials(10 + n, **every | {"variable": "bias"}, cell_id=2, repetition=n, sdc=4, benign=0)
        for n in range(2)
    ]
    row = run(*kernel, *bias, complete={"1": 6, "2": 2}).summary("layer").iloc[0]
    assert (row["method"], row["sdc"], row["injected"]) == ("exact", 11, 80)
    assert bounds(row) == pytest.approx((11 / 80, 11 / 80, 11 / 80), abs=1e-15)
    assert row["accuracy"] == pytest.approx((6 * 0.5 + 2 * 0.8) / 8)


def test_unfinished_exhaustive_cells_count_by_their_places_too(run: Make, trials: Table) -> None:
    """4 of 90 places and 2 of 10: what was found in the first counts for nine tenths."""
    every = {**WEIGHTS, "sampling": "exhaustive"}
    tables = [
        trials(10 * cell + n, **every, cell_id=cell, repetition=n, sdc=sdc, benign=4 - sdc)
        for cell, counts in ((1, (0, 1, 2, 1)), (2, (4, 4)))
        for n, sdc in enumerate(counts)
    ]
    row = run(*tables, complete={"1": 90, "2": 10}).summary("target").iloc[0]
    assert row["method"] == "cluster wilson"
    assert row["sdc_rate"] == pytest.approx(0.9 * 4 / 40 + 0.1 * 8 / 20)
    assert row["sdc_low"] < row["sdc_rate"] < row["sdc_high"]


def test_paired_cells_of_other_faults_share_their_sites(run: Make, trials: Table) -> None:
    """Two faults at the same 12 sites are 12 observations, not 24."""
    faults = ({"fault": "zero"}, {"fault": "scale", "parameters": '{"factor":2}'})
    tables = [
        trials(2 * cell, 2 * cell + 1, sampling="paired", bit=None, **fault)
        for cell, fault in enumerate(faults)
    ]
    assert bounds(run(*tables).summary("layer").iloc[0]) == pytest.approx((1 / 3, *wilson(4, 12)))


def test_paired_cells_of_other_counts_are_independent(run: Make, trials: Table) -> None:
    tables = [
        trials(2 * cell, 2 * cell + 1, sampling="paired", probability=None, count=count)
        for cell, count in enumerate((1, 2))
    ]
    assert bounds(add_up(run(*tables), ["layer"], 0.95).iloc[0]) == (1 / 3, *wilson(8, 24))
