"""What a worker that cannot start says: the model is to blame, or the machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tensorflow as tf

from injecttf2.errors import ModelError
from orchestrator.executors.inline import InlineExecutor
from orchestrator.executors.ray import RayExecutor, RayWorker
from orchestrator.executors.worker import Ready, Worker, WorkerSettings
from results import open_run
from tests.orchestrator.conftest import Clock, Command, Run

TRIALS = 3 * 13 * 3 * 3

SHORT_OF = [
    MemoryError("no room"),
    OSError(28, "No space left on device"),
    tf.errors.ResourceExhaustedError(None, None, "OOM when allocating a tensor"),
    tf.errors.InternalError(None, None, "the device was lost"),
    tf.errors.UnavailableError(None, None, "the device is in use"),
]


def raising(error: Exception, *, times: int) -> Callable[..., Ready]:
    """Return a start that fails so many times before it does what it should."""
    start = Worker._start
    left = [times]

    def failing(self: Worker, model: Any, dataset: Any) -> Ready:
        if left[0]:
            left[0] -= 1
            raise error
        return start(self, model, dataset)

    return failing


@pytest.fixture
def worker() -> Worker:
    return Worker(WorkerSettings(identity=None))  # type: ignore[arg-type]


@pytest.mark.parametrize("error", SHORT_OF, ids=lambda error: type(error).__name__)
def test_what_a_machine_is_short_of_is_not_the_models_fault(
    error: Exception, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Worker, "_start", raising(error, times=1))
    with pytest.raises(type(error)) as raised:
        worker.start(None, None)  # type: ignore[arg-type]
    assert raised.value is error


@pytest.mark.parametrize(
    "error", [ValueError("no shape"), tf.errors.InvalidArgumentError(None, None, "no index")]
)
def test_whatever_else_goes_wrong_in_a_start_is(
    error: Exception, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Worker, "_start", raising(error, times=1))
    model = SimpleNamespace(name="model.keras")
    with pytest.raises(ModelError, match=r"model.keras: the model cannot be run on the data"):
        worker.start(model, None)  # type: ignore[arg-type]


def test_a_machine_that_is_short_of_something_for_a_while_does_not_end_a_run(
    campaign: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Worker, "_start", raising(MemoryError("no room"), times=2))
    summary = run(campaign, tmp_path / "run")
    assert (summary.done, summary.stopped) == (TRIALS, None)
    events = open_run(tmp_path / "run").events()
    lost = events[events["event"] == "worker_lost"]["error"].tolist()
    assert lost == ["MemoryError: no room"] * 2


def test_a_machine_that_stays_short_of_something_stops_the_run_and_is_told(
    campaign: Path,
    injecttf2: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
) -> None:
    def failing(*_: Any) -> Ready:
        clock.skip()
        raise MemoryError("no room")

    monkeypatch.setattr(Worker, "_start", failing)
    ended = injecttf2("run", campaign, "--executor", "inline", "--output", tmp_path / "run")
    assert ended.code == 3
    assert "no worker could be had for 300 s: MemoryError: no room" in ended.err


def test_an_inline_executor_without_work_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    executor = InlineExecutor(*[None] * 3)  # type: ignore[arg-type]
    assert executor.events(0.2) == []
    assert waited == [0.2]


@pytest.mark.ray
def test_a_first_ray_worker_that_finds_no_room_is_replaced(
    campaign: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = tmp_path / "failed once"

    class Unlucky(RayWorker):
        def _start(self, model: Any, dataset: Any) -> Ready:
            if not failed.exists():
                failed.touch()
                raise tf.errors.ResourceExhaustedError(None, None, "no room on the device")
            return super()._start(model, dataset)

    init = RayExecutor.__init__
    monkeypatch.setattr(RayExecutor, "__init__", lambda *args: init(*args, worker=Unlucky))
    summary = run(campaign, tmp_path / "run", "ray", workers=1)
    assert (summary.done, summary.stopped) == (TRIALS, None)
    events = open_run(tmp_path / "run").events()
    (lost,) = events[events["event"] == "worker_lost"]["error"]
    assert lost == "ResourceExhaustedError: no room on the device"
