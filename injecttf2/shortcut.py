"""Levels ``drop`` and ``difference``: the way of an injected sample that is shorter than dense.

A **route** says how the steps behind a cut are taken: the first of them on windows
(``difference``), after some of them the samples whose live tensors are golden again leave
(``drop``), and the others are packed together anew for the rest.

The steps up to that check are one compiled function, the head, those behind it another, the tail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.batches import batches
from injecttf2.block import GoldenBlock
from injecttf2.graph import Graph, Step
from injecttf2.outcomes import MASKED, is_doubtful, judge
from injecttf2.rules import output_window
from injecttf2.rules.linear import sums
from injecttf2.suffix import PackedSites, batched, flipped
from injecttf2.windows import Differences, GoldenKey, Window, unravelled

DOUBTFUL = 254
"""Code of a sample whose outcome rounding could decide."""

ALIVE = 255
"""Code of a sample that still differs from golden."""


@dataclass(frozen=True)
class Route:
    """How the steps behind a cut are taken. It changes no outcome.

    Args:
        sparse: Steps that are taken on windows, from the first; 0 for none.
        check: Steps after which samples that are golden again leave; 0 for no check.
        head_batch: Samples in a batch up to the check.
        tail_batch: Samples in a batch behind it.
        head_jit: Whether XLA compiles the steps up to the check.
        tail_jit: Whether XLA compiles those behind it.
    """

    sparse: int
    check: int
    head_batch: int
    tail_batch: int
    head_jit: bool
    tail_jit: bool


class NoRule(Exception):  # noqa: N818 - it ends the sparse part, it is no error
    """A step gives no window."""


class Path:
    """What is traced: the steps behind a cut on the differences of a batch.

    Args:
        graph: The model.
        layer: Address of the layer.
        sparse: Steps that are taken on windows.
    """

    def __init__(self, graph: Graph, layer: str, sparse: int) -> None:
        self.graph = graph
        self.steps = graph.cut(layer).suffix
        self._target = graph.step(layer).outputs[0]
        self._sparse = sparse
        self._scored = scored_step(graph, self.steps)
        self._last_use = {self._target: -1, id(graph.output): len(self.steps)}
        for index, step in enumerate(self.steps):
            used = len(self.steps) if step is self._scored else index
            for key in step.inputs:
                self._last_use[key] = max(used, self._last_use.get(key, 0))

    def differences(
        self, rows: Any, golden: Callable[[GoldenKey], Any], *, in_place: bool
    ) -> Differences:
        """Return a batch that is golden everywhere."""
        return Differences(rows, golden, self.graph.shape, in_place=in_place)

    def inject(self, differences: Differences, elements: Any, bit: Any) -> None:
        """Flip a bit of one element of each sample in the cut layer's output."""
        shape = self.graph.shape(self._target)
        offsets = unravelled(elements, shape)
        original = differences.golden(self._target, offsets, (1,) * len(shape))
        corrupted = flipped(original, tf.reshape(bit, (-1, *[1] * len(shape))))
        differences.doubt(corrupted)
        differences.windows[self._target] = Window(offsets, corrupted, original)

    def run(self, differences: Differences, first: int, last: int) -> None:
        """Take the steps from ``first`` up to, not including, ``last``.

        Raises:
            NoRule: A step that is to be taken on windows gives none.
        """
        for index in range(first, last):
            step = self.steps[index]
            if index < self._sparse:
                window = output_window(step, differences)
                if window is None:
                    raise NoRule(step.layer)
                differences.windows[step.outputs[0]] = window
            else:
                self._run_dense(step, differences)
            for key in [key for key in differences.windows if self._last_use[key] <= index]:
                del differences.windows[key]

    def _run_dense(self, step: Step, differences: Differences) -> None:
        values = {key: differences.whole(key) for key in step.inputs}
        step.run(values)
        for key in step.outputs:
            if key in self._last_use:
                shape = self.graph.shape(key)
                differences.windows[key] = Window((0,) * len(shape), values[key])

    def judge(self, differences: Differences, golden: Any, bound: Any) -> tuple[Any, Any, Any]:
        """Judge the model's outputs; all steps have been taken.

        Args:
            differences: The samples.
            golden: Golden outputs, [rows, classes].
            bound: Most that rounding changes the distance from golden.

        Returns:
            Codes, ``DOUBTFUL`` among them, classes and distances as :func:`outcomes.judge` does.
        """
        outputs = differences.whole(id(self.graph.output))
        scores = outputs
        if self._scored is not None:
            scores = differences.whole(self._scored.inputs[0])
            if isinstance(self._scored.operation, keras.layers.Dense):
                scores = sums(self._scored.operation, scores)
        code, faulty_class, distance = judge(outputs, golden)
        bound = tf.cast(bound, distance.dtype)
        doubtful = differences.doubtful | is_doubtful(scores, distance, bound=bound)
        return tf.where(doubtful, tf.constant(DOUBTFUL, tf.uint8), code), faulty_class, distance


