"""The scripts in docs/, which are no package."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.pages import DOCS

CONFIGURATION = """
[project]
site_name = "small"
docs_dir = "build/docs"
site_dir = "build/site"
use_directory_urls = false
nav = [{ "Home" = "index.md" }]
theme.font = false
extra_css = ["site.css"]
"""


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def small_site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that builds a site, for a repository in a folder, whose ``docs/`` is empty."""
    script = load("build_site")
    for name, path in {
        "ROOT": "",
        "DOCS": "docs",
        "GATHERED": "build/docs",
        "SITE": "build/site",
    }.items():
        monkeypatch.setattr(script, name, folder / path)
    monkeypatch.setattr(script, "ALSO", ())
    (folder / "docs").mkdir()
    (folder / "zensical.toml").write_text(CONFIGURATION)
    return script
