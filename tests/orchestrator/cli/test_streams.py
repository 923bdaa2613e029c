"""Standard streams that nobody reads, and what a terminal is given to show."""

from __future__ import annotations

import io
import logging
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs
from rich.table import Table
from rich.text import Text

from orchestrator.cli import console
from orchestrator.signals import stop_signals
from results import open_run
from results.storage.connections import connect
from tests.orchestrator.conftest import Command, Run

MAIN = [sys.executable, "-c", "from orchestrator.cli.main import main; main()"]

Streams = Callable[[str], int]


@pytest.fixture
def stream() -> Iterator[Streams]:
    """Opens a stream of a kind that cannot be written to; gives its number."""
    opened: list[int] = []

    def make(kind: str) -> int:
        if kind == "full":
            opened.append(os.open("/dev/full", os.O_WRONLY))
        elif kind == "pipe":
            reading, writing = os.pipe()
            os.close(reading)
            opened.append(writing)
        else:  # a terminal that is gone
            terminal, writing = pty.openpty()
            os.close(terminal)
            opened.append(writing)
        return opened[-1]

    yield make
    for number in opened:
        os.close(number)


def closed(number: int) -> Callable[[], None]:
    """Return what closes a stream of a child before it begins."""
    return lambda: os.close(number)


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("full", 74, "error: the output could not be written: No space left on device\n"),
        ("terminal", 74, "error: the output could not be written: Input/output error\n"),
        ("pipe", 0, ""),  # its reader has had enough
    ],
)
def test_an_answer_that_cannot_be_written_is_an_error(
    kind: str, code: int, said: str, stream: Streams
) -> None:
    done = subprocess.run(
        [*MAIN, "schema"], stdout=stream(kind), stderr=subprocess.PIPE, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (code, said)


def test_a_closed_output_is_none(tmp_path: Path) -> None:
    done = subprocess.run(
        [*MAIN, "schema"],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        preexec_fn=closed(1),
    )
    assert done.returncode == 74
    assert done.stderr == "error: the output could not be written: Bad file descriptor\n"


@pytest.mark.parametrize("kind", ["full", "terminal", "pipe", "closed"])
def test_an_error_that_cannot_be_told_has_its_exit_code(
    kind: str, stream: Streams, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"preexec_fn": closed(2)} if kind == "closed" else {}
    if kind != "closed":
        options = {"stderr": stream(kind)}
    done = subprocess.run(
        [*MAIN, "status", str(tmp_path)], stdout=subprocess.PIPE, check=False, **options
    )
    assert (done.returncode, done.stdout) == (2, b"")


def test_work_that_is_done_has_its_exit_code_whatever_can_be_printed(
    stream: Streams, tmp_path: Path
) -> None:
    file = tmp_path / "campaign.yaml"
    done = subprocess.run([*MAIN, "init", file], stdout=stream("full"), check=False)
    assert done.returncode == 0
    assert file.stat().st_size > 1000


def test_a_run_that_nobody_sees_is_done(campaign: Path, stream: Streams, tmp_path: Path) -> None:
    done = subprocess.run(
        [*MAIN, "run", campaign, "--executor", "inline", "--output", tmp_path / "run"],
        stdout=stream("full"),
        stderr=stream("pipe"),
        check=False,
    )
    assert done.returncode == 0
    assert open_run(tmp_path / "run").status().done == 3 * 13 * 3 * 3
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_library_that_prints_to_a_stream_that_is_gone_goes_on(stream: Streams) -> None:
    code = (
        "import sys, warnings\n"
        "from orchestrator.cli.streams import standard_streams\n"
        "with standard_streams():\n"
        "    print('lost', file=sys.stderr, flush=True)\n"
        "    warnings.warn('lost too')\n"
        "    print(sys.stderr.fileno(), sys.stderr.isatty())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=stream("pipe"),
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "2 False\n")


def test_an_encoding_that_lacks_a_character_is_no_error() -> None:
    done = subprocess.run(
        [*MAIN, "status", "größe"],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: gr\\xf6\\xdfe: no run directory")


@pytest.mark.parametrize(("handler", "asks"), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)])
def test_a_terminal_that_goes_stops_a_command_unless_nohup_has_it_ignored(
    handler: signal.Handlers, asks: bool
) -> None:
    before = signal.signal(signal.SIGHUP, handler)
    try:
        assert (signal.SIGHUP in stop_signals()) == asks
        assert {signal.SIGINT, signal.SIGTERM} <= {*stop_signals()}
    finally:
        signal.signal(signal.SIGHUP, before)


ODD = "a\x1b[2Jb\u202e"
PLAIN = r"a\x1b[2Jb\u202e"


def test_names_are_shown_and_not_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stdout", written)
    table = Table(title=ODD)
    table.add_column(ODD)
    table.add_row(ODD)
    table.add_row(Text(ODD))
    screen = console.screen()
    screen.print(table)
    screen.print(ODD, Text(ODD), style="red")
    assert written.getvalue().count(PLAIN) == 6
    assert not {"\x1b", "\u202e"} & {*written.getvalue()}