def scored_step(graph: Graph, steps: Sequence[Step]) -> Step | None:
    """Return the last step if it is a softmax, or a dense layer that ends with one."""
    if not steps or id(graph.output) not in steps[-1].outputs:
        return None
    operation = steps[-1].operation
    activation = getattr(operation, "activation", None)
    layers = keras.layers
    is_softmax = isinstance(operation, layers.Softmax | SOFTMAX_OPERATION) or (
        isinstance(operation, layers.Activation | layers.Dense)
        and activation is keras.activations.softmax
    )
    return steps[-1] if is_softmax else None


SOFTMAX_OPERATION = type(
    keras.ops.softmax(keras.KerasTensor((None, 2)))._keras_history[0]  # the class is not public
)


class Shortcut:
    """A route, compiled for one cut and block.

    Args:
        path: The steps behind the cut.
        route: How they are taken.
        keys: Golden tensors of the block, as :func:`golden_keys` returns them.
    """

    def __init__(self, path: Path, route: Route, keys: Sequence[GoldenKey]) -> None:
        self.route = route
        self.bound = 0.0
        self.dropped = 0
        self._path = path
        self._keys = {key: index for index, key in enumerate(keys)}
        self._layouts: list[Layout] = []
        self._head: Any = None
        self._tail: Any = None

    def evaluate(
        self, block: GoldenBlock, golden: Any, sites: PackedSites
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32], npt.NDArray[Any]]:
        """Inject sites and judge them.

        Args:
            block: The golden block that is loaded.
            golden: Its golden outputs.
            sites: What to inject.

        Returns:
            Codes uint8 [sites], ``DOUBTFUL`` among them; classes int32 [sites], not set where a
            sample was dropped; distances [sites], 0 where it was.
        """
        self._compile(block, golden)
        count = sites.shape[1]
        code = np.full(count, MASKED, np.uint8)
        faulty_class = np.full(count, -1, np.int32)
        distance = np.zeros(count, self._path.graph.output.dtype)
        bound = tf.constant(self.bound, tf.float64)
        judged = []
        for index, state in self._survivors(block, sites, code):
            judged.append((index, self._tail(block.tensors, golden, bound, state)))
        for index, parts in judged:
            columns = [part.numpy()[: len(index)] for part in parts]
            code[index], faulty_class[index], distance[index] = columns
        return code, faulty_class, distance

    def _survivors(
        self, block: GoldenBlock, sites: PackedSites, code: npt.NDArray[np.uint8]
    ) -> Iterator[tuple[npt.NDArray[np.int64], list[Any]]]:
        """Yield batches for the tail: places in ``sites``, and the state of the samples."""
        route = self.route
        if not route.check:
            for (start, stop), batch in zip(
                batches(sites.shape[1], route.tail_batch),
                batched(sites, route.tail_batch),
                strict=True,
            ):
                yield np.arange(start, stop), [batch]
            return
        packing = Packing(route.tail_batch)
        for (start, stop), batch in zip(
            batches(sites.shape[1], route.head_batch),
            batched(sites, route.head_batch),
            strict=True,
        ):
            status, *state = self._head(block.tensors, batch)
            found = status.numpy()[: stop - start]
            alive = np.flatnonzero(found == ALIVE)
            code[start:stop] = found
            self.dropped += int(np.count_nonzero(found == MASKED))
            packing.add(start + alive, state, alive)
            yield from packing.full()
        yield from packing.rest()

    def _compile(self, block: GoldenBlock, golden: Any) -> None:
        if self._tail is not None:
            return
        route, tensors = self.route, block.signature()
        sites = [tf.TensorSpec((3, size), tf.int32) for size in (route.head_batch, route.tail_batch)]
        state = [sites[1]]
        if route.check:
            head = tf.function(self._run_head, autograph=False, jit_compile=route.head_jit)
            self._head = head.get_concrete_function(tensors, sites[0])
            _, *outputs = self._head.structured_outputs
            state = [
                tf.TensorSpec((route.tail_batch, *one.shape[1:]), one.dtype) for one in outputs
            ]
        tail = tf.function(self._run_tail, autograph=False, jit_compile=route.tail_jit)
        golden_spec = tf.TensorSpec(golden.shape, golden.dtype)
        self._tail = tail.get_concrete_function(
            tensors, golden_spec, tf.TensorSpec((), tf.float64), state
        )

    def _run_head(self, tensors: Any, sites: Any) -> tuple[Any, ...]:
        """Take the steps up to the check; return codes, and the state of each sample."""
        route = self.route
        rows, elements, bit = tf.unstack(sites)
        differences = self._differences(tensors, rows, jit=route.head_jit)
        self._path.inject(differences, elements, bit)
        self._path.run(differences, 0, route.check)
        same = differences.same_as_golden()
        status = tf.where(same, tf.constant(MASKED, tf.uint8), tf.constant(ALIVE, tf.uint8))
        status = tf.where(differences.doubtful, tf.constant(DOUBTFUL, tf.uint8), status)
        self._layouts, state = _packed(differences)
        return status, *state

    def _run_tail(self, tensors: Any, golden: Any, bound: Any, state: list[Any]) -> Any:
        """Take the steps behind the check and judge."""
        route = self.route
        if route.check:
            rows, *parts = state
            differences = self._differences(tensors, rows, jit=route.tail_jit)
            differences.windows = _unpacked(self._layouts, parts)
        else:
            rows, elements, bit = tf.unstack(state[0])
            differences = self._differences(tensors, rows, jit=route.tail_jit)
            self._path.inject(differences, elements, bit)
        self._path.run(differences, route.check, len(self._path.steps))
        return self._path.judge(differences, tf.gather(golden, rows), bound)

    def _differences(self, tensors: Any, rows: Any, *, jit: bool) -> Differences:
        return self._path.differences(
            rows, lambda key: tensors[self._keys[key]], in_place=not jit
        )


