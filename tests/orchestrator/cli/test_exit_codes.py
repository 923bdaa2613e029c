"""Exit codes: what they say of a run, whatever goes wrong in telling about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from injecttf2.errors import ModelError
from orchestrator.errors import StoppedError
from orchestrator.session.session import Summary
from results import ResultsError, open_run
from results.storage.local import LocalStorage
from results.writing.write_buffer import LOCAL_PACE
from tests.orchestrator.conftest import Command

ENDS = [
    (Summary(9, 9, 0), 0),
    (Summary(9, 7, 2), 1),
    (Summary(9, 4, 2, stopped="no worker could be had for 300 s"), 3),
]


@pytest.mark.parametrize(("summary", "code"), ENDS)
def test_outcomes_that_cannot_be_read_are_a_warning_and_the_code_is_the_runs(
    summary: Summary,
    code: int,
    campaign: Path,
    injecttf2: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("orchestrator.session.launch.launch", lambda *_: summary)
    ended = injecttf2("run", campaign, "--output", tmp_path / "gone")
    assert ended.code == code
    assert f"the outcomes cannot be shown: {tmp_path / 'gone'}: " in ended.err
    assert f"{summary.done} of 9 trials done" in ended.out
    assert f"results: {tmp_path / 'gone'}" in ended.out
    for words in (summary.stopped, "given up on 2 trials" if code == 1 else None):
        assert words is None or words in ended.err


STOPS = [
    (StoppedError("Ray is gone: it does not answer"), 3, "Ray is gone: it does not answer"),
    (ResultsError("no space left", hint="make room"), 3, "no space left\n  make room"),
    (ModelError("no such layer"), 2, "no such layer"),
    (KeyError("oops"), 70, "KeyError: 'oops'"),
]


@pytest.mark.parametrize(("error", "code", "reason"), STOPS)
def test_why_a_run_stopped_is_in_its_events_its_heartbeat_and_its_status(
    error: Exception,
    code: int,
    reason: str,
    campaign: Path,
    injecttf2: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr("orchestrator.executors.inline.InlineExecutor.events", broken)
    run = tmp_path / "run"
    assert injecttf2("run", campaign, "--executor", "inline", "--output", run).code == code
    events = open_run(run).events()
    assert events[events["event"] == "session_stopped"]["reason"].tolist() == [reason]
    heartbeat = open_run(run).status().heartbeat
    assert heartbeat is not None
    assert (heartbeat.state, heartbeat.details["reason"]) == ("stopped", reason)
    assert reason in injecttf2("status", run).out


def test_what_nobody_expected_has_a_traceback_and_a_code_of_its_own(
    campaign: Path, injecttf2: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Summary:
        raise KeyError("[/oops]")

    monkeypatch.setattr("orchestrator.session.launch.launch", broken)
    ended = injecttf2("run", campaign, "--output", tmp_path / "run")
    assert ended.code == 70
    assert "in broken" in ended.err
    assert "KeyError: '[/oops]'" in ended.err
    assert "this was not expected" in ended.err
    assert ended.out == ""


@pytest.mark.filterwarnings("ignore::results.ResultsWarning")
def test_a_run_whose_rows_are_damaged_meanwhile_is_not_done_and_goes_on(
    campaign: Path, injecttf2: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, command = tmp_path / "run", ("run", campaign, "--executor", "inline", "--output")
    publish = LocalStorage.publish
    damaged: list[Path] = []

    def damaging(storage: LocalStorage, name: str, contents: bytes) -> None:
        publish(storage, name, contents)
        if name.startswith("trials/") and not damaged:
            damaged.append(Path(storage.path(name)))
            damaged[0].write_bytes(contents[:-1])

    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "publish", damaging)
        patch.setattr("results.writing.compaction.MANY_PARTS", 1)
        patch.setattr("results.writing.writer.LOCAL_PACE", replace(LOCAL_PACE, flush_rows=1))
        ended = injecttf2(*command, run)
    assert ended.code == 3
    assert f"{damaged[0]} was damaged while this run was at work" in ended.err.replace("\n", "")
    assert "finished trials were damaged during the run" in ended.err
    heartbeat = open_run(run).status().heartbeat
    assert heartbeat is not None
    assert heartbeat.state == "stopped"
    assert injecttf2(*command, run).code == 0
    status = open_run(run).status()
    assert (status.done, status.unreadable) == (status.planned, ())
