"""Options of the command line: help, completion, and what the environment says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.executors.run_options import RunOptions
from tests.orchestrator.conftest import Command

ENVIRONMENT = {
    "INJECTTF2_WORKERS": "3",
    "INJECTTF2_CPUS_PER_WORKER": "2",
    "INJECTTF2_GPUS_PER_WORKER": "0.5",
    "INJECTTF2_CPU_WORKERS": "4",
    "INJECTTF2_LEVELS": "drop",
    "INJECTTF2_PATIENCE": "60",
    "INJECTTF2_METRICS_PORT": "8080",
    "RAY_ADDRESS": "head:6379",
}


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[RunOptions]:
    """How campaigns would have been run."""
    found: list[RunOptions] = []

    def noted(campaign: Any, options: RunOptions, *_: Any) -> None:
        found.append(options)
        raise SystemExit

    monkeypatch.setattr("orchestrator.session.launch.launch", noted)
    for name in (*ENVIRONMENT, "INJECTTF2_EXECUTOR"):
        monkeypatch.delenv(name, raising=False)
    return found


def test_the_environment_says_how_to_run(
    campaign: Path,
    injecttf2: Command,
    launched: list[RunOptions],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    injecttf2("run", campaign)
    injecttf2("run", campaign, "--workers", "7", "--address", "local")
    injecttf2("run", campaign, "--executor", "inline")
    monkeypatch.setenv("INJECTTF2_EXECUTOR", "inline")
    injecttf2("run", campaign)
    first = RunOptions(
        "runs/small",
        workers=3,
        cpus=2,
        gpus=0.5,
        cpu_workers=4,
        address="head:6379",
        levels=("drop",),
        patience=60.0,
        metrics_port=8080,
    )
    inline = RunOptions("runs/small", executor="inline", levels=("drop",))
    assert launched[0] == first
    assert (launched[1].workers, launched[1].address) == (7, None)
    assert launched[2:] == [inline, inline]
    assert launched[0].named("--address") == "RAY_ADDRESS"
    assert launched[1].named("--address") == "--address"
    assert launched[1].named("--patience") == "INJECTTF2_PATIENCE"


def test_an_address_that_is_none_is_told_at_once_with_its_variable(
    campaign: Path, injecttf2: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.session.launch.look", lambda _: pytest.fail("too late"))
    told = "no Ray cluster answers at 'nonsense': this is not HOST:PORT\n  expected HOST:PORT of a "
    told += "running head node, or auto on a machine of the cluster\n"
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    ended = injecttf2("run", campaign)
    assert (ended.code, ended.out, ended.err) == (2, "", f"error: RAY_ADDRESS: {told}")
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    ended = injecttf2("run", campaign, "--address", "nonsense")
    assert (ended.code, ended.out, ended.err) == (2, "", f"error: --address: {told}")


def test_what_the_answer_cannot_be_ranked_by_is_told_before_anything_runs(
    campaign: Path, injecttf2: Command, tmp_path: Path
) -> None:
    command = ("run", campaign, "--executor", "inline", "--output", tmp_path / "run")
    expected = "sdc, due, critical, sdc+due, accuracy_lost"
    ended = injecttf2(*command, "--sort", "sdc_top5")
    told = f"error: metric names 'sdc_top5', expected one of: {expected}.\n"
    assert (ended.code, ended.out, ended.err) == (2, "", told)
    campaign.write_text(f"{campaign.read_text()}criteria: top3\n")
    ended = injecttf2(*command, "--sort", "sdc_top5")
    told = f"error: metric names 'sdc_top5', expected one of: sdc_top3, {expected}.\n"
    assert (ended.code, ended.out, ended.error) == (2, "", told)
    assert not (tmp_path / "run").exists()


def test_an_option_of_the_command_that_does_not_go_with_inline_is_still_refused(
    campaign: Path, injecttf2: Command
) -> None:
    ended = injecttf2("run", campaign, "--executor", "inline", "--workers", "2")
    assert ended.code == 2
    assert ended.err.startswith("error: --workers: the inline executor runs in this process")


def test_a_wrong_value_in_the_environment_is_told_with_its_variable(
    campaign: Path, injecttf2: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INJECTTF2_WORKERS", "many")
    ended = injecttf2("run", campaign)
    told = "error: INJECTTF2_WORKERS: received 'many', expected a whole number\n"
    assert (ended.code, ended.err) == (2, told)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--workers", "many", "a whole number"),
        ("--workers", "0", "1 or more"),
        ("--gpus-per-worker", "half", "a number"),
        ("--metrics-port", "99999", "65535 or less"),
        ("--executor", "rya", "one of 'auto', 'ray', 'inline'"),
    ],
)
def test_a_wrong_value_of_an_option_is_told_with_what_was_expected(
    option: str, value: str, expected: str, campaign: Path, injecttf2: Command
) -> None:
    ended = injecttf2("run", campaign, option, value)
    told = f"error: {option}: received {value!r}, expected {expected}\n"
    assert (ended.code, ended.out, ended.err) == (2, "", told)


def test_a_variable_that_means_nothing_is_told_once_with_the_near_one(
    campaign: Path,
    injecttf2: Command,
    launched: list[RunOptions],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INJECTTF2_WORKERZ", "3")
    monkeypatch.setenv("INJECTTF2_DATA", "data")
    ended = injecttf2("run", campaign)
    assert ended.err == (
        "the variable INJECTTF2_WORKERZ means nothing; did you mean 'INJECTTF2_WORKERS'?\n"
    )
    assert launched[0].workers is None


def test_a_wrong_override_is_to_be_corrected_itself(campaign: Path, injecttf2: Command) -> None:
    hint = "  correct the override and run the command again\n"
    for override in ("repetitions=-1", "grid.bits=[1"):
        ended = injecttf2("run", campaign, "-o", override)
        assert ended.code == 2
        assert ended.err.startswith(f"error: -o {override.partition('=')[0]}: ")
        assert ended.err.endswith(hint)


def test_help_is_not_cut(injecttf2: Command) -> None:
    ended = injecttf2("--help")
    assert ended.code == 0
    assert "..." not in ended.out.partition("Commands:")[2]
    told = " ".join(ended.out.split())
    assert "the same command again goes on where it stopped. plan Say what" in told


def test_help_names_the_variables(injecttf2: Command) -> None:
    told = " ".join(injecttf2("run", "--help").out.split())
    for name in (*ENVIRONMENT, "INJECTTF2_EXECUTOR"):
        assert f"env var: {name}" in told


def test_the_version_is_told(injecttf2: Command) -> None:
    from injecttf2 import __version__

    assert injecttf2("--version").out == f"injecttf2 {__version__}\n"


def test_a_shell_completes_commands() -> None:
    words = {"COMP_WORDS": "injecttf2 re", "COMP_CWORD": "1"}
    done = subprocess.run(
        [Path(sys.executable).with_name("injecttf2")],
        env={**os.environ, **words, "_INJECTTF2_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
    )
    assert (done.stdout.split(), done.stderr) == (["report", "replay"], "")
