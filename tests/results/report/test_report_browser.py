"""The report in a real browser: a headless Chromium, without a network."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from results import Run, write_report
from tests.results.conftest import Row
from tests.results.report.report_runs import cell_rows, site_rows, usual_rows, write_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on the PATH; Debian's package of that name brings it"
)

DESKTOP = ViewportSize(width=1280, height=800)
PHONE = ViewportSize(width=360, height=740)
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
    expect(page.locator("#inside-channel .plot-container")).to_be_visible()
    yield page
    context.close()
    assert said == []
    assert [one for one in fetched if not one.startswith(("blob:", "data:"))] == [report]


def first_cell(page: Page, column: str) -> str:
    """What the first row of the table of numbers has in a column."""
    heads = page.locator("#numbers thead th").all_inner_texts()
    place = next(at for at, head in enumerate(heads) if head.strip().startswith(column))
    return page.locator("#numbers tbody tr").first.locator("th, td").nth(place).inner_text()


def rows_of(page: Page, figure: str) -> list[str]:
    """The labels of a figure's rows."""
    return page.locator(f"#{figure} .ytick text").all_text_contents()


def saved(page: Page, figure: str, kind: str) -> tuple[str, str]:
    """The name of what a figure lets one download, and its text."""
    page.locator(f"#{figure} details").evaluate("one => one.open = true")
    with page.expect_download() as download:
        page.locator(f"#{figure}").get_by_role("button", name=kind).click()
    file = download.value
    return file.suggested_filename, Path(file.path()).read_text(errors="replace")


def test_every_figure_is_drawn(page: Page) -> None:
    plots = page.locator(".plot")
    assert plots.count() == 9
    for plot in plots.all():
        expect(plot.locator("svg.main-svg").first).to_be_visible()


def opened(browser: Browser, run: Run, viewport: ViewportSize = DESKTOP, **more: Run) -> Page:
    """The report of another run."""
    page = browser.new_page(viewport=viewport)
    place = Path(run.path).with_suffix(".html")
    page.goto(write_report(run, place, **more).as_uri())
    expect(page.locator("#layers .plot-container")).to_be_visible()
    return page


def test_the_answer_and_its_figures_are_on_the_first_screen(page: Page) -> None:
    bottoms = [
        page.locator(place).evaluate("one => one.getBoundingClientRect().bottom")
        for place in ("#choose", "#layers .plot", "#bits .plot", "#map .plot")
    ]
    assert max(bottoms) <= DESKTOP["height"]


MIDDLE = (0.5, 0.5)
HOVERS = {
    "map": (".heatmaplayer", (0.5, 0.5), ["bit 30", "lost 44% (", "of n = 100 injected"]),
    "layers": (".scatterlayer .point", MIDDLE, [LAYERS[2], "rank 1 (1 to 3)", "n = 300 injected"]),
    "bits": (".scatterlayer .point", MIDDLE, ["bit 31", "rank 2 (2 to 3)", "12 sdc and 0 due"]),
    "curves": (".scatterlayer .point", MIDDLE, [LAYERS[2], "probability 0.1", "accuracy 82.00%"]),
    "by-layer": (".point", MIDDLE, [LAYERS[2], "without faults 90.00%", "6 trials in 3 cells"]),
    "drift-map": (".heatmaplayer", (0.25, 0.75), ["golden class 7, faulty class 1", " sdc sam"]),
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


def test_another_rate_is_shown_when_it_is_chosen(page: Page) -> None:
    answer = page.locator(".answer:not([hidden])").first
    expect(answer).to_contain_text("p = 0.5 ")
    page.locator("#choice").select_option("p = 0.1")
    expect(answer).to_contain_text("p = 0.1: ")
    assert saved(page, "layers", "CSV")[0] == "run-layers-p-0.1.csv"


def test_the_data_of_a_figure_can_be_had_as_csv(page: Page) -> None:
    name, text = saved(page, "map", "CSV")
    assert name == "run-map-p-0.5.csv"
    head, *rows = csv.reader(text.splitlines())
    assert head[:3] == ["layer", "bit", "sdc+due_rate"]
    assert head[5:] == ["sdc", "due", "injected", "trials"]
    assert [row[:3] for row in rows[:3]] == [
        [LAYERS[2], "31", "0.04"],
        [LAYERS[2], "30", "0.46"],
        [LAYERS[2], "0", "0"],
    ]
    assert {row[0] for row in rows} == set(LAYERS)


def test_figures_can_be_had_for_papers(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    name, text = saved(page, "layers", "SVG")
    assert name == "run-layers-p-0.5.svg"
    assert text.startswith("<svg")
    assert "rgb(27, 33, 40)" in text  # the ink of light paper
    assert 'class="legend"' in text  # the page has it beside the figure
    name, text = saved(page, "bits", "PNG")
    assert name == "run-bits-p-0.5.png"
    assert "PNG" in text[:8]


def test_the_values_of_a_figure_are_in_a_table_below_it(page: Page) -> None:
    page.locator("#layers summary").click()
    table = page.locator("#layers table")
    expect(table.locator("tbody tr")).to_have_count(3)
    assert table.locator("tbody tr").first.locator("td").all_inner_texts()[:2] == [
        LAYERS[2],
        "0.1667",
    ]


def test_numbers_begin_with_the_worst_and_can_be_sorted_from_the_keyboard(page: Page) -> None:
    numbers = page.locator("#tables")
    page.locator("#table-name").select_option("cells")
    assert first_cell(page, "sdc+due rate").startswith("46.00%")
    head = numbers.get_by_role("columnheader", name="sdc+due rate")
    numbers.get_by_role("button", name="sdc+due rate").focus()
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "descending")
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "ascending")
    assert first_cell(page, "sdc+due rate").startswith("0.00%")
    numbers.get_by_role("button", name="layer").press("Space")
    assert first_cell(page, "layer") == "conv"
    expect(head).not_to_have_attribute("aria-sort", "ascending")


