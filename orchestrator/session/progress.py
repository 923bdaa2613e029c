"""Telling the user how far a run is, from its first second on.

On a terminal there is one bar, in a notebook one line, both redrawn in place; elsewhere come plain
lines. What happens is told above them, a line each.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from orchestrator.session.counters import RunCounters
from orchestrator.session.listeners import SessionListener
from results.run_folder.golden import golden_warning
from results.shown import shown

if TYPE_CHECKING:
    from orchestrator.executors.worker import ChunkResult, Ready

LOADING = "loading TensorFlow"
"""The stage that most commands begin with."""

LINE_SECONDS = 10.0
"""Between two lines where there is no terminal."""

NOTEBOOK_SECONDS = 0.5
"""Between two changes of the line in a notebook."""

BAR_WIDTH = 30

ENOUGH = 0.01
"""Share of the trials that must be done before the time left is worth telling."""


class Progress(SessionListener, ABC):
    """Tells what happens; subclasses show how far it is.

    Args:
        console: Where.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.counters = RunCounters(Counter(), 0, 0, 0)  # until it starts
        self._begin = time.monotonic()
        self._stage = ""
        self._left: Counter[str] = Counter()
        self._first: float | None = None
        self._errors: set[str] = set()

    def stage(self, name: str) -> None:
        """Hear what is done next, before the first trial."""
        self._stage = name
        self.show_stage()

    def start(self, todo: Mapping[str, int]) -> None:
        """Hear how many trials of each layer are to be done; tell how many are settled."""
        self._left.update(todo)
        done, planned = self.counters.done_before, self.counters.planned.total()
        if self.counters.todo < planned:
            self.console.print(f"resuming: {done:,} of {planned:,} trials are done")

    def worker_started(self, ready: Ready) -> None:
        """Hear that a worker is ready."""
        if self._first is None:
            accuracy = ready.golden["accuracy"]
            self.console.print(f"golden accuracy {accuracy:.2%} on {ready.device}")
            if warning := golden_warning(ready.golden):
                self.console.print(warning, style="yellow")
        self._first = self._first or time.monotonic()

    def worker_lost(self, error: str, *, was_ready: bool) -> None:  # noqa: ARG002
        """Hear that a worker is gone, or could not start."""
        if error not in self._errors:
            self._errors.add(error)
            self.console.print(f"a worker was lost: {error}", style="yellow")

    def chunk_done(self, layer: str, result: ChunkResult) -> None:
        """Hear that trials of a layer are done."""
        self._left[layer] -= len(result.trials)

    def trials_given_up(self, layer: str, trials: int, error: str) -> None:
        """Hear that so many trials of a layer were given up on."""
        self._left[layer] -= trials
        if error not in self._errors:
            self._errors.add(error)
            self.console.print(f"gave up on trials of {layer}: {error.strip()}", style="red")

    def trials_released(self, layer: str, trials: int) -> None:
        """Hear that more trials of a layer are to be done."""
        self._left[layer] += trials

    @property
    def is_working(self) -> bool:
        """Whether trials are done by now, or could be."""
        return bool(self.counters.workers or self.counters.trials)

    @property
    def line(self) -> str:
        """One line on how far it is."""
        return " | ".join([*self.extent(), *self.details()])

    def extent(self) -> list[str]:
        """Return what it is at, how many trials are done, and times."""
        elapsed = f"{_duration(time.monotonic() - self._begin)} elapsed"
        if not self.is_working:
            return [self._stage, elapsed]
        counters = self.counters
        parts = [
            f"{counters.done_before + counters.trials:,} of {counters.planned.total():,} trials",
            elapsed,
        ]
        if counters.trials > ENOUGH * counters.todo:
            rest = counters.todo - counters.trials - counters.given_up
            parts.append(f"{_duration(rest * self._seconds / counters.trials)} left")
        return parts

    def details(self) -> list[str]:
        """Return how fast it is, what this run has found, and on what it works."""
        if not self.is_working:
            return []
        counters, parts = self.counters, []
        if counters.injections:
            parts = [
                f"{counters.injections / max(self._seconds, 1e-9):,.0f} injections/s",
                f"sdc {counters.sdc / counters.injections:.2%}",
                f"due {counters.due / counters.injections:.2%}",
            ]
        done = sum(1 for layer in counters.planned if self._left[layer] <= 0)
        parts += [
            f"layers {done:,} of {len(counters.planned):,}",
            f"{counters.workers} worker{'s' if counters.workers != 1 else ''}",
        ]
        if counters.lost:
            parts.append(f"{counters.lost:,} lost")
        if counters.given_up:
            parts.append(f"{counters.given_up:,} given up")
        return parts

    @property
    def _seconds(self) -> float:
        """Seconds since the first worker was ready."""
        return time.monotonic() - self._first if self._first else 0.0

    @abstractmethod
    def show_stage(self) -> None:
        """Show that something begins, as ``extent`` tells it."""

    @abstractmethod
    def tick(self) -> None:
        """Show how far it is by now."""

    @abstractmethod
    def close(self) -> None:
        """Stop showing."""


