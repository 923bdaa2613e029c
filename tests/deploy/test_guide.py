"""The commands of the guide and of deploy/README.md are ones that the programs take."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.deploy.commands import (
    PROGRAMS,
    ROOT,
    inline_commands,
    ours,
    parse,
    shell_commands,
    unknown_options,
)

GUIDE = ROOT / "docs" / "guide" / "cluster.md"
PAGES = [GUIDE, ROOT / "deploy" / "README.md"]
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")

COMMANDS = [words for page in PAGES for words in shell_commands(page.read_text())]
KNOWN = [words for words in COMMANDS if words[0] in PROGRAMS]
OURS = [found for words in COMMANDS if (found := ours(words))]
INLINE = [words for page in PAGES for words in inline_commands(page.read_text())]


@pytest.mark.parametrize(
    "words", KNOWN + [words for words in OURS if words not in KNOWN], ids=" ".join
)
def test_a_command_is_one_that_its_program_takes(words: list[str]) -> None:
    parse(words)


@pytest.mark.parametrize("words", INLINE, ids=" ".join)
def test_a_command_in_the_text_has_only_options_that_exist(words: list[str]) -> None:
    assert unknown_options(words) == set()


def test_an_option_that_does_not_exist_is_found() -> None:
    assert unknown_options(["injecttf2", "run", "x.yaml", "--worker", "3"]) == {"--worker"}
    with pytest.raises(Exception, match="No such option: --worker"):
        parse(["injecttf2", "run", "x.yaml", "--worker", "3"])


def test_the_guide_shows_each_way_to_start_a_campaign() -> None:
    started = {tuple(words[:3]) for words in KNOWN if words[0] == "ray"}
    assert {("ray", "start", "--head"), ("ray", "job", "submit")} <= started
    runs = [words for words in OURS if words[1] == "run"]
    assert any("s3://bucket/runs/digits" in words for words in runs)
    assert {word for words in OURS for word in words if word in {"status", "compact"}} == {
        "status",
        "compact",
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = LINK.findall(page.read_text())
    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []
