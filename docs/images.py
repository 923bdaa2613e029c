"""Take the pictures of the documentation: ``python docs/images.py``, with Chromium on the PATH.

They are parts of reports, of the runs that the pages make.
"""

import shutil
import sys
import tempfile
from contextlib import chdir
from pathlib import Path

from playwright.sync_api import Browser, ViewportSize, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from injecttf2 import load_campaign, run  # noqa: E402
from results import write_report  # noqa: E402
from tests.docs.pages import blocks  # noqa: E402

IMAGES = ROOT / "docs" / "images"

PICTURES = {
    "digits": ("campaigns/digits.yaml", "#map .plot"),
    "report": ("docs/guide/quick-start.md", None),  # the first screen
    "report-curves": ("docs/guide/report.md", "#curves"),
}
"""For each picture where its campaign is, and what of the report is seen."""

WIDTH, HEIGHT, SCALE = 1180, 840, 1.5


def main(folder: Path = IMAGES) -> None:
    """Run the campaigns and write the pictures, as PNG."""
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as name, chdir(name):
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for picture, (page, part) in PICTURES.items():
            campaign = load_campaign(saved(page))
            report = write_report(run(campaign, picture, quiet=True), f"{picture}.html")
            take(browser, report, part, folder / f"{picture}.png")
        browser.close()


def saved(page: str) -> Path:
    """Return a campaign's file, or that of a page, which is its first with a name, saved here."""
    if page.endswith(".yaml"):
        return ROOT / page
    block = next(one for one in blocks(page) if one.file is not None)
    file = Path(str(block.file))
    file.write_text(block.code)
    return file


def take(browser: Browser, report: Path, part: str | None, file: Path) -> None:
    """Take a picture of a part of a report, or of its first screen."""
    viewport = ViewportSize(width=WIDTH, height=HEIGHT)
    page = browser.new_page(viewport=viewport, device_scale_factor=SCALE, color_scheme="light")
    page.goto(report.absolute().as_uri())
    page.locator(part or "#map .plot-container").first.scroll_into_view_if_needed()
    page.locator(f"{part or '#map'} .main-svg").first.wait_for()
    if part is None:
        page.evaluate("window.scrollTo(0, 0)")
        page.screenshot(path=file)
    else:
        page.locator(part).first.screenshot(path=file)
    page.close()


if __name__ == "__main__":
    main()