def test_numbers_can_be_searched_and_filtered(page: Page) -> None:
    filters, status = page.locator("#filters"), page.locator("#shown")
    expect(status).to_have_text("1 to 6 of 6")
    filters.get_by_label("Table").select_option("cells")
    expect(status).to_have_text("1 to 18 of 18")
    filters.get_by_label("Search").fill("query 30")
    expect(status).to_have_text("1 to 2 of 2")
    filters.get_by_label("Search").fill("no such")
    expect(status).to_have_text("No row matches.")
    filters.get_by_label("Search").fill("")
    page.locator("#columns").get_by_label("layer").select_option(LAYERS[1])
    filters.get_by_label("field").select_option("exponent")
    expect(status).to_have_text("1 to 2 of 2")
    assert first_cell(page, "layer") == LAYERS[1]


def test_many_layers_are_folded_and_can_be_filtered_everywhere(
    browser: Browser, tmp_path: Path
) -> None:
    names = [f"block_{block}_{part}" for block in range(20) for part in ("expand", "project")]
    rows = [
        row
        for at, name in enumerate(names)
        for bit in (31, 30)
        for row in cell_rows(name, at, bit=bit, sdc=at % 30)
    ]
    page = opened(browser, write_run(tmp_path / "run", rows))
    kept = page.locator("#kept")
    expect(kept).to_have_text("15 of 40 rows")
    assert len(saved(page, "layers", "CSV")[1].splitlines()) == 1 + 40
    ranked = rows_of(page, "layers")
    assert len(ranked) == 15
    assert rows_of(page, "map") == ranked
    page.locator("#rows").select_option("blocks")
    expect(kept).to_have_text("20 of 40 rows")
    assert len({name.rpartition("_")[0] for name in rows_of(page, "layers")}) == 20
    page.locator("#block").select_option("block_7")
    page.locator("#rows").select_option("all")
    expect(kept).to_have_text("2 of 40 rows")
    assert set(rows_of(page, "by-layer")) == {"block_7_expand", "block_7_project"}
    expect(page.locator("#shown")).to_have_text("1 to 2 of 2")
    page.locator("#block").select_option("")
    page.locator("#words").fill("project")
    expect(kept).to_have_text("20 of 40 rows")
    assert page.evaluate("document.documentElement.scrollHeight") < 5_000
    page.close()


def test_the_theme_follows_the_system_until_it_is_switched(page: Page) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('#bits .xtick text')).fill"
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
    expect(page.locator("#bits .main-svg").first).to_have_attribute("width", "336")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_on_a_phone_the_rate_is_on_the_screen_and_what_scrolls_says_so(page: Page) -> None:
    page.set_viewport_size(PHONE)
    head = page.get_by_role("columnheader", name="sdc+due rate")
    assert head.evaluate("one => one.getBoundingClientRect().right") <= PHONE["width"]
    expect(page.locator("#tables .scroll")).to_have_attribute("data-more", "")


