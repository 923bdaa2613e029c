"""The report from the command line: after a run, and from its directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from results.report import report
from tests.orchestrator.conftest import Command

INLINE = ("--executor", "inline", "--levels", "dense")


def test_a_run_leaves_a_report_and_prints_where(
    campaign: Path, injecttf2: Command, tmp_path: Path
) -> None:
    ended = injecttf2("run", campaign, *INLINE, "--output", tmp_path / "run")
    page = tmp_path / "run" / "report.html"
    assert ended.code == 0
    assert ended.out.endswith(f"report: {page}\n")
    assert page.read_text().startswith("<!doctype html>")
    assert injecttf2("run", campaign, *INLINE, "--output", tmp_path / "run").code == 0


def test_a_run_leaves_no_report_where_none_is_wanted(
    campaign: Path, injecttf2: Command, tmp_path: Path
) -> None:
    ended = injecttf2("run", campaign, *INLINE, "--output", tmp_path / "run", "--no-report")
    assert "report:" not in ended.out
    assert not (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize("command", [("report", "run"), ("export-sites", "run"), ("init",)])
def test_a_file_that_cannot_be_is_told(
    command: tuple[str, ...], injecttf2: Command, tmp_path: Path
) -> None:
    option = [] if command == ("init",) else ["-o"]
    ended = injecttf2(*command, *option, tmp_path)
    told = f"error: {tmp_path}: this is a folder; expected the name of a file\n  add a name\n"
    assert (ended.code, ended.out, ended.err) == (2, "", told)
    file = tmp_path / "gone" / "x.html"
    ended = injecttf2(*command, *option, file)
    told = f"error: {file}: there is no folder '{file.parent}'\n"
    told += "  make it first, or give another file\n"
    assert (ended.code, ended.out, ended.err) == (2, "", told)
    assert not file.parent.exists()


def test_a_report_that_fails_is_a_warning(
    campaign: Path, injecttf2: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(run: object) -> str:
        raise ValueError("no ink")

    monkeypatch.setattr(report, "render_report", fail)
    ended = injecttf2("run", campaign, *INLINE, "--output", tmp_path / "run", "--json")
    assert ended.code == 0
    assert ended.json["report"] is None
    assert "the report was not written: no ink" in ended.err


def test_report_writes_into_the_run_directory_or_where_it_is_told(
    campaign: Path, injecttf2: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    injecttf2("run", campaign, *INLINE, "--output", folder, "--no-report")
    assert injecttf2("report", folder).out == f"report: {folder / 'report.html'}\n"
    assert injecttf2("report", folder, "-o", tmp_path / "other.html").code == 0
    assert (folder / "report.html").read_text() == (tmp_path / "other.html").read_text()


def test_report_of_what_is_no_run_is_wrong_input(injecttf2: Command, tmp_path: Path) -> None:
    ended = injecttf2("report", tmp_path)
    assert ended.code == 2
    assert "no run directory: it holds no campaign.json" in ended.err


def test_report_names_a_file_that_cannot_be_written(
    campaign: Path, injecttf2: Command, tmp_path: Path
) -> None:
    injecttf2("run", campaign, *INLINE, "--output", tmp_path / "run", "--no-report")
    ended = injecttf2("report", tmp_path / "run", "-o", campaign / "report.html")
    assert ended.code == 2
    assert str(campaign) in ended.err


def test_report_compares_a_run_with_another(
    campaign: Path, injecttf2: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    injecttf2("run", campaign, *INLINE, "--output", folder, "--no-report")
    assert injecttf2("report", folder, "--against", folder).code == 0
    assert "Against " in (folder / "report.html").read_text()
    ended = injecttf2("report", folder, "--against", tmp_path)
    assert ended.code == 2
    assert "no run directory: it holds no campaign.json" in ended.err
