"""ARCHITECTURE.md names what is there: files, folders, and what they define."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT

TEXT = (ROOT / "ARCHITECTURE.md").read_text()
DEFINED = sorted(set(re.findall(r"`([\w/]+\.py):(\w+)`", TEXT)))
PATHS = sorted(
    set(re.findall(r"`((?:injecttf2|orchestrator|results|tests|docs)/[\w/.]+?)(?::\w+)?`", TEXT))
)
ROOMS = sorted(
    str(folder.relative_to(ROOT))
    for package in ("injecttf2", "orchestrator", "results")
    for folder in (ROOT / package).iterdir()
    if (folder / "__init__.py").is_file()
)


@pytest.mark.parametrize(("file", "name"), DEFINED)
def test_what_is_named_is_defined_there(file: str, name: str) -> None:
    assert re.search(rf"^(class|def) {name}\b", (ROOT / file).read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", PATHS)
def test_files_and_folders_are_there(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_is_in_the_table_with_a_file_to_begin_with(room: str) -> None:
    row = re.search(rf"^\| `{room}` \|.*\| `(\w+\.py)` \|$", TEXT, re.MULTILINE)
    assert row is not None
    assert (ROOT / room / row[1]).is_file()


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 150
