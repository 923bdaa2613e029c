"""The report of a run: one HTML file that needs nothing else, no network and no other file.

It holds figures and tables of groups of trials, never the trials: those are in the Parquet files.
"""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results import paths
from results.reading.snapshot import Snapshot
from results.report.content import content
from results.shown import shown
from results.storage.local import LocalStorage

if TYPE_CHECKING:
    import os

    from jinja2 import Environment

    from results.reading.run import Run

_TEMPLATES = files("results.report") / "templates"


def write_report(run: Run, file: str | os.PathLike[str], *, against: Run | None = None) -> Path:
    """Write the report of a run; it replaces what the file held, all at once.

    Args:
        run: The run, finished or not.
        file: The HTML file to write, on this machine.
        against: A run to compare it with, cell by cell.

    Returns:
        The file.

    Raises:
        ResultsError: The file cannot be written, a part of the run is damaged, or the two runs
            have no cell in common.

    Examples:
        >>> from results import open_run, write_report
        >>> write_report(open_run("runs/first"), "first.html").name
        'first.html'
    """
    target = Path(file)
    page = render_report(run, against=against)
    LocalStorage(target.parent).publish(target.name, page.encode())
    return target


def publish_report(run: Run) -> str:
    """Write the report of a run into its directory, as ``report.html``.

    Returns:
        Where it is: a path or, on object storage, a URI.

    Raises:
        ResultsError: As for ``write_report``.
    """
    run._storage.publish(paths.REPORT, render_report(run).encode())
    return run._storage.path(paths.REPORT)


def render_report(run: Run, *, against: Run | None = None) -> str:
    """Return the report of a run as the text of an HTML page.

    Args:
        run: The run, finished or not.
        against: A run to compare it with.
    """
    other = None if against is None else Snapshot(against)
    filled = content(Snapshot(run), other)
    return _environment().get_template("report.html.jinja").render(filled)


def _environment() -> Environment:
    """Return Jinja with everything escaped but our own files."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FunctionLoader(_read),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["in_script"] = lambda value: Markup(in_script(value))  # noqa: S704 - no markup is left in it
    environment.filters["marked"] = lambda text: Markup(marked(text))  # noqa: S704 - escaped
    environment.globals["own_file"] = lambda name: Markup(_read(name))  # noqa: S704 - ships with the package
    return environment


def _shown(value: Any) -> Any:
    """Return what a template puts into the page as it may be shown; markup of ours is that."""
    return shown(value) if type(value) is str else value


def marked(text: str) -> str:
    """Return a sentence as HTML, what stands between backticks as code."""
    from markupsafe import escape

    return re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(shown(text))))


def in_script(value: Any) -> str:
    """Return JSON that may stand in a script element: nothing in it ends the element.

    Args:
        value: What JSON can hold, or a text that is JSON already.
    """
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
