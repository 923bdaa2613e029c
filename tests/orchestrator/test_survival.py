"""What goes wrong on the way, as a user sees it: exit codes, messages, and what is left."""

from __future__ import annotations

import json
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from injecttf2.errors import EngineError, ModelError
from injecttf2.evaluation.output_evaluator import OutputEvaluator
from orchestrator.executors.inline import InlineExecutor
from orchestrator.executors.worker import Ready, WorkerSettings
from orchestrator.scheduling.events import WorkerEvent, WorkerReady
from results import RunWriter, compact, open_run
from results.writing.write_buffer import Outbox
from tests.orchestrator.conftest import Command, Run, assert_equal_rows
from tests.s3 import AWS

TRIALS = 3 * 13 * 3 * 3
INLINE = ("--executor", "inline", "--no-report")


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have some trials raise, or none any longer."""
    evaluate = OutputEvaluator.evaluate

    def chosen(wanted: Callable[[Any], bool] | None) -> None:
        def poisoned(self: OutputEvaluator, trials: Any, *, record: bool) -> Any:
            if wanted is not None and any(wanted(trial) for trial in trials):
                raise MemoryError("no room")
            return evaluate(self, trials, record=record)

        monkeypatch.setattr(OutputEvaluator, "evaluate", poisoned)

    return chosen


def test_trials_given_up_on_are_listed_left_alone_and_tried_again_when_asked(
    campaign: Path, injecttf2: Command, tmp_path: Path, poison: Callable[..., None]
) -> None:
    poison(lambda t: (t.cell.layer, t.cell.fault.bit, t.cell.rate.value) == ("pool", 31, 1.0))
    run = ["run", campaign, *INLINE, "--output", tmp_path / "run", "--json"]
    ended = injecttf2(*run)
    assert ended.code == 1
    assert (ended.json["done"], ended.json["failed"]) == (TRIALS - 3, 3)
    assert "given up on 3 trials" in ended.err
    failures = open_run(tmp_path / "run").failures()
    assert failures["error"].tolist() == ["MemoryError: no room"] * 3
    assert all("no room" in traceback for traceback in failures["traceback"])
    assert all(trial["bit"] == 31 for trial in failures["trial"])

    status = injecttf2("status", tmp_path / "run")
    assert "3 given up on" in status.out
    for trial_id in failures["trial_id"]:
        assert str(trial_id) in status.out

    poison(None)
    left_alone = injecttf2(*run)
    assert left_alone.code == 1
    assert (left_alone.json["done"], left_alone.json["failed"]) == (TRIALS - 3, 3)
    again = injecttf2(*run, "--retry-failed")
    assert (again.code, again.json["done"], again.json["failed"]) == (0, TRIALS, 0)
    assert injecttf2(*run).code == 0
    assert open_run(tmp_path / "run").failures().empty


def test_a_layer_of_which_nothing_can_be_evaluated_is_given_up_on_after_a_few_trials(
    campaign: Path, injecttf2: Command, tmp_path: Path, poison: Callable[..., None]
) -> None:
    tried: set[int] = set()
    poison(lambda t: t.cell.layer == "pool" and (tried.add(t.id) or True))
    ended = injecttf2("run", campaign, *INLINE, "--output", tmp_path / "run", "--json")
    assert ended.code == 1
    assert (ended.json["done"], ended.json["failed"]) == (TRIALS * 2 // 3, TRIALS // 3)
    assert len(tried) == 9  # and one that was at the worker already when the eighth was given up on
    failures = open_run(tmp_path / "run").failures()
    told = {json.dumps(trial, sort_keys=True) for trial in failures["trial"]}
    assert len(told) == TRIALS // 3
    assert {trial["repetition"] for trial in failures["trial"]} == {0, 1, 2}
    assert failures["error"].value_counts().to_dict() == {
        "MemoryError: no room": 8,
        "nothing of this layer could be evaluated; the last error: MemoryError: no room": (
            TRIALS // 3 - 8
        ),
    }


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have the layer conv raise when it is made ready, so many times."""
    warm_up = OutputEvaluator.warm_up

    def break_it(error: Exception, times: int) -> None:
        left = [times]

        def failing(self: OutputEvaluator) -> None:
            if self.scope.label == "conv" and left[0]:
                left[0] -= 1
                raise error
            warm_up(self)

        monkeypatch.setattr(OutputEvaluator, "warm_up", failing)

    return break_it


