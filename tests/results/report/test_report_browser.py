"""The report in a real browser: a headless Chromium, without a network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from results import write_report
from tests.results.report.report_runs import site_rows, usual_rows, write_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on the PATH; Debian's package of that name brings it"
)

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
LAYERS = ("conv", 'dense<b>&"', "encoder/block_11/attention/query_dense")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the report of a run with everything in it."""
    folder = tmp_path_factory.mktemp("report")
    rows = usual_rows(LAYERS)
    run = write_run(folder / "run", rows, planned=40, sites=site_rows(rows), errors=["no memory"])
    return write_report(run, folder / "report.html").as_uri()


@pytest.fixture
def page(browser: Browser, report: str) -> Iterator[Page]:
    """The report, opened; nothing that the browser had to say about it or had to fetch for it."""
    context = browser.new_context(viewport=DESKTOP, color_scheme="light")
    page = context.new_page()
    said, fetched = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(report)
    expect(page.locator("#map-2 .plot-container")).to_be_visible()
    yield page
    context.close()
    assert said == []
    assert fetched == [report]


def first_cell(page: Page, column: str) -> str:
    """What the first row of the table of cells has in a column."""
    heads = page.locator("#cell-table thead th").all_inner_texts()
    place = next(at for at, head in enumerate(heads) if head.strip().startswith(column))
    return page.locator("#cell-table tbody tr").first.locator("th, td").nth(place).inner_text()


def test_every_figure_is_drawn(page: Page) -> None:
    plots = page.locator(".plot")
    assert plots.count() == 8
    for plot in plots.all():
        expect(plot.locator("svg.main-svg").first).to_be_visible()


MIDDLE = (0.5, 0.5)
HOVERS = {
    "bits-1": (".heatmaplayer", (1.5 / 32, 0.5), ["bit 30", "sdc 42% (", " of n = 200 injected"]),
    "accuracy-1": (".point", MIDDLE, ["conv", "p = 0.1", "golden 90.00%", "6 trials in 3 cells"]),
    "fields-1": (".point", MIDDLE, ["sign", "sdc 4% (", " of n = 600 injected"]),
    "criticality-1": (".point", MIDDLE, [LAYERS[2], "bit 30", "rank 1 (1 to "]),
    "drift-1": (".heatmaplayer", (0.25, 0.75), ["golden class 7, faulty class 1", " sdc samples"]),
}
"""By figure: which of its marks is hovered, where in it, and what is to be told."""


def test_hovering_tells_values_and_n(page: Page) -> None:
    for plot, (mark, place, told) in HOVERS.items():
        page.locator(f"#{plot}").scroll_into_view_if_needed()
        box = page.locator(f"#{plot} {mark}").first.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"])
        hover = page.locator(f"#{plot} .hoverlayer .hovertext")
        expect(hover).to_have_count(1)
        text = hover.text_content() or ""
        assert [words for words in told if words not in text] == []


def test_cells_begin_with_the_worst_and_can_be_sorted_from_the_keyboard(page: Page) -> None:
    cells = page.locator("#cells")
    assert first_cell(page, "sdc rate").startswith("44.00%")
    head = cells.get_by_role("columnheader", name="sdc rate")
    expect(head).to_have_attribute("aria-sort", "descending")
    cells.get_by_role("button", name="sdc rate").focus()
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "ascending")
    assert first_cell(page, "sdc rate").startswith("0.00%")
    cells.get_by_role("button", name="layer").press("Space")
    assert first_cell(page, "layer") == "conv"
    expect(head).not_to_have_attribute("aria-sort", "ascending")


def test_cells_can_be_searched_and_filtered(page: Page) -> None:
    filters, status = page.locator("#filters"), page.get_by_role("status")
    expect(status).to_have_text("1 to 18 of 18 cells")
    filters.get_by_label("Search").fill("query 30")
    expect(status).to_have_text("1 to 2 of 2 cells")
    filters.get_by_label("Search").fill("no such")
    expect(status).to_have_text("No cell matches.")
    filters.get_by_label("Search").fill("")
    filters.get_by_label("layer").select_option(LAYERS[1])
    filters.get_by_label("field").select_option("exponent")
    expect(status).to_have_text("1 to 2 of 2 cells")
    assert first_cell(page, "layer") == LAYERS[1]


def test_the_theme_follows_the_system_until_it_is_switched(page: Page) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('#bits-1 .xtick text')).fill"
    light = page.evaluate(paper), page.evaluate(ink)
    page.emulate_media(color_scheme="dark")
    expect(page.locator("#theme")).to_have_text("Light theme")
    dark = page.evaluate(paper), page.evaluate(ink)
    assert (dark[0], light[0]) == ("rgb(17, 22, 28)", "rgb(255, 255, 255)")
    assert dark[1] != light[1]
    page.locator("#theme").press("Enter")
    assert (page.evaluate(paper), page.evaluate(ink)) == light


def test_axe_finds_no_serious_fault(page: Page) -> None:
    for details in page.locator("details").all():
        details.evaluate("one => one.open = true")
    found = {theme: serious_faults(page, theme) for theme in ("light", "dark")}
    assert found == {"light": [], "dark": []}


def serious_faults(page: Page, theme: Literal["light", "dark"]) -> list[str]:
    """What axe-core finds in one of the themes, serious or critical."""
    page.emulate_media(color_scheme=theme)
    violations = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [one["id"] for one in violations if one["impact"] in ("serious", "critical")]


def test_a_phone_needs_no_horizontal_scrolling(page: Page) -> None:
    page.set_viewport_size(PHONE)
    for details in page.locator("details").all():
        details.evaluate("one => one.open = true")
    expect(page.locator("#bits-1 .main-svg").first).to_have_attribute("width", "336")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
