"""Where time goes: shares of an evaluation, at level dense and with all levels."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from benchmarks import data
from benchmarks.timing import median_seconds, seconds, trials
from injecttf2 import device

LAYERS = (("example CNN", "conv2d"), ("example CNN", "dense"), ("ResNet-20", "stem_conv"))

ROUNDS = 3

SECONDS = 2.0
"""Time of a measurement, about: that of a worker's chunk of trials."""


def main() -> None:
    device.configure()
    from injecttf2.engine import Engine

    console = Console(width=100)
    models = {"example CNN": data.example}
    if data.resnet_files()[0].exists():
        models["ResNet-20"] = data.resnet
    for name, load in models.items():
        model, dataset = load()
        engines = [Engine(model, dataset, levels=levels) for levels in ((), data.LEVELS)]
        for layer in (layer for other, layer in LAYERS if other == name):
            console.print(
                _table(f"profile: {name}, {layer}, level dense", _dense(engines[0], layer))
            )
            engines[0].prepare(layer).release()
            console.print(
                _table(f"profile: {name}, {layer}, all levels", _levels(engines[1], layer))
            )
            engines[1].prepare(layer).release()
    console.print(
        f"medians of {ROUNDS}; random bits, p = 1; drawing runs beside the others and is no share "
        f"of their sum\n{data.machine()}\n",
        highlight=False,
    )


def _table(title: str, parts: dict[str, float]) -> Table:
    table = Table(title=title)
    for name in ("part", "ns an injection", "share"):
        table.add_column(name, justify="left" if name == "part" else "right")
    whole = sum(taken for name, taken in parts.items() if name != "drawing")
    for name, taken in parts.items():
        share = "beside" if name == "drawing" else f"{taken / whole:.0%}"
        table.add_row(name, f"{taken * 1e9:,.0f}", share)
    table.add_row("all", f"{whole * 1e9:,.0f}", "")
    return table


def _dense(engine: Any, layer: str) -> dict[str, float]:
    """Return the seconds of an injection at level dense: functions that stop earlier and earlier.

    Steps are added up by what is before the first underscore of their layer's name.
    """
    import tensorflow as tf

    from injecttf2.outcomes import judge
    from injecttf2.packed import batched, change_words

    prepared = engine.prepare(layer)
    cut = engine.graph.cut(layer)
    tensors = prepared._block.tensors
    batch = prepared.batch
    hits = _hits(prepared, _drawn(prepared, trials(layer, 1)))
    first = next(batched(hits.take(slice(batch)), batch))

    def stopping(steps: int, *, judged: bool = False) -> Callable[[], Any]:
        def run(tensors: Any, golden: Any, hits: Any) -> Any:
            rows, (words,) = hits
            gathered = [tf.gather(tensor, rows) for tensor in tensors]
            gathered[0] = change_words(gathered[0], words, fresh=True)
            values = dict(zip(cut.frontier, gathered, strict=True))
            for step in cut.suffix[:steps]:
                step.run(values)
            if judged:
                return judge(values[id(engine.graph.output)], tf.gather(golden, rows))
            return values[cut.suffix[steps - 1].outputs[0] if steps else cut.frontier[0]]

        compiled = tf.function(run, autograph=False)
        frontier = tensors[: len(cut.frontier)]
        return lambda: compiled(frontier, prepared._outputs, first)

    groups = [step.layer.partition("_")[0] for step in cut.suffix]
    functions = {"golden rows, flip": stopping(0)}
    for count in range(1, len(groups) + 1):
        if count == len(groups) or groups[count] != groups[count - 1]:
            functions[groups[count - 1]] = stopping(count)
    functions["judging"] = stopping(len(groups), judged=True)
    parts = dict(zip(functions, _differences(list(functions.values())) / batch, strict=True))
    chosen = _enough_trials(engine, layer)
    count = len(chosen) * len(engine.dataset)
    whole = median_seconds(lambda: engine.evaluate(chosen), ROUNDS) / count
    parts["new data, packing, counting"] = max(0.0, whole - sum(parts.values()))
    parts["drawing"] = median_seconds(lambda: _drawn(prepared, chosen), ROUNDS) / count
    return parts


def _drawn(prepared: Any, chosen: Any) -> Any:
    """Return the hits of trials in a layer."""
    from injecttf2.outputs_evaluator import OutputsEvaluator

    return OutputsEvaluator(prepared, prepared._shared).draw(chosen)


def _hits(prepared: Any, drawn: Any) -> Any:
    """Return hits as they are evaluated; all samples are in the block that is loaded."""
    from injecttf2.drawn import packed

    return packed(drawn, prepared.changes(drawn, record=False)[0])


def _levels(engine: Any, layer: str) -> dict[str, float]:
    """Return the seconds of an injection with all levels."""
    prepared = engine.prepare(layer, tune=True)
    chosen = _enough_trials(engine, layer)
    engine.evaluate(chosen)
    spent: dict[str, list[float]] = {}
    _clock(prepared._suffix, "examine", spent)
    for shortcut in prepared._shortcuts:
        for name in ("evaluate", "_head", "_tail"):
            _clock(shortcut, name, spent, as_name=f"shortcut {name}")
    totals: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        spent.clear()
        spent["evaluate"] = [seconds(lambda: engine.evaluate(chosen))]
        for name, times in spent.items():
            totals.setdefault(name, []).append(sum(times))
    count = len(chosen) * len(engine.dataset)

    def median(name: str) -> float:
        return statistics.median(totals.get(name, [0.0])) / count

    head, tail = median("shortcut _head"), median("shortcut _tail")
    shortcuts = median("shortcut evaluate")
    return {
        "windows up to the check": head,
        "from there to the judgement": tail,
        "packing, handing over": max(0.0, shortcuts - head - tail),
        "level dense for what is left": median("examine"),
        "counting": max(0.0, median("evaluate") - shortcuts - median("examine")),
        "drawing": median_seconds(lambda: _drawn(prepared, chosen), ROUNDS) / count,
    }


def _clock(
    owner: Any, name: str, spent: dict[str, list[float]], *, as_name: str | None = None
) -> None:
    """Have every call of a method add to the times spent."""
    call = getattr(owner, name)
    if call is None:  # a route without a check has no head
        return

    def timed(*arguments: Any, **options: Any) -> Any:
        begin = time.perf_counter()
        result = call(*arguments, **options)
        spent.setdefault(as_name or name, []).append(time.perf_counter() - begin)
        return result

    setattr(owner, name, timed)


def _enough_trials(engine: Any, layer: str) -> list[Any]:
    """Return trials that take about ``SECONDS``."""
    one = trials(layer, 1)
    taken = median_seconds(lambda: engine.evaluate(one), ROUNDS)
    return trials(layer, max(1, round(SECONDS / taken)))


def _differences(calls: list[Callable[[], Any]]) -> npt.NDArray[np.float64]:
    """Return how much longer each call takes than the one before; measured in turn."""
    rounds = [[median_seconds(call, ROUNDS) for call in calls] for _ in range(ROUNDS)]
    times = np.maximum.accumulate(np.min(rounds, axis=0))
    return np.diff(times, prepend=0.0)