def test_every_bit_has_its_label_or_the_axis_says_which(browser: Browser, tmp_path: Path) -> None:
    rows = [
        row
        for at, layer in enumerate(("conv", "dense"))
        for bit in range(32)
        for row in cell_rows(layer, at, bit=bit, sdc=bit)
    ]
    page = opened(browser, write_run(tmp_path / "run", rows))
    for figure in ("bits", "map"):
        ticks = page.locator(f"#{figure} .xtick text")
        assert ticks.all_text_contents() == [str(bit) for bit in range(31, -1, -1)]
    page.set_viewport_size(PHONE)
    expect(page.locator("#map .xtitle")).to_have_text("bit (1 of 2 labelled)")
    assert page.locator("#map .xtick text").all_text_contents() == [
        str(bit) for bit in range(31, -1, -2)
    ]
    page.close()


BITS = {31: "sign", 30: "exponent", 23: "exponent", 22: "mantissa"}


def rows_at(layers: Sequence[str], bits: Iterable[int] = BITS, **changes: Any) -> list[Row]:
    """Trials of each layer at each bit, at bit 23 without harm."""
    return [
        row
        for at, layer in enumerate(layers)
        for bit in bits
        for row in cell_rows(
            layer, at, bit=bit, bit_field=BITS[bit], sdc=0 if bit == 23 else at + 1, **changes
        )
    ]


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_of_two_layers_every_label_of_the_map_is_seen(
    browser: Browser, tmp_path: Path, viewport: ViewportSize
) -> None:
    page = opened(browser, write_run(tmp_path / "run", rows_at(["conv", "dense"])), viewport)
    plot = page.locator("#map .plot").bounding_box()
    assert plot is not None
    bar = page.locator("#map .cbaxis text")
    assert bar.all_text_contents() == ["none", "1%", "10%"]
    fields = page.locator("#map .annotation-text").all_text_contents()
    assert len(fields) == 3
    for field, name in zip(fields, ("sign", "exponent", "mantissa"), strict=True):
        assert name.startswith(field.removesuffix("."))
    for label in (*bar.all(), *page.locator("#map .ytick text, #map .annotation-text").all()):
        box = label.bounding_box()
        assert box is not None
        assert plot["y"] <= box["y"]
        assert box["y"] + box["height"] <= plot["y"] + plot["height"]
        assert plot["x"] <= box["x"]
        assert box["x"] + box["width"] <= plot["x"] + plot["width"]
    page.close()


def test_seven_layers_and_their_map_are_on_the_first_screen_with_its_width(
    browser: Browser, tmp_path: Path
) -> None:
    page = opened(browser, write_run(tmp_path / "run", rows_at([f"l{at}" for at in range(7)])))
    box = page.locator("#map .plot").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= DESKTOP["height"]
    assert box["width"] > 1100
    page.close()


def test_rows_of_long_names_keep_apart_on_a_phone(browser: Browser, tmp_path: Path) -> None:
    name = "convnext_tiny_stage_{}_block_0_pointwise_convolution_with_layer_scale_and_more"
    names = [name.format(stage) for stage in range(3)]
    rows = [*rows_at(names, probability=0.1), *rows_at(names)]
    page = opened(browser, write_run(tmp_path / "run", rows), PHONE)
    for figure in ("layers", "map", "by-layer"):
        labels = page.locator(f"#{figure} .ytick text")
        assert len(set(labels.all_text_contents())) == 3
        places = sorted(label.bounding_box()["y"] for label in labels.all())  # type: ignore[index]
        assert min(places[1] - places[0], places[2] - places[1]) >= 12
    lines = page.locator("#curves .legend span")
    assert len(set(lines.all_text_contents())) == 3
    head = page.get_by_role("columnheader", name="sdc+due rate")
    assert head.evaluate("one => one.getBoundingClientRect().right") <= PHONE["width"]
    page.close()


def test_names_in_a_phones_tables_stay_whole(browser: Browser, tmp_path: Path) -> None:
    rows = rows_at(["max_pooling2d", "block_4_project_BN", "global_average_pooling2d"])
    page = opened(browser, write_run(tmp_path / "run", rows), PHONE)
    for name in page.locator("#numbers tbody th").all():
        lines = "one => { const r = document.createRange(); r.selectNodeContents(one); "
        assert name.evaluate(lines + "return r.getClientRects().length; }") == 1
    page.close()


def test_a_comparison_is_on_the_first_screen(browser: Browser, tmp_path: Path) -> None:
    layers = ["conv", "dense"]
    here = write_run(tmp_path / "here", rows_at(layers, repetitions=6))
    changed = [
        row | ({"sdc": 45, "masked": 5, "due": 0, "due_changed": 0} if row["bit"] == 31 else {})
        for row in rows_at(layers, repetitions=6)
    ]
    there = write_run(tmp_path / "there", changed)
    page = opened(browser, here, against=there)
    for figure in ("two-runs", "changes"):
        box = page.locator(f"#{figure} .plot").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= DESKTOP["height"]
    page.close()
