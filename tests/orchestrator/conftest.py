"""A small campaign that runs in seconds, and ways to run it."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from ray.cluster_utils import Cluster
from rich.console import Console

from injecttf2 import device
from orchestrator.campaign.campaign import load_campaign
from orchestrator.cli import main as cli
from orchestrator.executors.ray_connection import reread_environment
from orchestrator.executors.run_options import RunOptions
from orchestrator.session import launch as launching
from orchestrator.session.launch import launch
from orchestrator.session.session import Summary
from results import PURE_COLUMNS, open_run
from tests import networks

CAMPAIGN = """
name: small
model: model.keras
dataset: data.npz
seed: 11
repetitions: 3
grid:
  layers: [conv, pool, logits]
  bits: [0, 22, 23-30, 31, random, exponent]
  probabilities: [0.0, 0.2, 1.0]
"""


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    """A campaign file beside its model and data: 3 layers x 13 faults x 3 rates x 3 repetitions."""
    device.load()
    networks.cnn().save(tmp_path / "model.keras")
    inputs, labels = networks.data((8, 8, 1), 5)
    np.savez(tmp_path / "data.npz", x=inputs, y=labels)
    file = tmp_path / "small.yaml"
    file.write_text(CAMPAIGN)
    return file


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Change how trials are given to workers."""
    usual = launching._settings

    def change(**changes: float) -> None:
        monkeypatch.setattr(launching, "_settings", lambda *how: replace(usual(*how), **changes))

    return change


class Clock:
    """The clock that a session reads: time goes on by itself, and a test may skip some of it.

    What is late is so by this clock, so that no test has to be as quick as a deadline.
    """

    def __init__(self) -> None:
        self._skipped = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self._skipped

    def skip(self) -> None:
        """Let so much time pass that every deadline and all patience are over."""
        self._skipped += 10_000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the sessions of a test."""
    clock = Clock()
    monkeypatch.setattr("orchestrator.session.session.time", clock)
    return clock


Run = Callable[..., Summary]


@pytest.fixture
def run() -> Run:
    """Run a campaign file into a folder, quietly."""

    def launched(file: Path, output: Path, executor: str = "inline", **options: object) -> Summary:
        chosen = RunOptions(str(output), executor=executor, **options)  # type: ignore[arg-type]
        return launch(load_campaign(file), chosen, Console(file=io.StringIO()))

    return launched


def pure_rows(folder: Path | str) -> pd.DataFrame:
    """The rows of a run without timing and provenance, by trial."""
    trials = open_run(folder).trials(list(PURE_COLUMNS))
    return trials.sort_values("trial_id").reset_index(drop=True)


def assert_equal_rows(one: Path | str, other: Path | str) -> None:
    pd.testing.assert_frame_equal(pure_rows(one), pure_rows(other), check_exact=True)


CLOSED = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
    "RAY_USAGE_STATS_ENABLED": "0",
}


class Nodes:
    """Nodes of a Ray cluster, all on this machine; its head has no CPU and does no work."""

    def __init__(self, cluster: Cluster) -> None:
        self.address: str = cluster.address
        self.running: list[Any] = []
        self._cluster = cluster

    def add(self, **resources: Any) -> Any:
        node = self._cluster.add_node(**{"num_cpus": 1, "object_store_memory": 2**27, **resources})
        self.running.append(node)
        return node

    def remove(self, node: Any) -> None:
        """Kill a node without warning."""
        self.running.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)


@pytest.fixture(scope="session")
def head() -> Iterator[Cluster]:
    with mock.patch.dict(os.environ, CLOSED):
        reread_environment()
        resources = {"num_cpus": 0, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=resources)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def nodes(head: Cluster) -> Iterator[Nodes]:
    """A Ray cluster without any node but its head, and the environment that may join it."""
    with mock.patch.dict(os.environ, CLOSED):
        reread_environment()
        nodes = Nodes(head)
        yield nodes
        reread_environment()
        for node in nodes.running:
            head.remove_node(node)
        head.wait_for_nodes()


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """What is said from the error on, behind the stages that a run went through."""
        return self.err[self.err.find("error: ") :]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Ended]


@pytest.fixture
def injecttf2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.delenv("COLUMNS", raising=False)  # a process that pytest starts has 80

    def run_command(*arguments: object) -> Ended:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["injecttf2", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        output = capsys.readouterr()
        return Ended(int(exit_.value.code or 0), output.out, output.err)

    return run_command
