"""Listeners of the user's own: found by name, told what happens, and never a danger to a run."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from injecttf2 import Listener
from injecttf2.errors import CampaignError
from orchestrator import load_campaign
from orchestrator import run as run_from_python
from orchestrator.executors.inline import InlineExecutor
from orchestrator.session import own_listeners
from results import open_run
from tests.builders import install_package
from tests.orchestrator.conftest import Command, Run, assert_equal_rows

TRIALS = 3 * 13 * 3 * 3

MODULE = """
import json
from pathlib import Path

from injecttf2 import Listener, open_run


class Writes(Listener):
    def start(self, todo):
        print("heard")
        self.told = [["start", dict(todo), self.campaign["seed"], self.counters.trials]]

    def tick(self):
        self.told.append(["tick", self.counters.trials])

    def finish(self, stopped):
        run = open_run(self.output).status()
        self.told.append(["finish", stopped, self.counters.trials, run.done, run.heartbeat.state])
        Path(__file__).with_name("told.json").write_text(json.dumps(self.told))


class Raises(Listener):
    def start(self, todo):
        raise ConnectionError("nobody answers\\nat all")

    def finish(self, stopped):
        raise AssertionError


class Leaves(Listener):
    def finish(self, stopped):
        raise SystemExit(5)


class CannotBeMade(Listener):
    def __init__(self):
        raise ValueError("no server is set")


class Nobody:
    pass
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of listeners, beside the campaign."""
    (tmp_path / "listeners_of_mine.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(own_listeners, "TICK_SECONDS", 0.0)
    yield tmp_path
    sys.modules.pop("listeners_of_mine", None)


class Noting(Listener):
    """Notes the methods that were called."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def start(self, todo: Mapping[str, int]) -> None:
        self.heard.append("start")

    def tick(self) -> None:
        self.heard.append("tick")

    def finish(self, stopped: str | None) -> None:
        self.heard.append(f"finish {stopped}")


def test_an_installed_package_names_one_that_hears_all_in_order(
    campaign: Path, module: Path, injecttf2: Command
) -> None:
    install_package(module, "[injecttf2.listeners]\nwrites = listeners_of_mine:Writes\n")
    sys.path.insert(0, str(module))
    output = module / "run"
    ended = injecttf2(
        "run", campaign, "--output", output, "--executor", "inline", "--no-report", "--json",
        "--listener", "writes",
    )  # fmt: skip
    assert (ended.code, ended.json["done"]) == (0, TRIALS)
    assert "heard" in ended.err
    start, *ticks, finish = json.loads((module / "told.json").read_text())
    assert start == ["start", dict.fromkeys(["conv", "pool", "logits"], TRIALS // 3), 11, 0]
    assert ticks
    assert [tick[1] for tick in ticks] == sorted(tick[1] for tick in ticks)
    assert finish == ["finish", None, TRIALS, TRIALS, "finished"]


def test_what_is_heard_changes_no_row_and_nothing_that_is_recorded(
    campaign: Path, module: Path, run: Run
) -> None:
    names = ["listeners_of_mine:Writes", "listeners_of_mine:Raises"]
    run(campaign, module / "one")
    run_from_python(
        load_campaign(campaign), module / "other", executor="inline", listeners=names, quiet=True
    )
    assert_equal_rows(module / "one", module / "other")
    one, other = open_run(module / "one"), open_run(module / "other")
    assert (one.campaign, one.identity) == (other.campaign, other.identity)
    assert one.header.code == other.header.code == {}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Raises", "start raised ConnectionError: nobody answers"),
        ("Leaves", "finish raised SystemExit: 5"),
    ],
)
def test_one_that_raises_is_told_once_and_the_run_goes_on(
    campaign: Path, module: Path, caplog: pytest.LogCaptureFixture, name: str, said: str
) -> None:
    reference = f"listeners_of_mine:{name}"
    found = run_from_python(
        load_campaign(campaign), module / "run", executor="inline", listeners=reference, quiet=True
    )
    assert len(found.trials()) == TRIALS
    (told,) = [one.message for one in caplog.records if "listener" in one.message]
    line = 1 + MODULE[: MODULE.index("raise Conn" if name == "Raises" else "raise Sys")].count("\n")
    assert told == (
        f"the listener '{reference}' is not called any more, the run goes on: {said}"
        f" ({module}/listeners_of_mine.py:{line})"
    )


