"""Levels ``drop`` and ``difference``: the way of an injected sample that is shorter than dense.

A **route** says how the steps behind a cut are taken: the first of them on windows
(``difference``), after some of them the samples whose live tensors are golden again leave
(``drop``), and the others are packed together anew for the rest.

The steps up to that check are one compiled function, the head, those behind it another, the tail.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.batches import batches
from injecttf2.block import GoldenBlock
from injecttf2.graph import Graph, Step, Values
from injecttf2.outcomes import MASKED, is_close, judge
from injecttf2.routes import Route
from injecttf2.rules import EXACT, output_window
from injecttf2.rules.linear import sums
from injecttf2.suffix import PackedSites, batched, flipped
from injecttf2.windows import Differences, GoldenKey, Window, tensor_of, unravelled

NOT_FINITE = 253
"""Code of a sample in which something was not finite: only level ``dense`` may judge it."""

CLOSE = 254
"""Code of a sample whose outcome rounding could decide."""

ALIVE = 255
"""Code of a sample that still differs from golden."""

HOST_BYTES = 64
"""Up to this size of a row, NumPy packs rows faster than a device operation starts."""


HEADROOM = 2.0**32
"""Factor by which sums within a layer may exceed what goes in, as far as it is known to be safe."""


@dataclass(frozen=True)
class Arithmetic:
    """How far a compiler's arithmetic can be from that of level ``dense``.

    Args:
        large: Magnitude from which a score might not be finite at level ``dense``.
        floor: Effect of rounding a softmax on a distance, however little goes into it.
    """

    large: float
    floor: float


PLAIN = Arithmetic(large=2.0**127, floor=2.0**-22)
"""The kernels of level ``dense``."""

XLA = Arithmetic(large=2.0**126, floor=2.0**-21)
"""Sums in another order, and an exponential function of its own."""


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
        self.scored = scored_step(graph, self.steps)
        self._exact = all(self._is_exact(step) for step in self.steps)
        self._decisive = (id(graph.output),) if self.scored is None else self.scored.inputs
        self._last_use = {self._target: -1, id(graph.output): len(self.steps)}
        for index, step in enumerate(self.steps):
            used = len(self.steps) if step is self.scored else index
            for key in step.inputs:
                self._last_use[key] = max(used, self._last_use.get(key, 0))

    def differences(
        self, rows: Any, golden: Callable[[GoldenKey], Any], *, xla: bool
    ) -> Differences:
        """Return a batch that is golden everywhere."""
        return Differences(rows, golden, self.graph.shape, xla=xla)

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
                differences.settle(step.outputs[0])
            else:
                self._run_dense(step, differences)
            for key in [key for key in differences.windows if self._last_use[key] <= index]:
                del differences.windows[key]

    def _run_dense(self, step: Step, differences: Differences) -> None:
        values = {key: differences.whole(key) for key in step.inputs}
        step.run(values)
        if differences.xla and not self._is_exact(step):
            self._doubt_overflow(step, differences, values)
        for key in step.outputs:
            if key in self._last_use:
                shape = self.graph.shape(key)
                differences.windows[key] = Window((0,) * len(shape), values[key])

    def _doubt_overflow(self, step: Step, differences: Differences, values: Values) -> None:
        """Mark samples in which a sum might overflow in one order of summation only.

        What layers with a kernel give out shows it. Others, such as a mean, do not.
        """
        if hasattr(step.operation, "kernel"):
            for key in set(step.outputs) - set(self._decisive):
                differences.doubt_sums(values[key])
        else:
            for key in step.inputs:
                differences.doubt(values[key] * HEADROOM)

    def _is_exact(self, step: Step) -> bool:
        """Return whether a step sums nothing, up to what the decision is taken by."""
        if step is self.scored and not isinstance(step.operation, keras.layers.Dense):
            return True
        return type(step.operation) in EXACT

    def judge(
        self, differences: Differences, golden: Any, *, bound: Any, arithmetic: Arithmetic
    ) -> tuple[Any, Any, Any, Any]:
        """Judge the model's outputs; all steps have been taken.

        Args:
            differences: The samples.
            golden: Golden outputs, [rows, classes].
            bound: Most that rounding changes the distance from golden, for a softmax most that
                it changes what goes in.
            arithmetic: How the outputs were computed.

        Returns:
            Codes, ``CLOSE`` and ``NOT_FINITE`` among them, classes and distances, as
            :func:`outcomes.judge` returns them; and how much the bound matters, [rows].
        """
        outputs = differences.whole(id(self.graph.output))
        scores = outputs
        if self.scored is not None:
            scores = differences.whole(self.scored.inputs[0])
            if isinstance(self.scored.operation, keras.layers.Dense):
                scores = sums(self.scored.operation, scores)
        code, faulty_class, distance = judge(outputs, golden)
        if not self.steps:
            return code, faulty_class, distance, distance  # the outputs themselves were hit
        large = None if self._exact else arithmetic.large
        sensitivity = tf.ones_like(distance)
        bound = tf.cast(bound, distance.dtype)
        if self.scored is not None:
            sensitivity = tf.reduce_max(outputs * (1 - outputs), axis=1)
            bound = arithmetic.floor + bound * sensitivity
        close = is_close(scores, distance, bound=bound, large=large)
        finite = ~differences.doubtful & tf.reduce_all(tf.math.is_finite(scores), axis=1)
        code = tf.where(close, tf.constant(CLOSE, tf.uint8), code)
        code = tf.where(finite, code, tf.constant(NOT_FINITE, tf.uint8))
        return code, faulty_class, distance, sensitivity


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
        keys: Golden tensors of the block, among them those of :func:`golden_keys`.
        bound: Most that rounding changes the distance of an output from golden.
    """

    def __init__(
        self, path: Path, route: Route, keys: Sequence[GoldenKey], *, bound: float
    ) -> None:
        self.route = route
        self.bound = bound
        self.dropped = 0
        self.floor = (XLA if route.tail_jit else PLAIN).floor if path.scored else 0.0
        self._path = path
        self._keys = {key: index for index, key in enumerate(keys)}
        self._layouts: list[Layout] = []
        self._head: Any = None
        self._tail: Any = None

    def evaluate(
        self, block: GoldenBlock, golden: Any, sites: PackedSites
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
        """Inject sites and judge them.

        Args:
            block: The golden block that is loaded.
            golden: Its golden outputs.
            sites: What to inject.

        Returns:
            Codes uint8 [sites], ``CLOSE`` and ``NOT_FINITE`` among them; classes int32 [sites],
            -1 where a sample was dropped.
        """
        self._compile(block, golden)
        count = sites.shape[1]
        code = np.full(count, MASKED, np.uint8)
        faulty_class = np.full(count, -1, np.int32)
        for index, parts in self._judged(block, golden, sites, code):
            code[index], faulty_class[index] = (part.numpy()[: len(index)] for part in parts[:2])
        return code, faulty_class

    def effects(
        self, block: GoldenBlock, golden: Any, sites: PackedSites
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Inject sites and return distances from golden and how much rounding matters to them.

        Returns:
            Both [sites]; NaN where a sample was dropped.
        """
        self._compile(block, golden)
        distance, sensitivity = np.full((2, sites.shape[1]), np.nan)
        code = np.empty(sites.shape[1], np.uint8)
        for index, parts in self._judged(block, golden, sites, code):
            distance[index], sensitivity[index] = (part.numpy()[: len(index)] for part in parts[2:])
        return distance, sensitivity

    def _judged(
        self, block: GoldenBlock, golden: Any, sites: PackedSites, code: npt.NDArray[np.uint8]
    ) -> list[tuple[npt.NDArray[np.int64], tuple[Any, ...]]]:
        """Return batches of judged samples: places in ``sites``, what the tail returned."""
        bound = tf.constant(self.bound, tf.float64)
        return [
            (index, self._tail(block.tensors, golden, bound, state))
            for index, state in self._survivors(block, sites, code)
        ]

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
        sites = [
            tf.TensorSpec((3, size), tf.int32) for size in (route.head_batch, route.tail_batch)
        ]
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
        status = tf.where(differences.doubtful, tf.constant(NOT_FINITE, tf.uint8), status)
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
        arithmetic = XLA if route.tail_jit else PLAIN
        golden = tf.gather(golden, rows)
        return self._path.judge(differences, golden, bound=bound, arithmetic=arithmetic)

    def _differences(self, tensors: Any, rows: Any, *, jit: bool) -> Differences:
        return self._path.differences(rows, lambda key: tensors[self._keys[key]], xla=jit)


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
            if len(index) < state[0].shape[0]:
                state = [_taken(part, alive) for part in state]
            self._pieces.append((index, state))
            self._waiting += len(index)

    def full(self) -> Iterator[tuple[npt.NDArray[np.int64], list[Any]]]:
        """Yield the batches that are full."""
        while self._waiting >= self._size:
            yield self._take(self._size)

    def rest(self) -> Iterator[tuple[npt.NDArray[np.int64], list[Any]]]:
        """Yield what is left, filled up with copies of its first sample."""
        if self._waiting:
            index, state = self._take(self._waiting)
            places = np.concatenate([np.arange(len(index)), np.zeros(self._size - len(index), int)])
            yield index, [_taken(part, places) for part in state]

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
        return np.concatenate(indices), [_joined(parts) for parts in zip(*states, strict=True)]


def _taken(part: Any, places: npt.NDArray[np.int64]) -> Any:
    """Return some rows: on the host where they are small, else on the device."""
    if isinstance(part, np.ndarray):
        return part[places]
    if math.prod(part.shape[1:]) * part.dtype.size <= HOST_BYTES:
        return part.numpy()[places]
    return tf.gather(part, places)


def _joined(parts: Sequence[Any]) -> Any:
    return np.concatenate(parts) if isinstance(parts[0], np.ndarray) else tf.concat(parts, 0)


def golden_keys(path: Path, route: Route) -> list[GoldenKey]:
    """Return the golden tensors that a route reads."""
    needed: dict[GoldenKey, None] = {}

    def golden(key: GoldenKey) -> Any:
        needed[key] = None
        return probe(path.graph, key)

    def trace(sites: Any) -> Any:
        rows, elements, bit = tf.unstack(sites)
        differences = path.differences(rows, golden, xla=False)
        path.inject(differences, elements, bit)
        path.run(differences, 0, route.check)
        differences.same_as_golden()
        path.run(differences, route.check, len(path.steps))
        return differences.whole(id(path.graph.output))

    tf.function(trace, autograph=False).get_concrete_function(tf.TensorSpec((3, 8), tf.int32))
    return list(needed)


def probe(graph: Graph, key: GoldenKey) -> Any:
    """Return a tensor that stands for a golden one while nothing is computed."""
    tensor = tensor_of(graph, key)
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
