"""Build the documentation as a site: ``python docs/build_site.py``.

The pages are plain Markdown with links that work on a code host too, some of them to files outside
``docs/``. Here they are gathered in ``build/docs``, the files that they link to below
``repository/`` in it, the notebook executed and turned into Markdown, and a list of the decisions
made. Then Zensical builds ``build/site``; a link or an anchor that leads nowhere is an error.

Nothing in the site is loaded from elsewhere: the one script that Zensical fetches, for searching in
files without a server, is replaced by a copy, and figures are drawn by the report's plotly.js.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from os.path import relpath
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
import plotly.io
from nbclient import NotebookClient

from injecttf2 import load_campaign, run

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
GATHERED = ROOT / "build" / "docs"
SITE = ROOT / "build" / "site"

KINDS = {".md", ".ipynb", ".css", ".js"}
"""What the site takes of ``docs/`` by itself; the rest only if a page links to it."""

ALSO = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md")
"""Files outside that are in the navigation."""

FETCHED, COPY = "https://unpkg.com/iframe-worker/shim", "iframe-worker.js"
"""A script that Zensical's pages fetch, and the copy of it."""

PLOTLY = ROOT / "results" / "report" / "templates" / "plotly-cartesian.min.js"
"""What draws the figures; the package has it for the report."""

FIGURE = "application/vnd.plotly.v1+json"
MANY_TICKS = 20