class Hangs(Noting):
    """Does not come back from its first tick before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def tick(self) -> None:
        super().tick()
        self.go_on.wait()


def test_one_that_hangs_holds_nothing_up_and_is_left_behind(
    campaign: Path, module: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(own_listeners, "NOTICE_SECONDS", 0.0)
    monkeypatch.setattr(own_listeners, "PATIENCE_SECONDS", 0.0)
    hangs, beside = Hangs(), Noting()
    found = run_from_python(
        load_campaign(campaign),
        module / "run",
        executor="inline",
        listeners=[hangs, beside],
        quiet=True,
    )
    assert len(found.trials()) == TRIALS
    assert hangs.heard == ["start", "tick"]
    hangs.go_on.set()
    assert beside.heard[-1] == "finish None"
    assert [one.message for one in caplog.records if "'Hangs'" in one.message] == [
        "the run has ended; waiting up to 0 s for the listener 'Hangs'",
        "the listener 'Hangs' has not ended; it is left behind",
    ]


def test_it_hears_why_a_run_stopped(
    campaign: Path, module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: InlineExecutor, timeout: float) -> Any:
        raise CampaignError("the data are gone")

    monkeypatch.setattr(InlineExecutor, "events", broken)
    noting = Noting()
    with pytest.raises(CampaignError):
        run_from_python(
            load_campaign(campaign), module / "run", executor="inline", listeners=noting, quiet=True
        )
    assert noting.heard == ["start", "finish the data are gone"]


def test_where_nothing_is_left_to_do_nothing_is_heard(
    campaign: Path, module: Path, run: Run
) -> None:
    run(campaign, module / "run")
    noting = Noting()
    run_from_python(
        load_campaign(campaign), module / "run", executor="inline", listeners=[noting], quiet=True
    )
    assert noting.heard == []


def test_an_unknown_name_is_refused_before_anything_is_loaded(
    campaign: Path, module: Path, injecttf2: Command
) -> None:
    install_package(module, "[injecttf2.listeners]\nwrites = listeners_of_mine:Writes\n")
    sys.path.insert(0, str(module))
    ended = injecttf2("run", campaign, "--output", module / "run", "--listener", "write")
    assert ended.code == 2
    assert ended.err == (
        "error: --listener: there is no listener 'write'; did you mean 'writes'?\n"
        "  expected writes, package.module:Class; installed packages name listeners as entry "
        "points, in the group injecttf2.listeners\n"
    )
    assert not (module / "run").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Nobody", "--listener: 'listeners_of_mine:Nobody' is no subclass of injecttf2.Listener"),
        ("Nothing", "listeners_of_mine:Nothing: the module 'listeners_of_mine' has no class"),
        ("CannotBeMade", "CannotBeMade: the listener raised ValueError: no server is set"),
    ],
)
def test_what_is_no_listener_is_refused(
    campaign: Path, module: Path, injecttf2: Command, name: str, said: str
) -> None:
    reference = f"listeners_of_mine:{name}"
    ended = injecttf2(
        "run", campaign, "--output", module / "run", "--executor", "inline",
        "--listener", reference,
    )  # fmt: skip
    assert ended.code == 2
    assert said in ended.error
    assert not (module / "run").exists()


def test_a_class_in_place_of_an_object_is_refused(campaign: Path, module: Path) -> None:
    with pytest.raises(ValueError, match=r"listeners holds .*Noting.*, expected names or objects"):
        run_from_python(
            load_campaign(campaign),
            module / "run",
            listeners=[Noting],  # type: ignore[list-item]
        )