class LineProgress(Progress):
    """A line for each stage, and one every ten seconds, for logs."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._last = self._begin

    def show_stage(self) -> None:
        """Print it."""
        self._last = time.monotonic()
        self.console.print(self._stage)

    def tick(self) -> None:
        """Print a line if the last is ten seconds old."""
        if time.monotonic() - self._last >= LINE_SECONDS:
            self._last = time.monotonic()
            self.console.print(self.line)

    def close(self) -> None:
        """Nothing is left on the screen."""


class LiveProgress(Progress):
    """A bar, redrawn in place; it redraws itself, also while a chunk is evaluated here."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._spinner = Spinner("dots")
        self._live = Live(
            get_renderable=self._render, console=console, refresh_per_second=4, transient=True
        )

    def show_stage(self) -> None:
        """Begin to draw, or draw anew."""
        self._live.start()
        self._live.refresh()

    def tick(self) -> None:
        """It redraws itself."""

    def close(self) -> None:
        """Take the display off the screen."""
        self._live.stop()

    def _render(self) -> RenderableType:
        counters = self.counters
        bar: RenderableType = self._spinner
        if self.is_working:
            settled = counters.done_before + counters.given_up_before
            settled += counters.trials + counters.given_up
            bar = ProgressBar(counters.planned.total(), settled, width=BAR_WIDTH)
        row = Table.grid(padding=(0, 1))
        row.add_row(bar, Text(shown(" | ".join(self.extent()))))
        return Group(row, *(Text(" | ".join(part)) for part in [self.details()] if part))


class NotebookProgress(Progress):
    """A line in the output of a notebook's cell, which changes in place and stays at the end."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._line: Any = None
        self._last = self._begin

    def show_stage(self) -> None:
        """Show it at once."""
        self._show()

    def tick(self) -> None:
        """Change the line, if it has stood a moment."""
        if time.monotonic() - self._last >= NOTEBOOK_SECONDS:
            self._show()

    def close(self) -> None:
        """Leave the last line."""
        if self._line is not None:
            self._show()

    def _show(self) -> None:
        from IPython.display import display

        self._last = time.monotonic()
        text = {"text/plain": shown(self.line)}
        if self._line is None:
            self._line = display(text, raw=True, display_id=True)
        else:
            self._line.update(text, raw=True)


def make_progress(console: Console) -> Progress:
    """Return what fits the console: a bar, a notebook's line, or plain lines."""
    if console.is_jupyter:
        return NotebookProgress(console)
    return LiveProgress(console) if console.is_terminal else LineProgress(console)


@contextmanager
def stages(console: Console) -> Iterator[Callable[[str], None]]:
    """Have a command that runs no trials say what it does next; what it has said goes at its end.

    Args:
        console: Where.
    """
    with closing(make_progress(console)) as progress:
        yield progress.stage


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
