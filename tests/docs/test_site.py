"""The site: its pages and links, what is refused, and that nothing comes from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.pages import ROOT
from tests.docs.scripts import load, small_site


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script for a repository with one page and one file outside ``docs/``."""
    script = small_site(tmp_path, monkeypatch)
    (tmp_path / "docs" / "decisions").mkdir()
    (tmp_path / "docs" / "decisions" / "0001-x.md").write_text("# Because\n")
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "README.md").write_text("# Deploy\n\n[job](job.yaml)\n")
    (tmp_path / "deploy" / "job.yaml").write_text("kind: Job\n")
    return script


@pytest.mark.parametrize(
    ("link", "code"),
    [
        ("[d](decisions/0001-x.md) [list](decisions) [r](../deploy/README.md#deploy)", 0),
        ("`[code](nowhere.md)` is no link", 0),
        ("[x](nowhere.md)", 1),
        ("![x](nowhere.svg)", 1),
        ("[x](#nowhere)", 1),
        ("[x](../deploy/README.md#nowhere)", 1),
    ],
)
def test_a_link_that_leads_nowhere_is_an_error(
    link: str, code: int, small: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "docs" / "index.md").write_text(f"# Home\n\n{link}\n")
    assert small.main() == code


def test_files_outside_docs_are_taken_along(small: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "docs" / "index.md").write_text("# Home\n\n[r](../deploy/README.md)\n")
    assert small.main() == 0
    gathered = tmp_path / "build" / "docs"
    assert "[r](repository/deploy/README.md)" in (gathered / "index.md").read_text()
    assert (gathered / "repository" / "deploy" / "job.yaml").exists()
    assert "- [Because](0001-x.md)" in (gathered / "decisions" / "index.md").read_text()


def test_a_page_of_the_navigation_that_is_missing_is_an_error(
    small: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs" / "other.md").write_text("# Other\n")
    assert small.main() == 1
    assert "zensical.toml: index.md" in capfd.readouterr().err


def test_the_site_is_built_and_loads_nothing_from_elsewhere() -> None:
    assert load("build_site").main() == 0
    pages = [*(ROOT / "build" / "site").rglob("*.html")]
    assert len(pages) > 30
    loaded = re.compile(
        r"<(?:script|img|iframe)[^>]* src=\"(?:https?:)?//|<link[^>]* href=\"https?:"
    )
    assert [page.name for page in pages if loaded.search(page.read_text())] == []
    reference = (ROOT / "build" / "site" / "reference" / "python.html").read_text()
    assert 'id="results.Run.summary"' in reference
    assert re.findall(r":(?:class|func|meth|mod|attr):", reference) == []  # Sphinx's, not Markdown
    notebook = (ROOT / "build" / "site" / "notebooks" / "analysis.html").read_text()
    assert notebook.count('class="plotly-graph-div"') == 6
