"""Workers on several machines of a Ray cluster: real Ray nodes, all on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from injecttf2.errors import CampaignError
from orchestrator.errors import StoppedError
from orchestrator.executors.ray import RayExecutor
from orchestrator.scheduling.events import ChunkDone, WorkerEvent, WorkerLost, WorkerReady
from results import open_run
from tests.orchestrator.conftest import Clock, Nodes, Run, assert_equal_rows
from tests.processes import descendants, is_alive, title

pytestmark = pytest.mark.ray

TRIALS = 3 * 13 * 3 * 3

Watch = Callable[[RayExecutor, WorkerEvent], None]
Watching = Callable[[Watch], list[WorkerEvent]]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watching:
    """Call a function with each event of a Ray executor before the session sees it."""

    def watching(what: Watch) -> list[WorkerEvent]:
        seen: list[WorkerEvent] = []
        events = RayExecutor.events

        def watched(self: RayExecutor, timeout: float) -> list[WorkerEvent]:
            found = events(self, timeout)
            for event in found:
                what(self, event)
            seen.extend(found)
            return found

        monkeypatch.setattr(RayExecutor, "events", watched)
        return seen

    return watching


def process(event: WorkerReady) -> int:
    return int(event.ready.name.rpartition(":")[2])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_machines_that_come_and_go(
    campaign: Path,
    run: Run,
    tmp_path: Path,
    nodes: Nodes,
    watch: Watching,
) -> None:
    """Two workers are asked for where one fits; the first machine goes once a second is there."""
    run(campaign, tmp_path / "undisturbed")
    going = nodes.add()
    copies: list[int] = []

    def disturb(executor: RayExecutor, event: WorkerEvent) -> None:
        started = [one for one in seen if isinstance(one, WorkerReady)]
        if isinstance(event, WorkerReady) and not started:
            nodes.add()
            _, waiting = executor._actors[1 - event.worker]
            executor._ray.get(waiting.machine.remote())  # until it has its place
        if isinstance(event, ChunkDone) and len(started) == 2 and not copies:
            assert len({*executor._machines.values()}) == 2
            copies.append(machines_with(executor._dataset))
            nodes.remove(going)
            nodes.add()

    seen = watch(disturb)
    summary = run(campaign, tmp_path / "disturbed", "ray", address=nodes.address, workers=2)
    assert (summary.done, summary.failed, summary.stopped) == (TRIALS, 0, None)
    assert copies == [3]  # the head's machine, from where it came, and two others
    assert any(isinstance(one, WorkerLost) and one.blameless for one in seen)
    assert_equal_rows(tmp_path / "undisturbed", tmp_path / "disturbed")


def machines_with(reference: Any) -> int:
    """Return how many machines hold a copy of an object."""
    from ray.experimental import get_object_locations

    return len(get_object_locations([reference])[reference]["node_ids"])


def test_no_machine_at_all(campaign: Path, run: Run, tmp_path: Path, nodes: Nodes) -> None:
    summary = run(campaign, tmp_path / "run", "ray", address=nodes.address, workers=1, patience=1.0)
    assert summary.stopped is not None
    assert "no worker could be had for 1 s" in summary.stopped
    assert summary.done == 0


def test_workers_with_half_a_gpu_and_without_any(
    campaign: Path,
    run: Run,
    tmp_path: Path,
    nodes: Nodes,
    watch: Watching,
) -> None:
    run(campaign, tmp_path / "undisturbed")
    nodes.add(num_gpus=1, num_cpus=2)
    nodes.add()
    kinds: list[list[int]] = []

    def note(executor: RayExecutor, event: WorkerEvent) -> None:
        if isinstance(event, WorkerReady):
            having = [kind for kind, _ in executor._actors.values()]
            kinds.append([having.count(kind) for kind in executor._kinds])

    watch(note)
    where = {"address": nodes.address, "gpus": 0.5, "cpu_workers": 1}
    summary = run(campaign, tmp_path / "mixed", "ray", **where)
    assert kinds[-1] == [2, 1]
    assert summary.done == TRIALS
    assert_equal_rows(tmp_path / "undisturbed", tmp_path / "mixed")


def test_more_than_the_machines_have_is_refused(
    campaign: Path, run: Run, tmp_path: Path, nodes: Nodes
) -> None:
    nodes.add(num_gpus=2)
    with pytest.raises(CampaignError, match="needs 1 CPU and 3 GPU; Ray has 1 CPU, 2 GPU"):
        run(campaign, tmp_path / "run", "ray", address=nodes.address, gpus=3)
    with pytest.raises(CampaignError, match="--cpu-workers: the other workers have no GPU"):
        run(campaign, tmp_path / "run", "ray", address=nodes.address, gpus=0, cpu_workers=1)
    with pytest.raises(CampaignError, match="--metrics-port: a cluster that is joined"):
        run(campaign, tmp_path / "run", "ray", address=nodes.address, metrics_port=8080)


def test_a_cluster_that_refuses_is_named(
    campaign: Path, run: Run, tmp_path: Path, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 64)
    with pytest.raises(CampaignError, match="takes calls with its token only") as error:
        run(campaign, tmp_path / "run", "ray", address=nodes.address)
    assert "RAY_AUTH_TOKEN" in str(error.value)
    assert "f" * 64 not in str(error.value)


def test_a_worker_that_hangs_is_ended_and_its_trials_go_elsewhere(
    campaign: Path,
    run: Run,
    tmp_path: Path,
    watch: Watching,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(campaign, tmp_path / "undisturbed")
    hung: list[int] = []
    given: list[int] = []
    submit = RayExecutor.submit

    def hang(_: RayExecutor, event: WorkerEvent) -> None:
        if isinstance(event, WorkerReady) and not hung:
            hung.append(process(event))
            os.kill(hung[0], signal.SIGSTOP)

    def skip(self: RayExecutor, worker: int, chunk: int, runs: Any) -> None:
        submit(self, worker, chunk, runs)
        if not given:
            clock.skip()
        given.append(chunk)

    watch(hang)
    monkeypatch.setattr(RayExecutor, "submit", skip)
    summary = run(campaign, tmp_path / "run", "ray", workers=1)
    assert (summary.done, summary.failed, summary.stopped) == (TRIALS, 0, None)
    assert_equal_rows(tmp_path / "undisturbed", tmp_path / "run")
    events = open_run(tmp_path / "run").events()
    (lost,) = events[events["event"] == "worker_lost"]["error"]
    assert "not done after 10" in lost  # thousand seconds, and some
    assert not is_alive(hung[0])


@pytest.fixture
def impatient(watch: Watching, clock: Clock) -> None:
    """Let the patience be over once a worker was lost."""

    def skip(_: RayExecutor, event: WorkerEvent) -> None:
        if isinstance(event, WorkerLost):
            clock.skip()

    watch(skip)


@pytest.mark.usefixtures("impatient")
def test_workers_that_cannot_start(
    campaign: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {"KERAS_BACKEND": "nonsense"}
    monkeypatch.setattr("orchestrator.executors.ray._worker_environment", lambda *_: broken)
    summary = run(campaign, tmp_path / "run", "ray", workers=1)
    assert summary.stopped is not None
    assert summary.stopped.startswith("no worker could be had for 300 s: ")
    assert "nonsense" in summary.stopped
    assert summary.done == 0


def test_a_run_on_this_machine_is_closed_and_serves_metrics_where_asked(
    campaign: Path,
    run: Run,
    tmp_path: Path,
    watch: Watching,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_metrics_report_interval_ms", "200")
    pages: list[str] = []
    strangers: list[subprocess.CompletedProcess[str]] = []
    tokens: list[str] = []
    port = free_port()

    def look(executor: RayExecutor, event: WorkerEvent) -> None:
        if isinstance(event, WorkerReady):
            address = executor._ray.get_runtime_context().gcs_address
            strangers.append(call_without_token(address))
            tokens.append(os.environ["RAY_AUTH_TOKEN"])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
            pages.append(page.read().decode())

    watch(look)
    run(campaign, tmp_path / "run", "ray", workers=1, metrics_port=port)
    (stranger,) = strangers
    assert stranger.returncode != 0
    assert "InvalidAuthToken" in stranger.stderr
    assert len(tokens[0]) == 64
    assert os.environ.get("RAY_AUTH_TOKEN") != tokens[0]
    files = [file for file in (tmp_path / "run").rglob("*") if file.is_file()]
    assert not [file for file in files if tokens[0].encode() in file.read_bytes()]
    last = pages[-1]
    assert "ray_injecttf2_trials_done_total{" in last
    assert 'layer="conv"' in last
    for name in ("injections_total", "chunk_seconds_bucket", "golden_blocks_total", "workers"):
        assert f"ray_injecttf2_{name}{{" in last


def call_without_token(address: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
    return subprocess.run(
        [sys.executable, "-c", f"import ray; ray._raylet.GcsClient({address!r})"],
        env={**environment, "RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.usefixtures("impatient")
def test_workers_that_ray_kills_for_their_memory(
    campaign: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.01")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    summary = run(campaign, tmp_path / "run", "ray", workers=1)
    assert summary.stopped is not None
    assert "OutOfMemoryError" in summary.stopped
    assert summary.done + summary.failed < TRIALS


def test_a_head_that_goes_stops_the_run_with_all_that_was_done_published(
    campaign: Path,
    run: Run,
    tmp_path: Path,
    watch: Watching,
) -> None:
    campaign.write_text(campaign.read_text().replace("repetitions: 3", "repetitions: 500"))
    others = descendants(os.getpid())  # among them the cluster that other tests need

    def kill(_: RayExecutor, event: WorkerEvent) -> None:
        if isinstance(event, ChunkDone) and not any(isinstance(one, ChunkDone) for one in seen):
            for process in set(descendants(os.getpid())).difference(others):
                if "gcs_server" in title(process):
                    os.kill(process, signal.SIGKILL)

    seen = watch(kill)
    with pytest.raises(StoppedError, match="Ray is gone"):
        run(campaign, tmp_path / "run", "ray", workers=1)
    done = sum(len(one.result.trials) for one in seen if isinstance(one, ChunkDone))
    assert len(open_run(tmp_path / "run").trials()) == done > 0
