"""Telling the user how far a run is: live on a terminal, in plain lines elsewhere."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from orchestrator.executors.worker import ChunkResult, Ready
from orchestrator.session.counters import RunCounters
from orchestrator.session.listeners import Listener
from results.run_folder.golden import golden_warning
from results.shown import shown

LINE_SECONDS = 10.0
"""Between two lines where there is no terminal."""

ENOUGH = 0.01
"""Share of the trials that must be done before the time left is worth telling."""

SHOWN_LAYERS = 12
"""Layers shown at a time on a terminal."""


class Progress(Listener, ABC):
    """Tells what happens; subclasses show how far it is."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.counters = RunCounters(Counter(), 0, 0, 0)  # until it starts
        self._first: float | None = None
        self._errors: set[str] = set()

    def start(self, todo: Mapping[str, int], counters: RunCounters) -> None:
        """Hear how many trials of each layer are to be done, and how many are settled."""
        super().start(todo, counters)
        done, planned = counters.done_before, counters.planned.total()
        if counters.todo < planned:
            self.console.print(f"resuming: {done:,} of {planned:,} trials are done")
        self.show_start(todo)

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
        self.show_layer(layer, len(result.trials))

    def trials_given_up(self, layer: str, trials: int, error: str) -> None:
        """Hear that so many trials of a layer were given up on."""
        if error not in self._errors:
            self._errors.add(error)
            self.console.print(f"gave up on trials of {layer}: {error.strip()}", style="red")
        self.show_layer(layer, trials)

    def trials_released(self, layer: str, trials: int) -> None:
        """Hear that more trials of a layer are to be done."""
        self.show_more(layer, trials)

    @property
    def rate(self) -> float:
        """Trials per second since the first worker was ready."""
        elapsed = time.monotonic() - self._first if self._first else 0.0
        return self.counters.trials / elapsed if elapsed > 0 else 0.0

    @property
    def line(self) -> str:
        """One line on how far it is."""
        counters = self.counters
        if not counters.workers and not counters.trials:
            return "starting workers ..."
        parts = [
            f"{counters.done_before + counters.trials:,} of {counters.planned.total():,} trials",
            f"{self.rate:,.0f} trials/s",
            f"{counters.injections:,} injections",
            f"{counters.workers} worker{'s' if counters.workers != 1 else ''}",
        ]
        if counters.trials > ENOUGH * counters.todo:
            left = (counters.todo - counters.trials - counters.given_up) / self.rate
            parts.insert(2, f"{_duration(left)} left")
        if counters.lost:
            parts.append(f"{counters.lost:,} lost")
        if counters.given_up:
            parts.append(f"{counters.given_up} given up")
        return " | ".join(parts)

    @abstractmethod
    def show_start(self, todo: Mapping[str, int]) -> None:
        """Show the layers and their trials to do."""

    @abstractmethod
    def show_layer(self, layer: str, trials: int) -> None:
        """Show that trials of a layer are settled."""

    @abstractmethod
    def show_more(self, layer: str, trials: int) -> None:
        """Show that there are more trials of a layer to do."""

    @abstractmethod
    def close(self) -> None:
        """Stop showing."""


class LineProgress(Progress):
    """A line every ten seconds, for logs."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._last = time.monotonic()

    def show_start(self, todo: Mapping[str, int]) -> None:
        """Show nothing yet."""

    def show_layer(self, layer: str, trials: int) -> None:
        """Show nothing; the next line counts it."""

    def show_more(self, layer: str, trials: int) -> None:
        """Show nothing; the next line counts it."""

    def tick(self) -> None:
        """Print a line if the last is ten seconds old."""
        if time.monotonic() - self._last >= LINE_SECONDS:
            self._last = time.monotonic()
            self.console.print(self.line)

    def close(self) -> None:
        """Nothing is left on the screen."""


class LiveProgress(Progress):
    """Bars for the layers at work and a line for the whole, redrawn in place."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._live = Live(
            get_renderable=self._render, console=console, refresh_per_second=4, transient=True
        )

    def show_start(self, todo: Mapping[str, int]) -> None:
        """Begin to draw."""
        for layer, trials in todo.items():
            if trials:
                visible = len(self._tasks) < SHOWN_LAYERS
                self._tasks[layer] = self._bars.add_task(
                    shown(layer), total=trials, visible=visible
                )
        self._live.start()

    def show_layer(self, layer: str, trials: int) -> None:
        """Move the layer's bar; where there are many layers, show those still at work."""
        self._bars.update(self._tasks[layer], advance=trials, visible=True)
        shown = [task for task in self._bars.tasks if task.visible]
        finished = [task for task in shown if task.finished]
        for task in finished[: max(0, len(shown) - SHOWN_LAYERS)]:
            self._bars.update(task.id, visible=False)

    def show_more(self, layer: str, trials: int) -> None:
        """Make the layer's bar longer."""
        (bar,) = (task for task in self._bars.tasks if task.id == self._tasks[layer])
        self._bars.update(bar.id, total=(bar.total or 0) + trials)

    def close(self) -> None:
        """Take the display off the screen."""
        self._live.stop()

    def _render(self) -> RenderableType:
        return Group(self._bars, Text(self.line))


def make_progress(console: Console) -> Progress:
    """Return a live display on a terminal, plain lines elsewhere."""
    return LiveProgress(console) if console.is_terminal else LineProgress(console)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
