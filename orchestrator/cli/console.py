"""Where the commands print, and how."""

from __future__ import annotations

import json
import logging
import os
import sys
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from orchestrator.cli.streams import best_effort
from orchestrator.errors import OutputError
from results.errors import ResultsError
from results.shown import shown, without_secrets

if TYPE_CHECKING:
    import pandas as pd
    from rich.text import Text

    from orchestrator.session.session import Summary


UNBOUNDED = 10_000
"""Width where there is no terminal."""


class _Console(Console):
    """A console that shows all text as it may be shown, and leaves brackets as they are.

    Names in a user's model and the errors of libraries hold what they like: also what a terminal
    would obey.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text as it may be shown: before it is laid out."""
        return super().render_str(shown(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield what something consists of, what came ready-made as it may be shown too."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=shown(segment.text))


class _Messages(_Console):
    """A console whose lines are wrapped between words, and a word that is longer not at all."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text as it may be shown, and wrapped."""
        return super().render_str("\n".join(map(self._wrapped, text.split("\n"))), **options)

    def _wrapped(self, line: str) -> str:
        return textwrap.fill(
            line,
            self.width,
            subsequent_indent=line[: len(line) - len(line.lstrip())],
            break_long_words=False,
            break_on_hyphens=False,
        )


def messages() -> Console:
    """Return the console for progress and errors: the standard error. Its prints never fail.

    Lines are wrapped to the width of a terminal; elsewhere they stay whole.
    """
    kind = _Messages if sys.stderr.isatty() else _Console
    return kind(file=best_effort(sys.stderr), stderr=True, soft_wrap=True)


def screen() -> Console:
    """Return the console for what a command answers: the standard output.

    Where that is no terminal, lines are as long as they need to be.
    """
    is_wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return _Console(width=UNBOUNDED if is_wide else None)


@contextmanager
def after_work() -> Iterator[None]:
    """Let prints about work that is done fail: its exit code tells how it ended."""
    try:
        yield
    except OutputError as error:
        if not error.unwanted:
            messages().print(f"{error}", style="yellow")


class _ShownLines(logging.Formatter):
    """Lines of a log as they may be shown."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        return shown(super().format(record))


@contextmanager
def shown_warnings() -> Iterator[None]:
    """Have warnings and logs, which Python writes itself, be as they may be shown."""
    format_warning, handler = warnings.formatwarning, logging.lastResort

    def formatted(*what: Any, **more: Any) -> str:
        return shown(format_warning(*what, **more))

    warnings.formatwarning = formatted
    if handler is not None:
        before = handler.formatter
        handler.setFormatter(_ShownLines())
    try:
        yield
    finally:
        warnings.formatwarning = format_warning
        if handler is not None:
            handler.setFormatter(before)


class _Told(logging.Handler):
    """Prints what is logged as a message, once: a worker in this process finds the same again."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print the line of a record."""
        if (line := self.format(record)) not in self._said:
            self._said.add(line)
            messages().print(line, style="yellow")


@contextmanager
def told_logs() -> Iterator[None]:
    """Print warnings that this program logs, unless a script has said where logs go."""
    if logging.root.handlers:
        yield
        return
    handler = _Told(logging.WARNING)
    loggers = [logging.getLogger(name) for name in ("injecttf2", "orchestrator")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


IDS = ("trial_id", "cell_id")
"""Keys whose numbers have 64 bits; most readers of JSON know 53."""


def print_json(value: object) -> None:
    """Print a value as one line of JSON on the standard output, ids as texts, without secrets.

    Raises:
        OutputError: It could not be written.
    """
    sys.stdout.write(json.dumps(_with_text_ids(value), default=str) + "\n")
    sys.stdout.flush()


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame as JSON holds them; null is what is not known."""
    found: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=15))
    return found


def _with_text_ids(value: object, *, of_id: bool = False) -> object:
    if isinstance(value, Mapping):
        return {key: _with_text_ids(item, of_id=key in IDS) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_text_ids(item, of_id=of_id) for item in value]
    if isinstance(value, str):
        return without_secrets(value)
    return str(value) if of_id and isinstance(value, int) else value


def tell_summary(
    folder: str, summary: Summary, *, as_json: bool, report: str | None, sort: str
) -> None:
    """Print what a run did; results that cannot be read are left out with a warning.

    Args:
        folder: The run directory.
        summary: How the run ended.
        as_json: Whether to print one line of JSON.
        report: Where its report is, if one was written.
        sort: What layers and bits are ranked by.
    """
    from orchestrator.cli.outcomes import outcome_tables
    from orchestrator.cli.tables import summary_lines
    from results import open_run
    from results.reading.snapshot import Snapshot
    from results.shown import shown_address

    if as_json:
        from injecttf2.judging.output_kind import as_columns

        print_json(
            {
                "run": shown_address(folder),
                "trials": summary.trials,
                "done": summary.done,
                "failed": summary.failed,
                "injections": summary.injections,
                "reevaluated": summary.reevaluated,
                "seconds": round(summary.seconds, 3),
                "stopped": summary.stopped,
                "report": report,
                **({"unmet": summary.unmet} if summary.unmet else {}),
                **({"precision": summary.reached} if summary.reached else {}),
                **as_columns(summary.outputs),
                "busy": None if summary.busy is None else round(summary.busy, 4),
                **_found(folder, sort),
            }
        )
        return
    try:
        screen().print(outcome_tables(Snapshot(open_run(folder)), metric=sort))
    except (ResultsError, ValueError) as error:  # ValueError: it has no such criterion
        messages().print(f"the outcomes cannot be shown: {error}", style="yellow")
    screen().print(summary_lines(folder, summary, report), crop=False)  # a long path stays whole


def _found(folder: str, sort: str) -> dict[str, Any]:
    """Return what was done to the data, what the golden run gave and how layers rank.

    Nothing if the results cannot be read.
    """
    from results import open_run
    from results.run_folder.golden import golden_warning

    try:
        run = open_run(folder)
        layers = records(run.criticality("layer", metric=sort))
    except (ResultsError, ValueError):
        return {}
    golden = run.golden or {}
    return {
        "data": run.plan.get("data"),
        "golden_accuracy": golden.get("accuracy"),
        "warnings": [warning] if (warning := golden_warning(golden)) else [],
        "layers": layers,
    }
