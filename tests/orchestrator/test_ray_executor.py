"""Ray executor on a real Ray: closed by a token, quiet, and able to lose workers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from injecttf2.errors import CampaignError
from orchestrator.executors import Reply, Started
from orchestrator.executors.ray import RayExecutor
from tests.orchestrator.conftest import Run, assert_equal_rows

TRIALS = 3 * 13 * 3 * 3


def test_a_killed_worker_is_replaced_and_the_rows_are_equal(
    campaign: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(campaign, tmp_path / "undisturbed")
    killed: list[int] = []
    replies = RayExecutor.replies

    def killing(self: RayExecutor, timeout: float) -> list[Reply]:
        found = replies(self, timeout)
        for reply in found:
            if isinstance(reply, Started) and not killed:
                killed.append(int(reply.ready.name.rpartition(":")[2]))
                os.kill(killed[0], signal.SIGKILL)
        return found

    monkeypatch.setattr(RayExecutor, "replies", killing)
    summary = run(campaign, tmp_path / "disturbed", "ray", workers=2)
    assert len(killed) == 1
    assert (summary.done, summary.failed, summary.stopped) == (TRIALS, 0, None)
    assert_equal_rows(tmp_path / "undisturbed", tmp_path / "disturbed")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:10001", "nonsense"])
def test_a_cluster_that_does_not_answer_is_named(
    address: str, campaign: Path, run: Run, tmp_path: Path
) -> None:
    with pytest.raises(CampaignError, match=f"no Ray cluster answers at '{address}'") as error:
        run(campaign, tmp_path / "run", "ray", address=address)
    assert error.value.place == "--address"
    assert not list((tmp_path / "run" / "trials").glob("*"))


def test_a_run_prints_nothing_of_rays_own(campaign: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "orchestrator.cli", "run", str(campaign)]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "run"), "--workers", "1", "--json"],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 1
    own = re.compile(r"golden accuracy .+|starting workers \.\.\.|.+ trials \| .+")
    assert [line for line in done.stderr.splitlines() if not own.fullmatch(line)] == []
    assert not (tmp_path / ".ray").exists()
