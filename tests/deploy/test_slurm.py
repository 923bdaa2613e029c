"""The batch script of the guide's page on Slurm, run where there is none: what it starts is real.

It runs with processes and a network of its own: ``ray symmetric-run`` ends every Ray of the machine
that it sees, and takes the port 6379.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from ray.scripts.scripts import start
from ray.scripts.symmetric_run import symmetric_run

from results import RunNotFoundError, open_run
from tests.deploy.commands import unknown_options
from tests.docs.pages import blocks

PAGE = "docs/guide/slurm.md"
SCRIPT = next(block.code for block in blocks(PAGE) if block.language == "bash")

ALONE = shlex.split("unshare --map-root-user --net --pid --fork --kill-child --mount-proc bash -c")
LOOPBACK = "ip link set lo up"

CAMPAIGN = """
name: digits
model: builtin:digits_cnn
dataset: {source: digits, samples: 20}
repetitions: 10_000_000
grid: {layers: dense, bits: [30], counts: 1}
"""

STAND_INS = {
    "srun": 'while [[ $1 == -* ]]; do shift; done; exec "$@"',
    "scontrol": 'case $1 in show) echo 127.0.0.1;; requeue) echo "$2" > requeued;; esac',
}


def test_it_is_a_script_with_one_task_a_node() -> None:
    subprocess.run(["bash", "-n"], input=SCRIPT, text=True, check=True)
    directives = [line for line in SCRIPT.splitlines() if line.startswith("#SBATCH")]
    assert {"#SBATCH --exclusive", "#SBATCH --ntasks-per-node=1"} <= {*directives}


def commands() -> list[list[str]]:
    """What ``ray symmetric-run`` is given in the script and in the other blocks of the page."""
    lines = [
        line
        for block in blocks(PAGE)
        for line in block.code.replace("\\\n", " ").splitlines()
        if "symmetric-run" in line
    ]
    words = [shlex.split(line) for line in lines]
    return [one[one.index("symmetric-run") + 1 :] for one in words]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_options_exist(words: list[str]) -> None:
    options, ours = words[: words.index("--")], words[words.index("injecttf2") :]
    taken = {
        name for command in (symmetric_run, start) for one in command.params for name in one.opts
    }
    assert {word.partition("=")[0] for word in options if word.startswith("--")} <= taken
    assert unknown_options(ours) == set()


@pytest.mark.ray
def test_its_run_is_ended_before_the_limit_and_requeued(tmp_path: Path) -> None:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("there is no `unshare` or no `ip` to give the script a network of its own")
    if subprocess.run([*ALONE, LOOPBACK], capture_output=True).returncode:
        pytest.skip("this machine allows nobody processes and a network of their own")
    home, job = tmp_path / "home", tmp_path / "job"
    for folder in (home / "injecttf2" / "bin", home / ".injecttf2" / "auth", job, tmp_path / "bin"):
        folder.mkdir(parents=True)
    activate = f'PATH="{Path(sys.executable).parent}:$PATH"'
    (home / "injecttf2" / "bin" / "activate").write_text(activate)
    (home / ".injecttf2" / "auth" / "token").write_text("0123456789abcdef" * 4)
    for name, code in STAND_INS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{code}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (job / "campaign.yaml").write_text(CAMPAIGN)
    (job / "campaign.sh").write_text(SCRIPT)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "HOME": str(home),
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "RAY_USAGE_STATS_ENABLED": "0",
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_JOB_END_TIME": str(int(time.time()) + 3600),
        "SLURM_JOB_ID": f"{os.getpid()}",
        "SLURM_JOB_NODELIST": "node",
        "SLURM_JOB_NUM_NODES": "1",
    }
    with (tmp_path / "log").open("w") as log:
        batch = subprocess.Popen(
            [*ALONE, f"{LOOPBACK}; bash campaign.sh"],
            cwd=job,
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            while not done(job / "runs" / "digits"):
                assert batch.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.5)
            timer(batch.pid).send_signal(signal.SIGTERM)  # it does the same when its time is over
            code = batch.wait()
        finally:
            batch.kill()  # with it end all processes of its own
    assert code == 3, (tmp_path / "log").read_text()
    assert (job / "requeued").read_text() == f"{os.getpid()}\n"
    state = open_run(job / "runs" / "digits").status()
    assert state.heartbeat is not None
    assert (state.heartbeat.state, state.heartbeat.details["reason"]) == (
        "stopped",
        "it was interrupted",
    )
    assert not Path(f"/tmp/{os.getpid()}").exists()  # noqa: S108 - the script's


def done(run: Path) -> int:
    """How many trials of a run are published."""
    try:
        return open_run(run).status().done
    except RunNotFoundError:
        return 0


def timer(pid: int) -> psutil.Process:
    """The command ``timeout`` among the descendants of a process."""
    found = psutil.Process(pid).children(recursive=True)
    return next(one for one in found if one.name() == "timeout")