CAMPAIGN = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
PANDAS_STYLE = re.compile(r"<style.*?</style>| border=\"1\" class=\"dataframe\"", re.DOTALL)
LINK = re.compile(r"(\]\()([^)#:\s]+)(#[^)\s]*)?(\))")
CODE = re.compile(r"(^ *```.*?^ *```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def main() -> int:
    """Gather the pages and build the site; return the exit code."""
    shutil.rmtree(GATHERED, ignore_errors=True)
    GATHERED.mkdir(parents=True)
    pages = [file for file in DOCS.rglob("*") if file.suffix in KINDS]
    missing = gather([*pages, *(ROOT / name for name in ALSO)])
    write(GATHERED / "decisions" / "index.md", decisions())
    navigation = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    missing += [f"zensical.toml: {page}" for page in leaves(navigation) if not is_gathered(page)]
    if missing:
        print("These links lead nowhere:", *missing, sep="\n", file=sys.stderr)
        return 1
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603
    for page in SITE.rglob("*.html"):
        page.write_text(page.read_text().replace(FETCHED, relpath(SITE / COPY, page.parent)))
    return code


def leaves(navigation: object) -> Iterator[str]:
    """Yield the pages that the navigation names."""
    if isinstance(navigation, str):
        yield navigation
    elif isinstance(navigation, list | dict):
        for one in navigation.values() if isinstance(navigation, dict) else navigation:
            yield from leaves(one)


def is_gathered(page: str) -> bool:
    """Return whether a page of the navigation is there."""
    return (GATHERED / page).is_file()


def gather(waiting: list[Path]) -> list[str]:
    """Copy files, and what they link to, to their places; return links that lead nowhere."""
    done: set[Path] = set()
    missing = []
    while waiting:
        file = waiting.pop()
        if file in done:
            continue
        done.add(file)
        if file.suffix == ".ipynb":
            write(place(file), from_notebook(file))
        elif file.suffix == ".md":
            text = file.read_text()
            write(place(file), with_links(file, text))
            targets = [*linked(file, text)]
            waiting += [target for target in targets if target.is_file()]
            lost = [target for target in targets if not target.exists()]
            missing += [f"{relpath(file, ROOT)}: {relpath(target, ROOT)}" for target in lost]
        else:
            place(file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place(file))
    return missing


def place(file: Path) -> Path:
    """Return where a file of the repository is among the gathered ones."""
    if file.suffix == ".ipynb":
        file = file.with_suffix(".md")
    if file.is_relative_to(DOCS):
        return GATHERED / file.relative_to(DOCS)
    return GATHERED / "repository" / file.relative_to(ROOT)


def linked(page: Path, text: str) -> Iterator[Path]:
    """Yield the files and folders that a page links to, whether they exist or not."""
    for part in CODE.split(text)[::2]:
        for match in LINK.finditer(part):
            yield (page.parent / match[2]).resolve()


def with_links(page: Path, text: str) -> str:
    """Return a page whose links lead to the places of the gathered files."""

    def moved(match: re.Match[str]) -> str:
        target = (page.parent / match[2]).resolve()
        if target == DOCS / "decisions":
            target /= "index.md"
        elif not target.is_file() or not target.is_relative_to(ROOT):
            return match[0]
        there = relpath(place(target), place(page).parent)
        return f"{match[1]}{there}{match[3] or ''}{match[4]}"

    parts = CODE.split(text)
    parts[::2] = [LINK.sub(moved, part) for part in parts[::2]]
    return "".join(parts)


def from_notebook(file: Path) -> str:
    """Return a notebook as Markdown: each cell, and what it prints and shows."""
    shutil.copyfile(PLOTLY, GATHERED / PLOTLY.name)
    script = relpath(GATHERED / PLOTLY.name, place(file).parent)
    parts = [f'<script src="{script}"></script>']
    for cell in executed(file).cells:
        parts.append(fenced(cell.source, ".python") if cell.cell_type == "code" else cell.source)
        for output in cell.get("outputs", []):
            parts.append(shown(output, f"output-{len(parts)}"))
    return "\n\n".join(parts)


def executed(file: Path) -> nbformat.NotebookNode:
    """Return a notebook with its outputs, on a run of the campaign in its first cell."""
    notebook = nbformat.read(file, as_version=4)
    found = CAMPAIGN.search(notebook.cells[0].source)
    if found is None:
        raise ValueError(f"{file}: the first cell has no campaign, a block of yaml.")
    with TemporaryDirectory() as folder:
        Path(folder, "campaign.yaml").write_text(found[1])
        campaign = load_campaign(Path(folder, "campaign.yaml"))
        run(campaign, Path(folder, "runs", campaign.name), executor="inline", quiet=True)
        where = {"metadata": {"path": folder}}
        quiet = ["--log-level=ERROR"]  # a kernel warns that others on this machine could listen
        NotebookClient(notebook, resources=where, extra_arguments=quiet).execute()
    return notebook


def shown(output: nbformat.NotebookNode, name: str) -> str:
    """Return an output as Markdown or HTML; ``name`` is the anchor of a figure."""
    if output.output_type == "stream":
        return fenced(output.text, f".text .output .{output.name}")
    if FIGURE in output.data:
        return with_figure(output.data[FIGURE], name)
    if "text/html" in output.data:
        table = PANDAS_STYLE.sub("", output.data["text/html"])
        return f'<div class="output">\n{table}\n</div>'
    return fenced(output.data["text/plain"], ".text .output")


def with_figure(figure: dict[str, Any], name: str) -> str:
    """Return a figure of Plotly as HTML; one of many ticks is wide, and scrolls on a phone."""
    settings = {"displayModeBar": False, "responsive": True}
    drawn = plotly.io.to_html(
        figure, settings, include_plotlyjs=False, full_html=False, div_id=name
    )
    many = len(figure["layout"]["xaxis"].get("tickvals", ())) > MANY_TICKS
    return f'<div class="figure{" wide" if many else ""}">\n{drawn}\n</div>'


def fenced(text: str, classes: str) -> str:
    """Return text as a block of code."""
    return f"``` {{ {classes} }}\n{text.rstrip()}\n```"


def decisions() -> str:
    """Return a page that lists the decisions."""
    files = sorted((DOCS / "decisions").glob("0*.md"))
    titles = [file.read_text().partition("\n")[0].removeprefix("# ") for file in files]
    rows = [f"- [{title}]({file.name})" for title, file in zip(titles, files, strict=True)]
    return "\n".join(["# Decisions", "", "Why things are as they are.", "", *rows, ""])


def write(file: Path, text: str) -> None:
    """Write a file and the folders that it is in."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
