"""Real campaigns while a demon kills workers, machines and drivers: the rows are the same.

``--kills`` says how often it kills, ``--chaos-seed`` what and when; ``make chaos`` is the long
form.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from results import open_run
from tests import networks
from tests.orchestrator.conftest import Nodes, Run, assert_equal_rows
from tests.processes import descendants, is_alive, title

pytestmark = pytest.mark.ray

REPETITIONS = 20
SAMPLES = 3_000
PATIENCE = "120"
DRIVER_ENDS = {0, 3, -signal.SIGKILL, -signal.SIGTERM}


def workers() -> list[int]:
    """Return the processes of Ray actors that this process is an ancestor of."""
    return sorted(
        process
        for process in descendants(os.getpid())
        if title(process).startswith("ray::RayWorker")
    )


def ended(processes: list[int], seconds: float = 120.0) -> bool:
    """Wait until some processes have ended, and tell whether they have."""
    limit = time.monotonic() + seconds
    while any(map(is_alive, processes)) and time.monotonic() < limit:
        time.sleep(0.1)
    return not any(map(is_alive, processes))


def start(command: str, *arguments: str, log: Any) -> subprocess.Popen[bytes]:
    """Start a command of injecttf2."""
    line = [sys.executable, "-m", "injecttf2", command, *arguments]
    return subprocess.Popen(line, stdout=log, stderr=log)


class Demon:
    """Runs a campaign to its end, killing what makes it run on the way.

    Args:
        campaign: The campaign file.
        output: The run directory.
        nodes: Of a Ray cluster; they may be killed.
        random: Who decides what is killed, and when.
    """

    def __init__(self, campaign: Path, output: Path, nodes: Nodes, random: Random) -> None:
        self.kills: Counter[str] = Counter()
        self._doomed: list[int] = []
        self._campaign = campaign
        self._output = output
        self._nodes = nodes
        self._random = random
        nodes.add()
        nodes.add()
        self._log = output.with_suffix(".log")

    def rage(self, kills: int) -> None:
        """Kill that often, then let the campaign finish."""
        while True:
            code = self._drive(kills)
            assert code in DRIVER_ENDS, self._log.read_text()
            if code == 0:
                if self.kills.total() >= kills:
                    return
                self._widen()
            elif self._random.random() < 0.5:
                self._compact()

    def leaves_nothing(self) -> bool:
        """Tell whether what the drivers had started has ended with them."""
        return ended(self._doomed)

    def _drive(self, kills: int) -> int:
        """Run the command until it ends, and return its exit code."""
        where = ["--address", self._nodes.address] if self._random.random() < 0.6 else []
        with self._log.open("a") as log:
            output = ["--output", str(self._output), "--patience", PATIENCE]
            driver = start("run", str(self._campaign), "--workers=2", *output, *where, log=log)
            while driver.poll() is None:
                pause = self._random.expovariate(1 / 2)
                try:
                    driver.wait(pause)
                except subprocess.TimeoutExpired:
                    if self.kills.total() < kills:
                        self._kill(driver, on_cluster=bool(where))
        return driver.returncode

    def _kill(self, driver: subprocess.Popen[bytes], *, on_cluster: bool) -> None:
        kinds = ["worker", "worker", "worker", "driver", "polite"] + ["node"] * on_cluster
        kind = self._random.choice(kinds)
        victims = workers()
        if not victims and (kind == "worker" or self._random.random() < 0.8):
            return  # mostly, wait until there is work to disturb
        if kind == "worker":
            os.kill(self._random.choice(victims), signal.SIGKILL)
        elif kind == "node":
            self._nodes.remove(self._random.choice(self._nodes.running))
            self._nodes.add()
        else:
            self._doomed += descendants(driver.pid)
            driver.send_signal(signal.SIGKILL if kind == "driver" else signal.SIGTERM)
            driver.wait()
        self.kills[kind] += 1

    def _widen(self) -> None:
        """Double the repetitions: the campaign was done before the demon was."""
        old = self._campaign.read_text()
        (line,) = [line for line in old.splitlines() if line.startswith("repetitions:")]
        number = int(line.partition(":")[2])
        self._campaign.write_text(old.replace(line, f"repetitions: {2 * number}"))

    def _compact(self) -> None:
        """Compact the run directory, and kill that as well, half of the time."""
        with self._log.open("a") as log:
            compacting = start("compact", str(self._output), log=log)
            if self._random.random() < 0.5:
                time.sleep(self._random.uniform(0.3, 2.0))
                compacting.kill()
                self.kills["compact"] += 1
            assert compacting.wait() in {0, 2, -signal.SIGKILL}, self._log.read_text()


@pytest.mark.timeout(7200)
def test_rows_are_those_of_an_undisturbed_run(
    campaign: Path, run: Run, tmp_path: Path, nodes: Nodes, request: pytest.FixtureRequest
) -> None:
    kills = request.config.getoption("--kills")
    seed = request.config.getoption("--chaos-seed")
    campaign.write_text(
        campaign.read_text().replace("repetitions: 3", f"repetitions: {REPETITIONS}")
    )
    inputs, labels = networks.data((8, 8, 1), 5, samples=SAMPLES)
    np.savez(campaign.with_name("data.npz"), x=inputs, y=labels)
    demon = Demon(campaign, tmp_path / "disturbed", nodes, Random(seed))
    demon.rage(kills)
    print(f"kills: {dict(demon.kills)}")
    assert demon.kills.total() >= kills
    run(campaign, tmp_path / "undisturbed")
    assert_equal_rows(tmp_path / "undisturbed", tmp_path / "disturbed")
    published = [
        trial_id
        for part in (tmp_path / "disturbed" / "trials").glob("part-*.parquet")
        for trial_id in pq.read_table(part)["trial_id"].to_pylist()
    ]
    assert len(published) == len(set(published))
    assert open_run(tmp_path / "disturbed").failures().empty
    assert not workers()
    assert demon.leaves_nothing()
