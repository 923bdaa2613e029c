"""The same campaign gives the same rows, however it is executed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import keras
import pyarrow.parquet as pq
import pytest

from injecttf2.evaluation import batching
from injecttf2.models.keras_settings import kept
from orchestrator.executors.inline import InlineExecutor
from results import open_run
from tests.orchestrator.conftest import Run, assert_equal_rows, pure_rows

TRIALS = 3 * 13 * 3 * 3


@pytest.mark.parametrize("seconds", [1e-9, 100.0])
def test_the_size_of_chunks_does_not_matter(
    campaign: Path, run: Run, tmp_path: Path, seconds: float, settings: Callable[..., None]
) -> None:
    run(campaign, tmp_path / "one")
    settings(chunk_seconds=seconds)
    run(campaign, tmp_path / "other")
    assert_equal_rows(tmp_path / "one", tmp_path / "other")


@pytest.mark.parametrize("size", [16, 64])
def test_the_size_of_batches_does_not_matter(
    campaign: Path, run: Run, tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(campaign, tmp_path / "one")
    monkeypatch.setattr(batching, "LARGEST_BATCH", size)
    run(campaign, tmp_path / "other")
    assert_equal_rows(tmp_path / "one", tmp_path / "other")


def test_interrupted_and_resumed_equals_undisturbed(
    campaign: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(campaign, tmp_path / "undisturbed")
    evaluated = 0
    events = InlineExecutor.events

    def interrupted(self: InlineExecutor, timeout: float) -> object:
        nonlocal evaluated
        evaluated += 1
        if evaluated % 7 == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return events(self, timeout)

    monkeypatch.setattr(InlineExecutor, "events", interrupted)
    stops = 0
    folder = tmp_path / "resumed"
    while (summary := run(campaign, folder)).stopped:
        assert summary.stopped == "it was interrupted"
        stops += 1
        assert stops < 50
    assert stops >= 2
    assert summary.done == TRIALS
    ids = [
        trial_id
        for part in sorted((folder / "trials").glob("*.parquet"))
        for trial_id in pq.read_table(part)["trial_id"].to_pylist()
    ]
    assert len(ids) == len(set(ids)) == TRIALS
    assert_equal_rows(folder, tmp_path / "undisturbed")


def test_a_finished_campaign_does_nothing_again(campaign: Path, run: Run, tmp_path: Path) -> None:
    run(campaign, tmp_path / "run")
    before = sorted((tmp_path / "run" / "trials").iterdir())
    again = run(campaign, tmp_path / "run")
    assert (again.done, again.injections) == (TRIALS, 0)
    assert sorted((tmp_path / "run" / "trials").iterdir()) == before


def test_a_widened_grid_runs_only_what_is_new(campaign: Path, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(campaign, folder)
    first = pure_rows(folder)
    campaign.write_text(
        campaign.read_text()
        .replace("repetitions: 3", "repetitions: 4")
        .replace("[conv, pool, logits]", "[conv, pool, logits, softmax]")
    )
    summary = run(campaign, folder)
    assert summary.done == summary.trials == 4 * 13 * 3 * 4
    rows = pure_rows(folder)
    assert len(rows) == summary.trials
    kept = rows[rows["trial_id"].isin(first["trial_id"])]
    assert kept["sdc"].tolist() == first["sdc"].tolist()


def test_probability_zero_rows_are_golden(campaign: Path, run: Run, tmp_path: Path) -> None:
    run(campaign, tmp_path / "run")
    rows = pure_rows(tmp_path / "run")
    untouched = rows[rows["probability"] == 0.0]
    assert len(untouched) == TRIALS // 3
    assert (untouched["injected"] == 0).all()
    assert (untouched["accuracy"] == untouched["golden_accuracy"]).all()


@pytest.mark.ray
def test_workers_have_the_drivers_settings_of_keras(
    campaign: Path, run: Run, tmp_path: Path
) -> None:
    few = campaign.read_text().replace("[conv, pool, logits]", "[logits]")
    campaign.write_text(few.replace("[0, 22, 23-30, 31, random, exponent]", "[30]"))
    run(campaign, tmp_path / "defaults")
    with kept():
        keras.config.set_epsilon(1e-6)
        run(campaign, tmp_path / "inline")
        run(campaign, tmp_path / "ray", "ray", workers=1)
        assert keras.config.epsilon() == 1e-6
    assert_equal_rows(tmp_path / "inline", tmp_path / "ray")
    assert open_run(tmp_path / "ray").provenance["keras"] == {
        "floatx": "float32",
        "epsilon": 1e-6,
        "image_data_format": "channels_last",
        "dtype_policy": None,
    }
    ids = [set(pure_rows(tmp_path / name)["trial_id"]) for name in ("defaults", "ray")]
    assert ids[0].isdisjoint(ids[1])
