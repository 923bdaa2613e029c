"""Campaigns that ask for the rate of a layer or of the network, from the file to the rows."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from orchestrator.campaign.campaign import load_campaign
from orchestrator.executors.inline import InlineExecutor
from orchestrator.planning.plan import make_plan
from results import open_run
from results.report.report import write_report
from tests.orchestrator.conftest import Command, Run, assert_equal_rows
from tests.orchestrator.planning.test_sampling_plans import rewrite

WEIGHTS = "grid: {layers: [conv, logits], target: weights, bits: [0, 25, 30, 31], counts: 1}\n"
OUTPUTS = "grid: {layers: [conv, logits], bits: [0, 28, 30], probabilities: 0.2}\n"
HALF_WIDTHS = {WEIGHTS: 0.02, OUTPUTS: 0.03}


def asked(campaign: Path, grid: str, keys: str) -> Path:
    head = campaign.read_text().partition("precision:")[0]
    campaign.write_text(head)
    rewrite(campaign, f"precision: {{half_width: {HALF_WIDTHS[grid]}, {keys}}}\n{grid}")
    return campaign


@pytest.mark.parametrize("grid", [WEIGHTS, OUTPUTS])
@pytest.mark.parametrize("allocation", ["neyman", "proportional"])
def test_what_stops_the_network_is_what_its_summary_shows(
    grid: str, allocation: str, campaign: Path, run: Run, injecttf2: Command, tmp_path: Path
) -> None:
    asked(campaign, grid, f"scope: network, allocation: {allocation}")
    summary = run(campaign, tmp_path / "run")
    opened = open_run(tmp_path / "run")
    row = opened.summary(["target", "fault"]).iloc[0]
    (known,) = summary.reached
    assert (known["rate"], known["low"], known["high"]) == pytest.approx(
        (row["sdc_rate"], row["sdc_low"], row["sdc_high"]), rel=1e-9
    )
    margin = max(known["high"] - known["rate"], known["rate"] - known["low"])
    assert known["margin"] == margin <= known["asked"] == HALF_WIDTHS[grid]
    assert known["trials"] == row["trials"] == summary.trials == summary.done
    assert (known["state"], summary.unmet) == ("reached", 0)
    plan = make_plan(load_campaign(campaign))
    cells = [cell for cell, _ in plan.grid.cells()]
    assert known["trials"] in (looks := plan.sampling.looks(*cells))
    span = plan.trial_range()
    assert span is not None
    assert (span.at_least, span.at_most) == (looks[0], looks[-1])
    assert plan.trials == looks[-1] < len(plan.grid)
    assert sum(trials for _, trials in plan.cells()) == looks[-1]
    status = injecttf2("status", tmp_path / "run", "--json").json
    assert status["precision"] == list(summary.reached)
    assert "asked" in injecttf2("status", tmp_path / "run").out


def test_sites_weigh_and_spread_decides_who_gets_trials(
    campaign: Path, run: Run, tmp_path: Path
) -> None:
    """Bit 30 decides the rate, and the kernel of the last layer has most of the weights."""
    run(asked(campaign, WEIGHTS, "scope: network"), tmp_path / "neyman")
    run(asked(campaign, WEIGHTS, "scope: network, allocation: proportional"), tmp_path / "even")
    neyman, even = (open_run(tmp_path / name) for name in ("neyman", "even"))
    counts = [one.trials().groupby("bit").size() for one in (neyman, even)]
    assert counts[0][30] / counts[0].sum() > 1.3 * counts[1][30] / counts[1].sum()
    sites = neyman.header.plan["sites"]
    trials = neyman.trials().assign(rate=lambda rows: rows["sdc"] / rows["injected"])
    rates = trials.groupby("cell_id")["rate"].mean()
    total = sum(sites[str(cell)] * rate for cell, rate in rates.items())
    assert neyman.summary("target")["sdc_rate"].iloc[0] == pytest.approx(
        total / sum(sites.values())
    )
    assert even.header.plan["sites"] == sites


def test_each_layer_is_known_as_asked(campaign: Path, run: Run, tmp_path: Path) -> None:
    summary = run(asked(campaign, WEIGHTS, "scope: layer"), tmp_path / "run")
    rows = open_run(tmp_path / "run").summary("layer")
    margin = np.maximum(rows["sdc_high"] - rows["sdc_rate"], rows["sdc_rate"] - rows["sdc_low"])
    assert margin.tolist() == pytest.approx([one["margin"] for one in summary.reached])
    assert (margin <= HALF_WIDTHS[WEIGHTS]).all()
    assert [one["of"] for one in summary.reached] == [
        f"weights of {layer}: bit_flip, count 1" for layer in rows["layer"]
    ]


def test_two_executions_stop_at_the_same_trials(
    campaign: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(campaign, WEIGHTS, "scope: network")
    run(campaign, tmp_path / "inline")
    run(campaign, tmp_path / "ray", "ray", workers=2)
    assert_equal_rows(tmp_path / "ray", tmp_path / "inline")
    events, calls = InlineExecutor.events, 0

    def interrupted(self: InlineExecutor, timeout: float) -> object:
        nonlocal calls
        calls += 1
        if calls % 5 == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return events(self, timeout)

    with monkeypatch.context() as patch:
        patch.setattr(InlineExecutor, "events", interrupted)
        stops = 0
        while run(campaign, tmp_path / "resumed").stopped:
            stops += 1
            assert stops < 80
        assert stops > 2
    assert_equal_rows(tmp_path / "resumed", tmp_path / "inline")


def test_a_maximum_that_stops_it_is_told(
    campaign: Path, injecttf2: Command, tmp_path: Path
) -> None:
    asked(campaign, WEIGHTS, "scope: network, maximum: 20")
    options = ("--executor", "inline", "--no-report", "--output", tmp_path / "run")
    ended = injecttf2("run", campaign, *options, "--json")
    (known,) = ended.json["precision"]
    assert (ended.code, ended.json["unmet"], ended.json["done"]) == (0, 1, 20)
    assert (known["state"], known["trials"]) == ("stopped", 20)
    said = "not reached: it has had all the trials that it may have"
    for command in (("run", campaign, *options), ("status", tmp_path / "run")):
        assert said in " ".join(injecttf2(*command).out.split())
    assert open_run(tmp_path / "run").plan["precision"] == [known]
    write_report(open_run(tmp_path / "run"), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "0 of 1 reached" in page
    assert f"not reached: {known['of']}" in page


def test_repetitions_after_a_precision_are_summarised_as_without_it(
    campaign: Path, run: Run, tmp_path: Path
) -> None:
    run(asked(campaign, WEIGHTS, "scope: network, maximum: 16"), tmp_path / "run")
    campaign.write_text(campaign.read_text().partition("precision:")[0])
    rewrite(campaign, f"repetitions: 20\n{WEIGHTS}")
    run(campaign, tmp_path / "run")
    run(campaign, tmp_path / "fresh")
    after, fresh = (open_run(tmp_path / name) for name in ("run", "fresh"))
    assert "sites" not in after.header.plan
    assert after.summary("target").equals(fresh.summary("target"))


def test_a_run_by_cells_goes_on_for_the_network(campaign: Path, run: Run, tmp_path: Path) -> None:
    rewrite(campaign, f"repetitions: 3\n{WEIGHTS}")
    run(campaign, tmp_path / "run")
    asked(campaign, WEIGHTS, "scope: network, minimum: 3")
    run(campaign, tmp_path / "direct")
    run(campaign, tmp_path / "run")
    assert_equal_rows(tmp_path / "run", tmp_path / "direct")
