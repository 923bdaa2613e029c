"""A run goes on only where kernels round as they did, unless the user says otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from results import open_run
from tests.injecttf2.evaluation.test_numerics import needs_avx2
from tests.orchestrator.conftest import Command, Run

TRIALS = 3 * 13 * 3 * 3


def on_an_older_node(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a process whose kernels use SSE4.1 only."""
    code = "from orchestrator.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "SSE41", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


@needs_avx2
def test_a_run_that_goes_on_with_other_kernels_is_refused_unless_it_is_allowed(
    campaign: Path, run: Run, tmp_path: Path, injecttf2: Command
) -> None:
    folder = tmp_path / "run"
    run(campaign, folder)
    (first,) = open_run(folder).numerics
    assert (first["device"], open_run(folder).provenance["mixed_numerics"]) == ("CPU", "none")
    campaign.write_text(campaign.read_text().replace("repetitions: 3", "repetitions: 4"))
    again = ("run", campaign, "--executor", "inline", "--output", folder, "--no-report")
    refused = on_an_older_node(*again)
    assert refused.returncode == 2
    said = " ".join(refused.stderr.split())
    assert "it is of another class of numerics than the run's rows" in said
    assert "-> SSE41" in said
    assert "--any-numerics takes it all the same" in said
    assert "Traceback" not in refused.stderr
    assert open_run(folder).status().done == TRIALS
    assert on_an_older_node(*again, "--any-numerics").returncode == 0
    mixed = open_run(folder)
    assert mixed.status().done == TRIALS * 4 // 3
    assert [one["settings"]["instructions"] for one in mixed.numerics][1] == "SSE41"
    assert mixed.provenance["mixed_numerics"] == "any"
    started = mixed.events().query("event == 'worker_started'")["numerics"]
    assert [one["kernels"] for one in started] == [one["kernels"] for one in mixed.numerics]


def test_a_replay_that_differs_says_that_its_kernels_are_others(
    campaign: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.executors import worker
    from orchestrator.session import replay as replaying

    run(campaign, tmp_path / "run")
    trial_id = int(open_run(tmp_path / "run").trials()["trial_id"].iloc[0])
    assert replaying.replay(str(tmp_path / "run"), trial_id) == {}
    (first,) = open_run(tmp_path / "run").numerics
    monkeypatch.setattr(worker, "kernels_digest", lambda: "others")
    assert replaying.replay(str(tmp_path / "run"), trial_id) == {}  # the row is equal all the same
    monkeypatch.setattr(replaying, "_equal", lambda *_: False)
    told = replaying.replay(str(tmp_path / "run"), trial_id)
    assert told["numerics.kernels"] == (first["kernels"], "others")