class Packing:
    """Survivors of several batches, packed together at a fixed shape.

    Args:
        size: Samples in a batch.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._pieces: list[tuple[npt.NDArray[np.int64], list[Any]]] = []
        self._waiting = 0

    def add(self, index: npt.NDArray[np.int64], state: list[Any], alive: Any) -> None:
        """Take in the samples at the places ``alive`` of a batch."""
        if len(index):
            self._pieces.append((index, [tf.gather(part, alive) for part in state]))
            self._waiting += len(index)

    def full(self) -> Iterator[tuple[npt.NDArray[np.int64], list[Any]]]:
        """Yield the batches that are full."""
        while self._waiting >= self._size:
            yield self._take(self._size)

    def rest(self) -> Iterator[tuple[npt.NDArray[np.int64], list[Any]]]:
        """Yield what is left, filled up with copies of its first sample."""
        if self._waiting:
            index, state = self._take(self._waiting)
            filling = np.zeros(self._size - len(index), np.int64)
            places = np.concatenate([np.arange(len(index)), filling])
            yield index, [tf.gather(part, places) for part in state]

    def _take(self, count: int) -> tuple[npt.NDArray[np.int64], list[Any]]:
        self._waiting -= count
        taken = []
        while count:
            index, state = self._pieces.pop(0)
            if len(index) > count:
                self._pieces.insert(0, (index[count:], [part[count:] for part in state]))
                index, state = index[:count], [part[:count] for part in state]
            taken.append((index, state))
            count -= len(index)
        if len(taken) == 1:
            return taken[0]
        indices, states = zip(*taken, strict=True)
        return np.concatenate(indices), [tf.concat(parts, 0) for parts in zip(*states, strict=True)]


def golden_keys(path: Path, route: Route) -> list[GoldenKey]:
    """Return the golden tensors that a route reads, those of the cut's frontier first."""
    needed: dict[GoldenKey, None] = {}

    def golden(key: GoldenKey) -> Any:
        needed[key] = None
        return probe(path.graph, key)

    def trace(sites: Any) -> Any:
        rows, elements, bit = tf.unstack(sites)
        differences = path.differences(rows, golden, in_place=False)
        path.inject(differences, elements, bit)
        path.run(differences, 0, route.check)
        differences.same_as_golden()
        path.run(differences, route.check, len(path.steps))
        return differences.whole(id(path.graph.output))

    tf.function(trace, autograph=False).get_concrete_function(tf.TensorSpec((3, 8), tf.int32))
    return list(needed)


def probe(graph: Graph, key: GoldenKey) -> Any:
    """Return a tensor that stands for a golden one while nothing is computed."""
    tensor = key if isinstance(key, int) else graph.step(key.layer).outputs[0]
    return tf.zeros((8, *graph.shape(tensor)), graph.dtypes[tensor])


@dataclass(frozen=True)
class Layout:
    """What is fixed of a window while its tensors travel from one function to the next.

    Args:
        key: The tensor that it belongs to.
        offsets: The offsets that are equal for all rows; None for those that are not.
        with_golden: Whether its golden values travel along.
    """

    key: int
    offsets: tuple[int | None, ...]
    with_golden: bool


def _packed(differences: Differences) -> tuple[list[Layout], list[Any]]:
    """Return what is fixed of the windows, and tensors: the rows, then what is not fixed."""
    layouts, tensors = [], [differences.rows]
    for key, window in differences.windows.items():
        fixed = tuple(one if isinstance(one, int) else None for one in window.offsets)
        layouts.append(Layout(key, fixed, window.golden is not None))
        if None in fixed:
            moving = [one for one in window.offsets if not isinstance(one, int)]
            tensors.append(tf.stack(moving, axis=1))
        tensors += [window.values] if window.golden is None else [window.values, window.golden]
    return layouts, tensors


def _unpacked(layouts: Sequence[Layout], tensors: Sequence[Any]) -> dict[int, Window]:
    """Return the windows that :func:`_packed` took apart, the rows left out."""
    windows, parts = {}, iter(tensors)
    for layout in layouts:
        moving = iter(tf.unstack(next(parts), axis=1) if None in layout.offsets else ())
        offsets = tuple(next(moving) if one is None else one for one in layout.offsets)
        windows[layout.key] = Window(
            offsets, next(parts), next(parts) if layout.with_golden else None
        )
    return windows
