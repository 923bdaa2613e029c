"""CITATION.cff is one of this version, and the guide names what a run has recorded."""

from __future__ import annotations

import re
import tomllib
from datetime import date

import yaml

from injecttf2 import __version__
from tests.docs.pages import ROOT

CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_the_citation_has_what_its_format_requires() -> None:
    assert CITATION["cff-version"] == "1.2.0"
    assert {"authors", "message", "title"} <= {*CITATION}
    assert type(CITATION["date-released"]) is date


def test_the_citation_is_of_this_version() -> None:
    released = re.findall(r"^## (\S+) - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert (CITATION["version"], str(CITATION["date-released"])) == released[0]
    assert CITATION["version"] == __version__


def test_the_citation_names_the_licence_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert CITATION["license"] == project["license"].partition(" AND ")[0]
