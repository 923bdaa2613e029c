"""Campaigns that say how sure they want to be, from the file to the rows."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from orchestrator.campaign.campaign import load_campaign
from orchestrator.campaign.precision import Precision
from orchestrator.executors.inline import InlineExecutor
from orchestrator.planning.plan import make_plan
from results import GivenUp, RunWriter, open_run
from results.statistics.clusters import cluster_wilson
from tests.orchestrator.conftest import Command, Run, assert_equal_rows

GRID = "grid: {layers: [conv, logits], bits: [0, 30], probabilities: [0.2, 1.0]}\n"
HALF_WIDTH = 0.04


def rewrite(campaign: Path, keys: str) -> None:
    """Keep name, model, data and seed of a campaign, and give it other keys."""
    head = campaign.read_text().partition("repetitions:")[0]
    campaign.write_text(f"{head}{keys}")


@pytest.fixture
def precise(campaign: Path) -> Path:
    """A campaign of eight cells at a precision."""
    rewrite(campaign, f"precision: {{half_width: {HALF_WIDTH}}}\n{GRID}")
    return campaign


def half_width(rows: pd.DataFrame) -> float:
    sdc, injected = int(rows["sdc"].sum()), int(rows["injected"].sum())
    interval = binomtest(sdc, injected).proportion_ci(0.95, method="wilson")
    return float(interval.high - interval.low) / 2


def test_every_cell_stops_at_the_first_look_that_is_narrow_enough(
    precise: Path, run: Run, tmp_path: Path
) -> None:
    summary = run(precise, tmp_path / "run")
    plan = make_plan(load_campaign(precise))
    trials = open_run(tmp_path / "run").trials()
    assert (summary.trials, summary.done, summary.failed) == (len(trials), len(trials), 0)
    cells = list(trials.groupby("cell_id"))
    assert len(cells) == 8
    lengths = set()
    for _, rows in cells:
        assert rows["repetition"].tolist() == list(range(len(rows)))
        looks = plan.sampling.looks(
            next(cell for cell, _ in plan.grid.cells() if is_of(cell, rows))
        )
        assert len(rows) in looks
        for look in looks[: looks.index(len(rows))]:
            assert half_width(rows[:look]) > HALF_WIDTH
        assert half_width(rows) <= HALF_WIDTH or len(rows) == looks[-1]
        lengths.add(len(rows))
    assert len(lengths) > 2


def is_of(cell: object, rows: pd.DataFrame) -> bool:
    row = rows.iloc[0]
    content = cell.to_dict()  # type: ignore[attr-defined]
    return all(content[name] == row[name] for name in ("layer", "bit", "probability"))


def test_two_executions_stop_at_the_same_trials(
    precise: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    precise.write_text(precise.read_text().replace("[conv, logits]", "logits"))
    run(precise, tmp_path / "inline")
    events, calls = InlineExecutor.events, 0

    def interrupted(self: InlineExecutor, timeout: float) -> object:
        nonlocal calls
        calls += 1
        if calls % 6 == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return events(self, timeout)

    with monkeypatch.context() as patch:
        patch.setattr(InlineExecutor, "events", interrupted)
        stops = 0
        while run(precise, tmp_path / "resumed").stopped:
            stops += 1
            assert stops < 50
        assert stops > 2
    assert_equal_rows(tmp_path / "resumed", tmp_path / "inline")


def test_status_and_plan_say_how_many_trials_there_are(
    precise: Path, run: Run, injecttf2: Command, tmp_path: Path
) -> None:
    planned = injecttf2("plan", precise, "--json").json
    assert planned["at_least"] < planned["at_most"] == planned["trials"]
    assert planned["at_least"] < planned["fixed"] <= planned["at_most"]
    done = run(precise, tmp_path / "run").done
    assert planned["at_least"] <= done <= planned["at_most"]
    status = injecttf2("status", tmp_path / "run", "--json").json
    assert (status["planned"], status["done"]) == (done, done)
    again = injecttf2(
        "run", precise, "--executor", "inline", "--output", tmp_path / "run", "--json"
    )
    assert (again.code, again.json["trials"], again.json["done"]) == (0, done, done)
    assert injecttf2("status", tmp_path / "run", "--json").json["planned"] == done
    text = injecttf2("plan", precise).out
    assert f"at least {planned['at_least']}, at most {planned['at_most']} trials" in text
    assert f"{planned['fixed']} trials" in text.replace("\n", "")


def test_a_run_of_repetitions_goes_on_at_a_precision_and_the_other_way_round(
    precise: Path, run: Run, tmp_path: Path
) -> None:
    run(precise, tmp_path / "direct")
    text = precise.read_text()
    line = next(line for line in text.splitlines() if line.startswith("precision"))
    precise.write_text(text.replace(line, "repetitions: 4"))
    run(precise, tmp_path / "run")
    precise.write_text(text)
    summary = run(precise, tmp_path / "run")
    rows = open_run(tmp_path / "run").trials()
    assert summary.trials == summary.done == len(rows)  # those that no look asks for are settled
    direct = open_run(tmp_path / "direct").trials()
    assert {*direct["trial_id"]} <= {*rows["trial_id"]}
    more = rows[~rows["trial_id"].isin(direct["trial_id"])]
    assert (more["repetition"] < 4).all()


def test_weights_and_criteria_have_a_precision_too(
    campaign: Path, run: Run, tmp_path: Path
) -> None:
    rewrite(
        campaign,
        "criteria: confidence_10\n"
        "precision: {metric: sdc_confidence_10, half_width: 0.06}\n"
        "grid: {layers: conv, target: weights, bits: [0, exponent], counts: 1}\n",
    )
    assert run(campaign, tmp_path / "run").failed == 0
    trials = open_run(tmp_path / "run").trials()
    (_, grave), (_, harmless) = trials.groupby("bit_field", observed=True)
    assert (harmless["sdc_confidence_10"].sum(), len(harmless)) == (0, 100)  # the first look
    looks = Precision(half_width=0.06).looks(1)
    for look in looks[: looks.index(len(grave)) + 1]:
        hits = grave["sdc_confidence_10"].to_numpy()[:look]
        low, high = cluster_wilson(look, 70 * look, hits.sum(), (hits**2).sum())
        assert ((high - low) / 2 <= 0.06) == (look == len(grave))
    assert len(grave) > 100


WRONG = {
    "precision: {half_width: 0.1, metric: accuracy}": "metric: received 'accuracy'",
    "precision: {half_width: 0.1}\nrepetitions: 3": "precision: received {'half_width': 0.1}, "
    "expected nothing: repetitions says how many trials there are",
    "exhaustive: true": "expected a grid without a rate, which hits every site once; or no",
    "repetitions: 3\nexhaustive: true": "exhaustive: received true, expected nothing: repetitions",
    "precision: {half_width: 0.1}\nexhaustive: true": "expected nothing: precision says how many",
    "precision: {half_width: 0.1, minmum: 3}": "unknown key 'minmum'; did you mean 'minimum'?",
    "precision: 0.1": "precision: received 0.1, expected a mapping",
    "exhaustive: -1": "expected true, or the number of injections that are allowed",
    "paired: maybe": "paired: received 'maybe', expected true or false",
}


@pytest.mark.parametrize("keys", WRONG)
def test_what_is_wrong_is_told_with_its_place(
    keys: str, campaign: Path, injecttf2: Command
) -> None:
    rewrite(campaign, f"{keys}\n{GRID}")
    ended = injecttf2("plan", campaign)
    assert ended.code == 2
    assert f"{campaign}:6:" in ended.err or f"{campaign}:7:" in ended.err
    assert WRONG[keys] in ended.err


def test_exhaustive_campaigns_hit_every_site_once(campaign: Path, run: Run, tmp_path: Path) -> None:
    rewrite(
        campaign,
        "exhaustive: true\nrecord: injections\ngrid:\n"
        "- {layers: logits, bits: [30, exponent]}\n"
        "- {layers: logits, fault: zero}\n"
        "- {layers: conv, target: weights, variables: [bias, kernel], bits: sign}\n"
        "- {layers: pool, bits: 30, probabilities: 0.5}\n",
    )
    run(campaign, tmp_path / "run")
    opened = open_run(tmp_path / "run")
    trials, sites = opened.trials(), opened.injections()
    counts = trials.groupby("cell_id").size()
    assert sorted(counts.tolist()) == [1, 4, 5, 5, 36, 40]
    complete = opened.header.plan["exhaustive"]
    assert complete == {str(cell): count for cell, count in counts.items() if count > 1}
    outputs = trials[(trials["layer"] == "logits") & (trials["fault"] == "bit_flip")]
    hit = sites[sites["trial_id"].isin(outputs["trial_id"])]
    assert len(hit) == 70 * 5 * (1 + 8)
    unique = hit.merge(trials[["trial_id", "cell_id"]])[["cell_id", "sample", "element", "bit"]]
    assert not unique.duplicated().any()
    assert trials["sampling"].astype(str).value_counts().to_dict() == {
        "exhaustive": 90,
        "random": 1,
    }


def test_exhaustive_trials_can_be_replayed(
    campaign: Path, run: Run, injecttf2: Command, tmp_path: Path
) -> None:
    rewrite(
        campaign,
        "paired: true\ngrid:\n- {layers: logits, bits: 30, exhaustive: 350}\n"
        "- {layers: logits, bits: 30, probabilities: 0.5}\n",
    )
    run(campaign, tmp_path / "run")
    trials = open_run(tmp_path / "run").trials()
    assert sorted(trials["sampling"].unique()) == ["exhaustive", "paired"]
    for trial_id in trials["trial_id"].iloc[[0, 4, 5]].tolist():
        ended = injecttf2("replay", tmp_path / "run", trial_id)
        assert (ended.code, "equal" in ended.out) == (0, True), ended.out + ended.err


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        (
            "{layers: logits, bits: 30, exhaustive: 349}",
            "every site once is 350 injections; expected 349 at most",
        ),
        (
            "{layers: [logits, softmax], bits: 30, exhaustive: 699}",
            "every site once is 700 injections; expected 699 at most",
        ),
        (
            "{layers: logits, exhaustive: true, fault: {type: random_value, distribution: uniform, "
            "low: 0, high: 1}}",
            "the fault random_value is drawn by chance, so its sites cannot be gone through",
        ),
        (
            "{layers: '*', layers_together: true, bits: 3, exhaustive: true}",
            "expected a rate: layers together have too many sites to go through",
        ),
        (
            "{layers: logits, bits: 3, exhaustive: true, counts: 1}",
            "expected one rate, not counts and exhaustive: probabilities, counts, bers or "
            "exhaustive",
        ),
    ],
)
def test_what_cannot_be_gone_through_is_refused(
    grid: str, said: str, campaign: Path, injecttf2: Command
) -> None:
    rewrite(campaign, f"grid: {grid}\n")
    ended = injecttf2("plan", campaign)
    assert ended.code == 2
    assert said in ended.err
    assert f"{campaign}:6:" in ended.err


def test_paired_cells_share_their_samples(campaign: Path, run: Run, tmp_path: Path) -> None:
    rewrite(campaign, f"paired: true\nrepetitions: 3\nrecord: injections\n{GRID}")
    run(campaign, tmp_path / "run")
    opened = open_run(tmp_path / "run")
    sites = opened.injections().merge(
        opened.trials(["trial_id", "layer", "bit", "probability", "repetition"]),
        on=["trial_id", "layer"],
        suffixes=("", "_of_trial"),
    )
    keys = ["layer", "probability", "repetition"]
    places = ["sample", "element"]
    for _, same in sites.groupby(keys, observed=True):
        one, other = (same[same["bit"] == bit][places].to_numpy() for bit in (0, 30))
        assert np.array_equal(one, other)
        assert len(one)
    assert sites.groupby(keys, observed=True).ngroups == 2 * 2 * 3
    hit = {
        probability: set(map(tuple, rows[["layer", "bit", "repetition", *places]].to_numpy()))
        for probability, rows in sites.groupby("probability")
    }
    assert hit[0.2] < hit[1.0]


def test_cells_that_stay_unknown_are_told(
    precise: Path, injecttf2: Command, tmp_path: Path
) -> None:
    text = precise.read_text()
    precise.write_text(text.replace("0.04}", "0.04, maximum: 2}"))
    options = ("--executor", "inline", "--no-report", "--output", tmp_path / "run")
    ended = injecttf2("run", precise, *options, "--json")
    rows = open_run(tmp_path / "run").trials()
    unmet = [rows for _, rows in rows.groupby("cell_id") if half_width(rows) > HALF_WIDTH]
    assert ended.json["unmet"] == len(unmet) > 0
    assert all(len(rows) == 2 for rows in unmet)
    again = injecttf2("run", precise, *options)
    said = " ".join(again.out.split())
    assert f"{len(unmet)} cells have had all trials without being known as asked" in said
    trials = [len(cell) for _, cell in rows.groupby("cell_id")]
    widest = max(half_width(cell) for _, cell in rows.groupby("cell_id"))
    each = f"{min(trials)} to 2" if min(trials) < 2 else "2"
    assert (
        f"8 cells: {len(rows)} trials, {each} each; sdc: widest half width {widest:.3%}, "
        "asked 4.000%" in said
    )


def test_a_trial_that_was_given_up_on_is_not_tried_again_when_its_look_comes(
    precise: Path, run: Run, tmp_path: Path
) -> None:
    """It failed under a larger plan; the looks of this one come to it in the middle of the run."""
    run(precise, tmp_path / "undisturbed")
    longest = max(open_run(tmp_path / "undisturbed").trials().groupby("cell_id"), key=by_length)[1]
    last = longest.iloc[-1]
    plan = make_plan(load_campaign(precise))
    header = open_run(tmp_path / "undisturbed").header
    with RunWriter.open(str(tmp_path / "run"), header) as writer:
        cell = next(cell for cell, _ in plan.grid.cells() if is_of(cell, longest))
        given_up = GivenUp(
            np.array([last["trial_id"]], np.uint64), cell.to_dict(), int(last["repetition"])
        )
        writer.record_failures([given_up], error="no room", traceback="")
    summary = run(precise, tmp_path / "run")
    rows = open_run(tmp_path / "run").trials()
    assert last["trial_id"] not in {*rows["trial_id"]}
    assert (summary.failed, summary.done) == (1, len(rows))
    again = run(precise, tmp_path / "run", retry_failed=True)
    assert (again.failed, again.trials) == (0, again.done)
    assert_equal_rows(tmp_path / "run", tmp_path / "undisturbed")


def by_length(group: tuple[object, pd.DataFrame]) -> int:
    return len(group[1])


def test_bits_of_a_paired_campaign_are_compared_across_fields(
    campaign: Path, run: Run, tmp_path: Path
) -> None:
    rewrite(
        campaign,
        "paired: true\nrepetitions: 12\n"
        "grid: {layers: [conv, logits], bits: [3, 28, 31], probabilities: 1.0}\n",
    )
    run(campaign, tmp_path / "run")
    opened = open_run(tmp_path / "run")
    found = opened.differences("bit", None)
    assert found["layer"].tolist() == ["conv"] * 3 + ["logits"] * 3
    assert (
        list(zip(found["bit_a"], found["bit_b"], strict=True)) == [(3, 28), (3, 31), (28, 31)] * 2
    )
    assert (found["pairs"] == 12).all()
    rates = opened.summary(["layer", "bit"]).set_index(["layer", "bit"])["sdc_rate"]
    for row in found.to_dict("records"):
        expected = rates[row["layer"], row["bit_b"]] - rates[row["layer"], row["bit_a"]]
        assert row["difference"] == pytest.approx(expected, abs=1e-12)
        assert row["low"] <= row["difference"] <= row["high"]
