"""Ray executor on a real Ray: closed by a token, quiet, and able to lose workers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from injecttf2.errors import CampaignError
from injecttf2.trial import CellTrials
from orchestrator.executors.ray import RayExecutor, RayWorker
from orchestrator.executors.worker import ChunkResult
from orchestrator.scheduling.events import WorkerEvent, WorkerReady
from results import open_run
from tests.orchestrator.conftest import Run, assert_equal_rows

pytestmark = pytest.mark.ray

TRIALS = 3 * 13 * 3 * 3


def test_a_killed_worker_is_replaced_and_the_rows_are_equal(
    campaign: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(campaign, tmp_path / "undisturbed")
    killed: list[int] = []
    events = RayExecutor.events

    def killing(self: RayExecutor, timeout: float) -> list[WorkerEvent]:
        found = events(self, timeout)
        for event in found:
            if isinstance(event, WorkerReady) and not killed:
                killed.append(int(event.ready.name.rpartition(":")[2]))
                os.kill(killed[0], signal.SIGKILL)
        return found

    monkeypatch.setattr(RayExecutor, "events", killing)
    summary = run(campaign, tmp_path / "disturbed", "ray", workers=1)
    assert len(killed) == 1
    assert (summary.done, summary.failed, summary.stopped) == (TRIALS, 0, None)
    assert_equal_rows(tmp_path / "undisturbed", tmp_path / "disturbed")


def test_an_exception_that_cannot_travel_is_the_trials_and_costs_no_worker(
    campaign: Path,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: Callable[..., None],
) -> None:
    class TwoWords(Exception):  # noqa: N818 - cannot be made again from what is pickled of it
        def __init__(self, first: str, second: str) -> None:
            super().__init__(f"{first} {second}")

    class Locked(Exception):  # noqa: N818 - cannot be pickled
        def __init__(self) -> None:
            super().__init__("no key")
            self.lock = threading.Lock()

    class Picky(RayWorker):
        def evaluate(self, runs: Sequence[CellTrials]) -> ChunkResult:
            places = {(run.cell.layer, run.cell.fault.bit) for run in runs}
            if ("conv", 0) in places:
                raise TwoWords("no", "room")
            if ("pool", 0) in places:
                raise Locked
            return super().evaluate(runs)

    init = RayExecutor.__init__
    monkeypatch.setattr(RayExecutor, "__init__", lambda *args: init(*args, worker=Picky))
    settings(attempts=2)
    few = campaign.read_text().replace("repetitions: 3", "repetitions: 1")
    campaign.write_text(few.replace("[0.0, 0.2, 1.0]", "[1.0]"))
    summary = run(campaign, tmp_path / "run", "ray", workers=1)
    assert (summary.done, summary.failed) == (3 * 13 - 2, 2)
    failures = open_run(tmp_path / "run").failures()
    assert sorted(error.rpartition(".")[2] for error in failures["error"]) == [
        "Locked: no key",
        "TwoWords: no room",
    ]
    assert all("in evaluate" in traceback for traceback in failures["traceback"])
    assert "worker_lost" not in open_run(tmp_path / "run").events()["event"].tolist()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:10001", "nonsense"])
def test_a_cluster_that_does_not_answer_is_named(
    address: str, campaign: Path, run: Run, tmp_path: Path
) -> None:
    with pytest.raises(CampaignError, match=f"no Ray cluster answers at '{address}'") as error:
        run(campaign, tmp_path / "run", "ray", address=address)
    assert error.value.place == "--address"
    assert not list((tmp_path / "run" / "trials").glob("*"))


def test_a_run_prints_nothing_of_rays_own(campaign: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "injecttf2", "run", str(campaign)]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "run"), "--workers=1", "--levels=dense", "--json"],
        env={**os.environ, "HOME": str(tmp_path), "COLUMNS": "400"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 1
    own = re.compile(
        r"golden accuracy .+|(loading|tracing|starting) .+|executor: ray, .+|.+ \| .+|data: .+"
        r"|without faults (the classes agree with the labels hardly more|no sample is) .+"
    )
    assert [line for line in done.stderr.splitlines() if not own.fullmatch(line)] == []
    assert not (tmp_path / ".ray").exists()
