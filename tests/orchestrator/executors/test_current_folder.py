"""Files that happen to lie in the current folder stand in for no module, here or on workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from injecttf2 import __version__
from results import open_run
from tests.orchestrator.conftest import assert_equal_rows

ROOT = Path(__file__).parents[3]

NAMES = ("results", "orchestrator", "injecttf2", "statistics", "keras", "tensorflow", "ray", "rich")

FAULT = """
from dataclasses import dataclass


@dataclass(frozen=True)
class Gain:
    def corrupt(self, values, draws):
        import statistics
        from tables import gain

        return values * values.dtype.type(gain(statistics.mean([1.0, 3.0])))
"""


def test_files_in_the_current_folder_do_not_stop_workers_and_are_not_run(
    campaign: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    for name in NAMES:
        text = f"open({str(mark)!r}, 'a').write({name!r})\nraise SystemExit('not me')\n"
        campaign.with_name(f"{name}.py").write_text(text)
    campaign.with_name("faults_here.py").write_text(FAULT)
    campaign.with_name("tables.py").write_text("def gain(mean):\n    return -1000 * mean\n")
    head = campaign.read_text().partition("grid:")[0]
    campaign.write_text(f'{head}grid: {{layers: conv, fault: "faults_here:Gain", counts: 500}}\n')
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for executor in (["inline"], ["ray", "--workers", "1", "--patience", "60"]):
        command = str(Path(sys.executable).with_name("injecttf2"))
        output = ["--output", f"{executor[0]}-run", "--json"]
        done = subprocess.run(
            [command, "run", campaign.name, "--executor", *executor, *output],
            cwd=campaign.parent,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["done"] == 3
    assert not mark.exists()
    assert_equal_rows(campaign.with_name("inline-run"), campaign.with_name("ray-run"))
    assert open_run(campaign.with_name("ray-run")).trials()["sdc"].sum() > 0


@pytest.mark.parametrize("name", ["orchestrator", "results"])
def test_another_package_of_that_name_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text("raise SystemExit('not me')\n")
    done = subprocess.run(
        [sys.executable, "-m", "injecttf2", "--version"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: injecttf2 needs its own package {name!r}, in {ROOT}; Python finds it at "
        f"{tmp_path / name}.py: rename or uninstall that, or run injecttf2 from another folder\n"
    )


def test_a_file_of_that_name_one_folder_down_is_told_too(tmp_path: Path) -> None:
    for package in ("injecttf2", "orchestrator", "results"):
        (tmp_path / package).symlink_to(ROOT / package)
    below = tmp_path / "below"
    below.mkdir()
    (below / "results.py").write_text("raise SystemExit('not me')\n")
    done = subprocess.run(
        [sys.executable, "-m", "injecttf2", "--version"],
        cwd=below,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"Python finds it at {below / 'results.py'}" in done.stderr


def test_the_command_is_a_module_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "injecttf2", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.stdout, done.stderr) == (f"injecttf2 {__version__}\n", "")