def test_warnings_and_logs_are_shown_and_not_obeyed(capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import logging, sys, warnings\n"
        "import injecttf2\n"
        "from orchestrator.cli.console import shown_warnings, told_logs\n"
        "def tell():\n"
        "    warnings.warn(sys.argv[1])\n"
        "    logging.getLogger('injecttf2').warning('the layer %s', sys.argv[1])\n"
        "    logging.getLogger('another').warning('the tensor %s', sys.argv[1])\n"
        "with shown_warnings(), told_logs():\n"
        "    tell()\n"
    )
    subprocess.run([sys.executable, "-c", code, ODD], check=True)
    said = capfd.readouterr().err
    assert f"UserWarning: {PLAIN}\n" in said
    assert f"the layer {PLAIN}\n" in said
    assert f"the tensor {PLAIN}\n" in said
    assert not {"\x1b", "\u202e"} & {*said}


def test_what_is_logged_twice_is_told_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's own: a script that logs itself
    logger = logging.getLogger("injecttf2")
    for _ in range(2):  # each command tells it anew
        with console.told_logs():
            logger.warning("one %s", "thread")
            logger.warning("one thread")
            logger.warning("two threads")
    assert capsys.readouterr().err.splitlines() == ["one thread", "two threads"] * 2


def test_json_holds_no_secret_and_no_control_character(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console.print_json({"trial_id": 2**63, "reason": ["s3://k:hidden@b/r?hidden", ODD]})
    expected = (
        '{"trial_id": "9223372036854775808", "reason": ["s3://b/r", "a\\u001b[2Jb\\u202e"]}\n'
    )
    assert capsys.readouterr().out == expected


def test_wrong_options_are_told_like_other_errors(injecttf2: Command) -> None:
    ended = injecttf2("status", "runs/a", f"s3://k:hidden@b/{ODD}")
    assert ended.code == 2
    assert f"Got unexpected extra argument(s) (s3://b/{PLAIN})" in ended.err
    assert "injecttf2 status --help" in ended.err


SECRETS = ("hidden-key", "hidden-secret")


def test_no_command_tells_the_secret_of_an_address(
    campaign: Path, run: Run, injecttf2: Command, s3: str, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    endpoint = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    place = s3.removeprefix("s3://")
    options = f"?scheme=http&endpoint_override={endpoint}"
    uri = f"s3://{':'.join(SECRETS)}@{place}{options}"
    inline = ["run", campaign, "--executor", "inline", "--output"]
    recorded = tmp_path / "recorded.yaml"
    recorded.write_text(campaign.read_text() + "record: injections\n")
    commands = [
        ([*inline, uri], 0),
        ([*inline, uri, "--json"], 0),
        (["run", recorded, *inline[2:], uri], 2),
        ([*inline, uri, "--model", uri], 2),
        ([*inline, uri, "--seed", uri], 2),
        ([*inline, f"{uri}&secret_key=hidden-secret"], 2),
        ([*inline, uri.replace("//hidden-key:", "//hidden-key:hidden/")], 2),
        (["run", campaign, "--output", "new", "--address", uri.replace("s3:", "ray:")], 2),
        (["status", uri], 0),
        (["status", uri, "--json"], 0),
        (["status", uri.replace("/run?", "/other?")], 2),
        (["status", uri.replace("s3:", "hdfs:")], 2),
        (["status", uri, uri], 2),
        (["report", uri], 0),
        (["compact", uri], 0),
        (["compact", uri, "--json"], 0),
        (["export-sites", uri], 2),
        (["replay", uri, "123"], 2),
    ]
    for command, code in commands:
        ended = injecttf2(*command)
        assert (ended.code, command) == (code, command), ended.err
        assert not [one for one in SECRETS if one in ended.out + ended.err], (command, ended)
        assert "Traceback" not in ended.err
    assert (tmp_path / "report.html").is_file()
    stored = connect(uri)
    folder = fs.FileSelector(stored.base, recursive=True)
    kept = [
        stored.filesystem.open_input_stream(info.path).read()
        for info in stored.filesystem.get_file_info(folder)
        if info.is_file
    ]
    kept += [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert len(kept) > 8
    assert not [one for one in SECRETS for content in kept if one.encode() in content]
    assert repr(open_run(uri)).startswith(f"Run('s3://{place}')\n")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_messages_are_wrapped_at_words_on_a_terminal_only(
    stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = stream()
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("TERM", "xterm")
    todo = "give a number, or leave it out"
    long = "/a/very/long/path/that/nobody/may/break.yaml"
    console.messages().print(f"error: {long}: received a text, expected a number\n  {todo}")
    whole = f"error: {long}: received a text, expected a number\n  {todo}\n"
    wrapped = f"error:\n{long}:\nreceived a text, expected a\nnumber\n"
    wrapped += "  give a number, or leave it\n  out\n"
    assert written.getvalue() == (wrapped if stream is Terminal else whole)