@pytest.mark.parametrize(
    ("kind", "told"),
    [(ModelError, ""), (EngineError, "nothing of this layer could be evaluated; the last error: ")],
)
def test_a_layer_that_cannot_be_made_ready_is_given_up_on_and_the_others_go_on(
    kind: type[Exception],
    told: str,
    campaign: Path,
    injecttf2: Command,
    tmp_path: Path,
    broken: Callable[..., None],
) -> None:
    message = "it does not reproduce [/the golden] outputs"
    broken(kind(message), times=10**6)
    ended = injecttf2("run", campaign, *INLINE, "--output", tmp_path / "run", "--json")
    assert ended.code == 1
    assert (ended.json["done"], ended.json["failed"]) == (TRIALS * 2 // 3, TRIALS // 3)
    assert ended.err.count(f"conv: {told}{kind.__name__}: {message}") == 1


def test_a_machine_that_once_finds_the_engine_wrong_costs_no_trial(
    campaign: Path, injecttf2: Command, tmp_path: Path, broken: Callable[..., None]
) -> None:
    broken(EngineError("it does not reproduce the golden outputs"), times=1)
    ended = injecttf2("run", campaign, *INLINE, "--output", tmp_path / "run")
    assert ended.code == 0


def test_failures_of_an_earlier_grid_count_neither_in_a_run_nor_in_its_status(
    campaign: Path, injecttf2: Command, tmp_path: Path, poison: Callable[..., None]
) -> None:
    poison(lambda t: (t.cell.layer, t.cell.fault.bit, t.cell.rate.value) == ("pool", 31, 1.0))
    run = ["run", campaign, *INLINE, "--output", tmp_path / "run", "--json"]
    assert injecttf2(*run).json["failed"] == 3
    wide = campaign.read_text()
    fewer = wide.replace("repetitions: 3", "repetitions: 2")
    without = wide.replace("[conv, pool, logits]", "[conv, logits]")
    for text, failed in ((fewer, 2), (without, 0), (wide, 3)):
        campaign.write_text(text)
        ended = injecttf2(*run)
        assert (ended.code, ended.json["failed"]) == (int(failed > 0), failed)
        status = injecttf2("status", tmp_path / "run", "--json").json
        assert (status["failures"], len(status["failed"])) == (failed, failed)
        assert sum(layer["failed"] for layer in status["layers"].values()) == failed


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """Refuse to let any file grow beyond some bytes, as a disk that is full does."""
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_stops_the_run_and_the_same_command_goes_on(
    campaign: Path, run: Run, injecttf2: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first part is published; then nothing of the size of a part can be written."""
    folder = tmp_path / "run"
    publish = Outbox.publish
    published = 0

    def publish_or_not(self: Outbox) -> None:
        nonlocal published
        if not published:
            publish(self)
            published = len(list((folder / "trials").glob("part-*")))
            return
        with full_disk(1000):
            publish(self)

    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "publish", publish_or_not)
        patch.setattr("results.writing.writer.LOCAL_PACE", impatient_pace())
        ended = injecttf2("run", campaign, *INLINE, "--output", folder)
    assert ended.code == 3
    assert "could not be written" in ended.err
    assert "the same command again goes on from here" in ended.err
    assert "Traceback" not in ended.err
    assert len(list((folder / "trials").iterdir())) == published == 1
    done = open_run(folder).status().done
    assert 0 < done < TRIALS

    ended = injecttf2("run", campaign, *INLINE, "--output", folder)
    assert ended.code == 0
    run(campaign, tmp_path / "undisturbed")
    assert_equal_rows(folder, tmp_path / "undisturbed")


def impatient_pace() -> Any:
    from results.writing.write_buffer import LOCAL_PACE

    return replace(LOCAL_PACE, flush_rows=1)


def test_a_second_run_on_the_same_directory_is_told_who_is_at_work(
    campaign: Path, run: Run, injecttf2: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    run(campaign, folder)
    header = open_run(folder).header
    with RunWriter.open(folder, header):
        ended = injecttf2("run", campaign, *INLINE, "--output", folder)
    assert ended.code == 2
    assert "another process writes into this run directory" in ended.err
    assert "pid" in ended.err
    assert injecttf2("run", campaign, *INLINE, "--output", folder).code == 0


@pytest.mark.parametrize("record", ["none", "injections"])
def test_a_torn_manifest_is_mended_by_the_same_command(
    campaign: Path, run: Run, injecttf2: Command, tmp_path: Path, record: str
) -> None:
    campaign.write_text(f"{campaign.read_text()}record: {record}\n")
    folder = tmp_path / "run"
    run(campaign, folder)
    before = open_run(folder).trials()
    manifest = folder / "campaign.json"
    manifest.write_bytes(manifest.read_bytes()[:100])
    refused = injecttf2("status", folder)
    assert refused.code == 2
    assert "The same `injecttf2 run` command as before writes it anew and goes on." in refused.err
    ended = injecttf2("run", campaign, *INLINE, "--output", folder, "--json")
    assert (ended.code, ended.json["done"], ended.json["injections"]) == (0, TRIALS, 0)
    assert "campaign.json cannot be read and was kept as .campaign.json.torn" in ended.err
    assert open_run(folder).trials().equals(before)
    assert injecttf2("status", folder).code == 0


def test_a_damaged_part_is_set_aside_by_the_same_command_and_its_trials_are_done_again(
    campaign: Path, run: Run, injecttf2: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    run(campaign, folder)
    run(campaign, tmp_path / "undisturbed")
    (part,) = (folder / "trials").iterdir()
    contents = bytearray(part.read_bytes())
    ids = pq.read_metadata(part).row_group(0).column(0)
    contents[ids.data_page_offset + ids.total_compressed_size // 2] ^= 1  # behind the page's header
    part.write_bytes(contents)
    ended = injecttf2("run", campaign, *INLINE, "--output", folder, "--json")
    assert (ended.code, ended.json["done"]) == (0, TRIALS)
    assert f"{part} cannot be read and was renamed to" in ended.err
    assert_equal_rows(folder, tmp_path / "undisturbed")


def test_a_flipped_bit_in_the_end_of_a_part_is_told_by_all_commands_and_mended_by_run(
    campaign: Path, run: Run, injecttf2: Command, tmp_path: Path
) -> None:
    campaign.write_text(f"{campaign.read_text()}record: injections\n")
    folder = tmp_path / "run"
    run(campaign, folder)
    run(campaign, tmp_path / "undisturbed")
    (part,) = (folder / "trials").iterdir()
    whole = part.read_bytes()
    end = 8 * (len(whole) - 8 - int.from_bytes(whole[-8:-4], "little"))
    for bit in (*random.Random(16).sample(range(end, 8 * len(whole)), 4), 8 * len(whole) - 1):
        contents = bytearray(whole)
        contents[bit // 8] ^= 1 << bit % 8
        part.write_bytes(contents)
        status = injecttf2("status", folder)
        assert status.code == 0
        assert f"0 of {TRIALS} trials done" in status.out
        assert f"trials/{part.name} cannot be read" in status.out.replace("\n", "")
        report = injecttf2("report", folder)
        assert report.code == 0
        assert f"{part} cannot be read: what it held is left out." in report.err
        assert f"trials/{part.name} cannot be read" in (folder / "report.html").read_text()
    ended = injecttf2("run", campaign, *INLINE, "--output", folder, "--json")
    assert (ended.code, ended.json["done"]) == (0, TRIALS)
    assert f"{part} cannot be read and was renamed to" in ended.err
    assert_equal_rows(folder, tmp_path / "undisturbed")
    for kind in ("trials", "injections"):
        (part,) = (folder / kind).glob("part-*")
        contents = bytearray(part.read_bytes())
        contents[len(contents) // 2] ^= 1
        part.write_bytes(contents)
        told = injecttf2("report", folder)
        assert f"{kind}/{part.name} cannot be read" in (folder / "report.html").read_text()
        assert (told.code, injecttf2("status", folder).code) == (0, 0)
        compacted = injecttf2("compact", folder, "--json")
        assert compacted.code == 0
        injecttf2("run", campaign, *INLINE, "--output", folder)
    assert_equal_rows(folder, tmp_path / "undisturbed")


def test_a_manifest_that_describes_no_run_is_refused(
    campaign: Path, run: Run, injecttf2: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    run(campaign, folder)
    (folder / "campaign.json").write_text("{}")
    ended = injecttf2("run", campaign, *INLINE, "--output", folder)
    assert ended.code == 2
    assert "Restore it from a copy, or choose another --output." in ended.err
    assert (folder / "campaign.json").read_text() == "{}"


def test_rows_of_a_wider_grid_stay_and_are_named(
    campaign: Path, injecttf2: Command, tmp_path: Path
) -> None:
    run = ["run", campaign, *INLINE, "--output", tmp_path / "run"]
    assert injecttf2(*run).code == 0
    wide = campaign.read_text()
    campaign.write_text(
        wide.replace("repetitions: 3", "repetitions: 2").replace("[conv, pool, logits]", "[conv]")
    )
    ended = injecttf2(*run)
    assert ended.code == 0
    outside = {"conv": TRIALS // 9, "pool": TRIALS // 3, "logits": TRIALS // 3}
    for layer, count in outside.items():
        assert f"{layer} ({count})" in ended.err
    status = open_run(tmp_path / "run").status()
    assert (status.done, status.planned) == (TRIALS * 2 // 9, TRIALS * 2 // 9)
    assert status.outside == outside
    assert len(open_run(tmp_path / "run").trials()) == TRIALS
    campaign.write_text(wide)
    assert injecttf2(*run, "--json").json["injections"] == 0
    assert open_run(tmp_path / "run").status().outside == {}


def test_a_run_is_watched_until_it_ends(campaign: Path, injecttf2: Command, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "injecttf2", "run", str(campaign), *INLINE]
    with subprocess.Popen(
        [*command, "--output", str(tmp_path / "run")], stdout=subprocess.PIPE
    ) as process:
        while not (tmp_path / "run" / "heartbeat.json").exists() and process.poll() is None:
            time.sleep(0.05)
        watched = injecttf2("status", tmp_path / "run", "--watch")
        assert process.wait() == 0
    assert watched.code == 0
    assert f"{TRIALS} of {TRIALS} trials done (100.0%)" in watched.out
    assert f"finished: process {process.pid}" in watched.out
    events = open_run(tmp_path / "run").events()["event"].tolist()
    assert events[0] == "opened"
    assert events[-1] == "closed"
    for event in ("session_started", "worker_started", "published", "session_finished"):
        assert event in events


def test_compact_says_what_it_did(
    campaign: Path, run: Run, injecttf2: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    run(campaign, folder)
    campaign.write_text(campaign.read_text().replace("repetitions: 3", "repetitions: 4"))
    run(campaign, folder)
    before = open_run(folder).trials()
    ended = injecttf2("compact", folder)
    assert ended.code == 0
    assert ended.out.startswith("2 files, ")
    assert " -> 1 files, " in ended.out
    assert open_run(folder).trials().equals(before)
    assert injecttf2("compact", folder).out.startswith("nothing to do: 1 files, ")


def test_a_campaign_on_object_storage(
    campaign: Path, run: Run, injecttf2: Command, tmp_path: Path, s3: str
) -> None:
    run(campaign, tmp_path / "local")
    campaign.write_text(campaign.read_text().replace("repetitions: 3", "repetitions: 1"))
    assert injecttf2("run", campaign, *INLINE, "--output", s3).code == 0
    campaign.write_text(campaign.read_text().replace("repetitions: 1", "repetitions: 3"))
    resumed = injecttf2("run", campaign, *INLINE, "--output", s3)
    assert resumed.code == 0
    assert f"resuming: {TRIALS // 3} of {TRIALS} trials are done" in resumed.err
    assert f"results: {s3}" in resumed.out
    assert compact(s3).parts_after == 1
    assert_equal_rows(s3, tmp_path / "local")
    status = injecttf2("status", s3)
    assert f"{TRIALS} of {TRIALS} trials done" in status.out
    assert "finished: process" in status.out
    trial_id = open_run(s3).trials()["trial_id"].iloc[0]
    assert injecttf2("replay", s3, trial_id).code == 0


def test_credentials_in_a_uri_are_not_printed(
    campaign: Path, injecttf2: Command, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = AWS["AWS_SECRET_ACCESS_KEY"]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    uri = s3.replace("://", f"://{AWS['AWS_ACCESS_KEY_ID']}:{secret}@")
    campaign.write_text(campaign.read_text().replace("repetitions: 3", "repetitions: 1"))
    for command in (
        ["run", campaign, *INLINE, "--output", uri],
        ["run", campaign, *INLINE, "--output", uri, "--json"],
        ["status", uri],
        ["status", uri, "--watch", "--json"],
        ["compact", uri, "--json"],
    ):
        ended = injecttf2(*command)
        assert ended.code == 0
        assert s3 in ended.out or command[0] == "run"
        assert secret not in ended.out + ended.err
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    assert secret not in json.dumps(open_run(s3).header.campaign)
    assert secret not in open_run(s3).events().to_string()


class Scripted(InlineExecutor):
    """Two workers of which the second sends what a test says when it should be ready."""

    workers = 2

    def __init__(self, *inner: Any, second: Callable[[Ready], WorkerEvent]) -> None:
        super().__init__(*inner)
        self._second = second
        self._first: Ready | None = None
        self.stopped: list[int] = []

    def events(self, timeout: float) -> list[WorkerEvent]:
        if self._starting and self._first is not None:
            self._starting.popleft()
            return [self._second(self._first)]
        found = super().events(timeout)
        for event in found:
            if isinstance(event, WorkerReady):
                self._first = event.ready
        return found

    def stop_worker(self, worker: int) -> None:
        self.stopped.append(worker)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"golden": {"decisions": "others"}}, "the golden run differs"),
        ({"numerics": {"kernels": "others"}}, "it is of another class of numerics"),
    ],
    ids=["golden", "numerics"],
)
def test_a_machine_that_decides_or_rounds_otherwise_is_left_out_and_the_others_go_on(
    change: dict[str, dict[str, str]],
    said: str,
    campaign: Path,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def other(ready: Ready) -> WorkerEvent:
        changed: Any = {name: {**getattr(ready, name), **new} for name, new in change.items()}
        return WorkerReady(1, ready.device, replace(ready, name="odd:1", **changed))

    made: list[Scripted] = []

    def make(plan: Any, *_: object) -> Scripted:
        settings = WorkerSettings(identity=plan.identity)
        made.append(Scripted(settings, plan.model, plan.dataset, second=other))
        return made[0]

    run(campaign, tmp_path / "undisturbed")
    monkeypatch.setattr("orchestrator.session.launch._executor", make)
    summary = run(campaign, tmp_path / "run")
    assert (summary.done, summary.stopped) == (TRIALS, None)
    assert made[0].stopped[0] == 1
    events = open_run(tmp_path / "run").events()
    errors = events[events["event"] == "worker_lost"]["error"]
    assert errors.iloc[0].startswith(f"odd:1 on CPU was refused: {said}")
    assert len(errors) == 1  # no other was started in its place
    assert_equal_rows(tmp_path / "run", tmp_path / "undisturbed")
