"""A campaign as a Ray job on a real cluster that demands a token: `ray job submit`."""

from __future__ import annotations

import io
import os
import re
import secrets
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from injecttf2 import device
from orchestrator.campaign.campaign import load_campaign
from orchestrator.executors.run_options import RunOptions
from orchestrator.session.launch import launch
from results import open_run
from tests import networks
from tests.orchestrator.conftest import assert_equal_rows

pytestmark = pytest.mark.ray

BIN = Path(sys.executable).parent
RAY = str(BIN / "ray")

CAMPAIGN = """
name: job
model: model.keras
dataset: data.npz
seed: 3
repetitions: 2
grid:
  layers: [conv, logits]
  bits: [0, 31]
  probabilities: [1.0]
"""
TRIALS = 2 * 2 * 2

END_SECONDS = 60


@dataclass(frozen=True)
class Head:
    """A head node: where jobs are submitted, its token, and the folder of its sessions."""

    url: str
    token: str
    sessions: Path


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A head node of its own on free ports; it and all that it started are gone afterwards."""
    token = secrets.token_hex(32)
    with tempfile.TemporaryDirectory(prefix="ij-") as sessions:  # short: sockets lie in there
        command = [RAY, "start", "--head", "--block", "--port=0", "--num-cpus=2"]
        command += ["--include-dashboard=true", "--dashboard-host=127.0.0.1", "--dashboard-port=0"]
        command += [f"--ray-client-server-port={_free_port()}"]
        command += [f"--dashboard-agent-listen-port={_free_port()}"]
        command += [f"--temp-dir={sessions}", "--disable-usage-stats"]
        process = subprocess.Popen(
            command,
            env={**_environment(), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with _ended_with_all_its_children(process):
            yield Head(_dashboard(process), token, Path(sessions))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign with its model and data, as it is sent to the cluster."""
    device.load()
    folder = tmp_path_factory.mktemp("campaign")
    networks.cnn().save(folder / "model.keras")
    inputs, labels = networks.data((8, 8, 1), 5)
    np.savez(folder / "data.npz", x=inputs, y=labels)
    (folder / "campaign.yaml").write_text(CAMPAIGN)
    return folder


def submit(
    head: Head, folder: Path, entrypoint: list[str], **authentication: str
) -> subprocess.CompletedProcess[str]:
    """Submit a job and wait for its end; without a home, no token is found there."""
    return subprocess.run(
        [RAY, "job", "submit", "--address", head.url, "--working-dir", folder, "--", *entrypoint],
        env={**_environment(), "HOME": str(head.sessions / "nobody"), **authentication},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_campaign_as_a_ray_job_gives_the_rows_of_an_inline_run(
    head: Head, folder: Path, tmp_path: Path
) -> None:
    inline, output = tmp_path / "inline", tmp_path / "job"
    options = RunOptions(str(inline), executor="inline")
    launch(load_campaign(folder / "campaign.yaml"), options, Console(file=io.StringIO()))
    entrypoint = ["injecttf2", "run", "campaign.yaml", "--address", "auto", "--executor", "ray"]
    entrypoint += ["--workers", "1", "--output", str(output)]
    done = submit(head, folder, entrypoint, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=head.token)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Job 'raysubmit_\w+' succeeded", done.stdout)
    assert len(open_run(output).trials()) == TRIALS
    assert_equal_rows(inline, output)
    assert _files_with(head.token, output) == []
    assert _files_with(head.token, head.sessions) == []


def test_the_exit_code_of_a_failed_command_is_told(head: Head, folder: Path) -> None:
    failed = submit(
        head,
        folder,
        ["injecttf2", "status", "missing"],
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN=head.token,
    )
    assert failed.returncode == 1
    assert "Job entrypoint command failed with exit code 2" in failed.stdout


def test_a_job_without_the_token_is_refused(head: Head, folder: Path) -> None:
    refused = submit(head, folder, ["true"], RAY_AUTH_MODE="disabled")
    assert refused.returncode == 1
    assert "Authentication required: Unauthorized" in refused.stderr


def test_a_job_with_another_token_is_refused(head: Head, folder: Path) -> None:
    refused = submit(head, folder, ["true"], RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="ab" * 32)
    assert refused.returncode == 1
    assert "Forbidden: Invalid authentication token" in refused.stderr


def _environment() -> dict[str, str]:
    """This process's environment without what other tests have told Ray, and with our program."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**kept, "PATH": f"{BIN}{os.pathsep}{kept['PATH']}"}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _dashboard(process: subprocess.Popen[str]) -> str:
    """Read what a head prints until it is up; return the address for jobs."""
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        printed.append(line)
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            return found[0]
    pytest.fail(f"the head did not start:\n{''.join(printed)}")


@contextmanager
def _ended_with_all_its_children(process: subprocess.Popen[str]) -> Iterator[None]:
    """End a process at the end; fail if one that it has started outlives it."""
    try:
        yield
    finally:
        descendants = list(_descendants(process.pid))
        process.terminate()
        process.communicate(timeout=END_SECONDS)
        left = [handle for handle in descendants if not _ends(handle)]
    assert left == []


def _descendants(pid: int) -> Iterator[int]:
    """Yield handles of the processes below one; those that end meanwhile are left out."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in tasks.read_text().split():
                yield os.pidfd_open(int(child))
                yield from _descendants(int(child))


def _ends(handle: int) -> bool:
    """Wait until a process that is not our child has ended."""
    ready, _, _ = select.select([handle], [], [], END_SECONDS)
    os.close(handle)
    return bool(ready)


def _files_with(text: str, folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if text.encode() in path.read_bytes()]
