"""The notebook runs on a run of its own campaign, and its page has what it prints and shows."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import yaml
from playwright.sync_api import Page, expect, sync_playwright

from tests.docs.pages import DOCS
from tests.docs.scripts import small_site

NOTEBOOK = DOCS / "notebooks" / "analysis.ipynb"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

FIGURES, TABLES, TEXTS = 6, 6, 2
WIDTH = 390
"""Of a phone, in pixels."""


def few(text: str) -> str:
    """The notebook's introduction, its campaign with few samples and bits."""
    found = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert found is not None
    data = yaml.safe_load(found[1])
    data |= {"dataset": {"source": "digits", "samples": 30}, "repetitions": 2}
    data["grid"] |= {"layers": ["dense", "dense_1"], "bits": [0, 23, 29, 30, 31]}
    return text.replace(found[1], yaml.safe_dump(data))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The notebook's page in a small site, on a run of few trials."""
    folder = tmp_path_factory.mktemp("site")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells[0].source = few(notebook.cells[0].source)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
        script = small_site(folder, monkeypatch)
        (folder / "docs" / "site.css").write_text((DOCS / "site.css").read_text())
        for page in ("index.md", "guide/results.md", "guide/report.md"):
            script.write(folder / "docs" / page, "# A page\n")
        script.write(folder / "docs" / "notebooks" / NOTEBOOK.name, nbformat.writes(notebook))
        assert script.main() == 0
    return folder / "build" / "site" / "notebooks" / "analysis.html"


@pytest.fixture
def opened(built: Path) -> Iterator[Page]:
    """The page in a browser, in which nothing fails and which fetches files of the site alone."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 740})
        said, fetched = [], []
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: fetched.append(request.url))
        page.goto(built.as_uri())
        yield page
        browser.close()
    assert said == []
    site = built.parents[1].as_uri()
    assert [one for one in fetched if not one.startswith((site, "data:", "blob:"))] == []


def test_the_page_has_what_cells_print_and_show(built: Path) -> None:
    text = built.read_text()
    assert text.count('class="plotly-graph-div"') == FIGURES
    assert text.count("<table>") == TABLES
    assert len(re.findall(r'class="[^"]*\bstdout\b', text)) == TEXTS
    assert "40 of 40 trials done" in text


def test_nothing_is_told_on_the_standard_error(built: Path) -> None:
    assert "stderr" not in built.read_text()


@pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on the PATH; Debian's package of that name brings it"
)
def test_figures_are_drawn_and_what_is_wide_scrolls_by_itself(opened: Page) -> None:
    expect(opened.locator(".figure .plot-container")).to_have_count(FIGURES)
    assert opened.evaluate("document.documentElement.scrollWidth") <= WIDTH


def test_the_notebook_is_committed_without_outputs() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert [cell for cell in code if cell.outputs or cell.execution_count] == []
