"""What a run says of itself before its first trial and while it is at work."""

from __future__ import annotations

import io
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from rich.console import Console

from orchestrator.campaign.campaign import load_campaign
from orchestrator.cli import console
from orchestrator.executors.run_options import RunOptions
from orchestrator.session import progress as showing
from orchestrator.session.counters import RunCounters
from orchestrator.session.launch import launch
from orchestrator.session.progress import LiveProgress, Progress, make_progress
from results import open_run

CAMPAIGN_TRIALS = 3 * 13 * 3 * 3

READY: Any = SimpleNamespace(golden={"accuracy": 0.5}, device="CPU")


class Clock:
    """A clock that stands until a test moves it."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(showing, "time", clock)
    return clock


def at_work(progress: Progress, clock: Clock) -> None:
    """Let a run of three layers have come half its way, 30 s after its start."""
    planned = Counter({"conv": 1000, "pool": 400, "dense": 600})
    counters = RunCounters(planned, todo=1600, done_before=400, given_up_before=0)
    progress.stage("golden run")
    progress.counters = counters
    progress.start({"conv": 1000, "pool": 0, "dense": 600})
    clock.now += 10
    counters.workers = 2
    progress.worker_started(READY)
    clock.now += 20
    counters.trials, counters.injections, counters.sdc, counters.due = 797, 50_000, 1_500, 20
    progress.chunk_done("dense", SimpleNamespace(trials=range(597)))  # type: ignore[arg-type]
    progress.chunk_done("conv", SimpleNamespace(trials=range(200)))  # type: ignore[arg-type]
    counters.given_up, counters.lost = 3, 1
    progress.trials_given_up("dense", 3, "no memory")


EXTENT = "1,197 of 2,000 trials | 0:30 elapsed | 0:20 left"
DETAILS = (
    "2,500 injections/s | sdc 3.00% | due 0.04% | layers 2 of 3 | 2 workers | 1 lost | 3 given up"
)


def test_a_log_has_a_line_for_each_stage_and_one_every_ten_seconds(clock: Clock) -> None:
    written = io.StringIO()
    progress = make_progress(Console(file=written, width=200))
    progress.stage("loading TensorFlow")
    clock.now += 9.9
    progress.tick()
    clock.now += 0.1
    progress.tick()
    progress.tick()
    progress.stage("starting workers")
    at_work(progress, clock)
    progress.tick()
    progress.close()
    assert written.getvalue().splitlines() == [
        "loading TensorFlow",
        "loading TensorFlow | 0:10 elapsed",
        "starting workers",
        "golden run",
        "resuming: 400 of 2,000 trials are done",
        "golden accuracy 50.00% on CPU",
        "gave up on trials of dense: no memory",
        f"{EXTENT.replace('0:30', '0:40')} | {DETAILS}",
    ]


def test_a_terminal_has_one_bar_for_all_layers(clock: Clock) -> None:
    terminal = Console(file=io.StringIO(), width=120, force_terminal=True)
    progress = make_progress(terminal)
    assert isinstance(progress, LiveProgress)
    at_work(progress, clock)
    progress.close()
    shown = Console(file=io.StringIO(), width=120)
    shown.print(progress._render())
    bar = "━" * 18  # of 30, for 1,200 of 2,000
    first, second = shown.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert first.split(maxsplit=1) == [bar, EXTENT]
    assert second == DETAILS


def test_stages_replace_each_other_on_a_terminal(clock: Clock) -> None:
    written = io.StringIO()
    progress = make_progress(Console(file=written, width=80, force_terminal=True))
    progress.stage("loading TensorFlow")
    progress.stage("loading the model")
    progress.close()
    said = written.getvalue()
    assert "loading TensorFlow | 0:00 elapsed" in said
    between = said[said.index("loading TensorFlow") : said.index("loading the model")]
    assert "\n" not in between
    assert "\x1b[2K" in between  # the line is erased


def test_before_a_layer_is_done_no_rate_and_no_time_left_is_told(clock: Clock) -> None:
    progress = make_progress(Console(file=io.StringIO()))
    counters = RunCounters(Counter(conv=1000), 1000, 0, 0, workers=1)
    progress.counters = counters
    progress.start({"conv": 1000})
    progress.worker_started(READY)
    clock.now += 3
    assert progress.line == "0 of 1,000 trials | 0:03 elapsed | layers 0 of 1 | 1 worker"


def test_released_trials_open_a_layer_again(clock: Clock) -> None:
    progress = make_progress(Console(file=io.StringIO()))
    counters = RunCounters(Counter(conv=10), 10, 0, 0, workers=1)
    progress.counters = counters
    progress.start({"conv": 10})
    progress.chunk_done("conv", SimpleNamespace(trials=range(10)))  # type: ignore[arg-type]
    assert "layers 1 of 1" in progress.line
    progress.trials_released("conv", 5)
    assert "layers 0 of 1" in progress.line


def test_a_run_tells_its_stages_and_counts_its_outcomes(
    campaign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(showing, "LINE_SECONDS", 0.0)
    written = io.StringIO()
    options = RunOptions(str(tmp_path / "run"), executor="inline")
    launch(load_campaign(campaign), options, Console(file=written, width=400))
    lines = written.getvalue().splitlines()
    rows = open_run(tmp_path / "run").trials(["injected", "sdc", "due"]).sum()
    told = [line for line in lines if " | " not in line and not line.startswith(("golden a", "w"))]
    assert told[:4] == [
        "loading TensorFlow",
        "loading the model",
        "loading the data",
        "tracing the model",
    ]
    assert "golden run" in told
    last = lines[-1].split(" | ")
    assert last[0] == f"{CAMPAIGN_TRIALS} of {CAMPAIGN_TRIALS} trials"
    assert f"sdc {rows['sdc'] / rows['injected']:.2%}" in last
    assert f"due {rows['due'] / rows['injected']:.2%}" in last
    assert last[-2:] == ["layers 3 of 3", "1 worker"]


CELL = """
from injecttf2 import load_campaign, run
results = run(load_campaign({campaign!r}), {output!r}, executor="inline", quiet={quiet})
"""


@pytest.mark.parametrize("quiet", [False, True])
def test_a_notebook_has_one_line_that_changes_and_no_noise(
    quiet: bool, campaign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    code = CELL.format(campaign=str(campaign), output=str(tmp_path / "run"), quiet=quiet)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, timeout=240).execute()
    outputs = notebook.cells[0].outputs
    assert {one["output_type"] for one in outputs} <= {"display_data"}  # no stream: no noise
    lines = [one["data"]["text/plain"] for one in outputs]
    at = [line for line in lines if " | " in line]
    assert [line.split(" | ")[0] for line in at] == (
        [] if quiet else [f"{CAMPAIGN_TRIALS} of {CAMPAIGN_TRIALS} trials"]
    )
    assert not [line for line in lines if "loading" in line]
    assert bool(lines) != quiet


def test_python_says_what_it_does_and_nothing_of_tensorflows(
    campaign: Path, tmp_path: Path
) -> None:
    code = CELL.format(campaign=str(campaign), output=str(tmp_path / "run"), quiet=False)
    code += "import os; assert 'TF_CPP_MIN_LOG_LEVEL' not in os.environ"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    own = ("loading ", "tracing ", "data: ", "golden ", "without faults ")
    lines = done.stderr.splitlines()
    assert [line for line in lines if not line.startswith(own) and " | " not in line] == []
    assert lines[0] == "loading TensorFlow"


def test_a_stage_is_told_before_anything_heavy_is_imported() -> None:
    code = (
        "import sys\n"
        "from orchestrator.session.launch import launch\n"
        "print(sorted({'tensorflow', 'keras', 'ray', 'pandas'} & {*sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_warning_that_is_logged_is_told_unless_a_script_sets_up_logs() -> None:
    code = (
        "import logging, sys\n"
        "from orchestrator.cli.console import told_logs\n"
        "import injecttf2\n"
        "logging.getLogger('injecttf2').warning('unheard')\n"
        "with told_logs():\n"
        "    logging.getLogger('injecttf2').warning('told')\n"
        "logging.basicConfig(format='%(message)s', stream=sys.stdout)\n"
        "with told_logs():\n"
        "    logging.getLogger('orchestrator.executors').warning('logged')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("logged\n", "told\n")


def test_a_live_display_moves_the_cursor_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    odd = "a\x1b[2Jb"
    progress = make_progress(console.messages())
    progress.stage(odd)
    progress.close()
    assert r"a\x1b[2Jb" in written.getvalue()
    assert odd not in written.getvalue()
    assert "\x1b[?25l" in written.getvalue()  # the cursor is hidden
