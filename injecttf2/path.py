"""The steps behind a cut, as they are traced: on windows, on whole tensors, and judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from injecttf2 import bits
from injecttf2.graph import Graph, Step, Values
from injecttf2.outcomes import is_close, judge
from injecttf2.packed import changed
from injecttf2.routes import Route
from injecttf2.rules import EXACT, RULES, output_window
from injecttf2.rules.elementwise import is_elementwise
from injecttf2.rules.linear import SUMMING, largest_gain, sums
from injecttf2.windows import Differences, GoldenKey, Window, tensor_of, unravelled

NOT_FINITE = 253
"""Code of a sample in which something was not finite: only level ``dense`` may judge it."""

CLOSE = 254
"""Code of a sample whose outcome rounding could decide."""

SOFTMAX_LEAD = 2.0**-18
"""Least lead of an input of a softmax that shows in what it gives out."""

NEGLIGIBLE = 2.0**-24
"""Probability up to which rounding of a class's score does not show in a softmax."""

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
        sparse: Steps that are taken on windows; None takes all.

    Attributes:
        target: Key of the tensor that is wrong.
        frontier: Keys of the golden tensors that are held whatever else is needed.
        read: Keys of those that are read whole when a batch is injected into.
    """

    read: tuple[int, ...] = ()

    def __init__(self, graph: Graph, layer: str, sparse: int | None = None) -> None:
        self.graph = graph
        cut = graph.cut(layer)
        self.steps = cut.suffix
        self.target = cut.frontier[0]
        self.frontier = cut.frontier
        self._sparse = len(self.steps) if sparse is None else sparse
        self.scored = scored_step(graph, self.steps)
        self._exact = all(self._is_exact(step) for step in self.steps)
        self._decisive: tuple[int, ...] = (id(graph.output),)
        if self.scored is not None:
            is_dense = isinstance(self.scored.operation, keras.layers.Dense)
            self._decisive = () if is_dense else self.scored.inputs
        self._last_use = {self.target: -1, id(graph.output): len(self.steps)}
        for index, step in enumerate(self.steps):
            used = len(self.steps) if step is self.scored else index
            for key in step.inputs:
                self._last_use[key] = max(used, self._last_use.get(key, 0))

    def live(self, count: int) -> set[int]:
        """Return the tensors that differ after some steps and are used by later ones."""
        made = {self.target, *(key for step in self.steps[:count] for key in step.outputs)}
        used = {id(self.graph.output), *(key for s in self.steps[count:] for key in s.inputs)}
        return made & used

    def differences(
        self, rows: Any, golden: Callable[[GoldenKey], Any], *, xla: bool
    ) -> Differences:
        """Return a batch that is golden everywhere."""
        return Differences(rows, golden, self.graph.shape, xla=xla)

    def inject(self, differences: Differences, shared: Sequence[Any], wrong: Sequence[Any]) -> None:
        """Make the cut layer's output wrong.

        Here the word of one element of each sample changes.

        Args:
            differences: A batch that is golden everywhere.
            shared: What is wrong in all samples, of :meth:`shared_specs`.
            wrong: What is wrong in each, of :meth:`single_specs` without the rows.
        """
        del shared  # each sample has a word of its own
        elements, keep, flip = wrong
        shape = self.graph.shape(self.target)
        offsets = unravelled(elements, shape)
        original = differences.golden(self.target, offsets, (1,) * len(shape))
        each = (-1, *[1] * len(shape))
        corrupted = changed(original, tf.reshape(keep, each), tf.reshape(flip, each))
        differences.doubt(corrupted)
        differences.windows[self.target] = Window(offsets, corrupted, original)

    def go_on(self, differences: Differences, shared: Sequence[Any]) -> None:
        """Take up a batch again that was injected into in another function."""

    def single_specs(self, size: int) -> list[tf.TensorSpec]:
        """Return shapes and dtypes of the rows, and of what is wrong in each, all [size, ...].

        Here that are elements, keep and flip.
        """
        word = tf.TensorSpec((size,), bits.layout(self.graph.dtypes[self.target]).word)
        index = tf.TensorSpec((size,), tf.int32)
        return [index, index, word, word]

    def shared_specs(self) -> tuple[tf.TensorSpec, ...]:
        """Return shapes and dtypes of what is wrong in all samples."""
        return ()

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

        Scores show it themselves when they are judged.
        """
        if type(step.operation) in SUMMING:
            if not set(step.outputs) <= set(self._decisive):
                gain = largest_gain(step.operation)
                differences.doubt_sums(values[step.inputs[0]], gain=gain)
        else:
            for key in step.inputs:
                differences.doubt(values[key], gain=HEADROOM)

    def _is_exact(self, step: Step) -> bool:
        """Return whether a step sums nothing, up to what the decision is taken by."""
        if step is self.scored and not isinstance(step.operation, keras.layers.Dense):
            return True
        activation = getattr(step.operation, "activation", None)
        return type(step.operation) in EXACT and is_elementwise(activation)

    def judge(
        self, differences: Differences, golden: Any, *, bound: Any, arithmetic: Arithmetic
    ) -> tuple[Any, Any, Any, Any, Any]:
        """Judge the model's outputs; all steps have been taken.

        Args:
            differences: The samples.
            golden: Golden outputs, [rows, classes].
            bound: Most that rounding changes the distance from golden; where a softmax is last,
                most that it changes what goes in, relative to the largest magnitude there.
            arithmetic: How the outputs were computed.

        Returns:
            Codes, ``CLOSE`` and ``NOT_FINITE`` among them, classes and distances, as
            :func:`outcomes.judge` returns them; how much the bound matters to a distance, and
            what a softmax's own rounding adds, both [rows].
        """
        outputs = differences.whole(id(self.graph.output))
        scores = outputs
        if self.scored is not None:
            scores = differences.whole(self.scored.inputs[0])
            if isinstance(self.scored.operation, keras.layers.Dense):
                scores = sums(self.scored.operation, scores)
        code, faulty_class, distance = judge(outputs, golden)
        if not self.steps:  # the outputs themselves were hit
            return code, faulty_class, distance, distance, tf.zeros_like(distance)
        large = None if self._exact else arithmetic.large
        sensitivity, floor = tf.ones_like(distance), tf.zeros_like(distance)
        if self.scored is not None:
            largest = tf.reduce_max(tf.abs(golden), axis=1)
            counting = tf.where(outputs > NEGLIGIBLE, tf.abs(scores), 0.0)
            magnitude = tf.reduce_max(counting, axis=1)
            sensitivity = tf.reduce_max(outputs * (1 - outputs), axis=1) * magnitude / largest
            floor = arithmetic.floor / largest
        bound = floor + tf.cast(bound, distance.dtype) * sensitivity
        lead = 0.0 if self.scored is None else SOFTMAX_LEAD
        close = is_close(scores, distance, bound=bound, large=large, lead=lead)
        finite = ~differences.doubtful & tf.reduce_all(tf.math.is_finite(scores), axis=1)
        code = tf.where(close, tf.constant(CLOSE, tf.uint8), code)
        code = tf.where(finite, code, tf.constant(NOT_FINITE, tf.uint8))
        return code, faulty_class, distance, sensitivity, floor


def scored_step(graph: Graph, steps: Sequence[Step]) -> Step | None:
    """Return the last step if it is a softmax, or a dense layer that ends with one."""
    if not steps or id(graph.output) not in steps[-1].outputs:
        return None
    operation = steps[-1].operation
    activation = getattr(operation, "activation", None)
    layers = keras.layers
    is_softmax = type(operation) in (layers.Softmax, SOFTMAX_OPERATION) or (
        type(operation) in (layers.Activation, layers.Dense)
        and activation is keras.activations.softmax
    )
    return steps[-1] if is_softmax else None


def is_smooth(step: Step) -> bool:
    """Return whether a step makes a small change of what comes out of one of what goes in.

    Known of layers that have a rule, and of some others, with activations that are known.
    """
    operation = step.operation
    known = type(operation) in RULES or type(operation) in SMOOTH
    known = known and not getattr(operation, "quantization_mode", None)  # it rounds what goes in
    return known and is_elementwise(getattr(operation, "activation", None))


SMOOTH = {
    getattr(keras.layers, name)
    for name in (
        *("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
        *("SeparableConv1D", "SeparableConv2D", "EinsumDense", "PReLU", "Rescaling"),
        *("LayerNormalization", "GroupNormalization", "UnitNormalization", "RMSNormalization"),
        *("Normalization", "GlobalAveragePooling1D", "GlobalMaxPooling1D", "GlobalMaxPooling2D"),
        *("GlobalMaxPooling3D", "Permute", "RepeatVector", "Cropping1D", "Cropping2D"),
        *("Cropping3D", "UpSampling1D", "UpSampling2D", "UpSampling3D", "Dot"),
    )
}
"""Layers without a rule that do not jump."""

SOFTMAX_OPERATION = type(
    keras.ops.softmax(keras.KerasTensor((None, 2)))._keras_history[0]  # the class is not public
)


def golden_keys(path: Path, route: Route) -> list[GoldenKey]:
    """Return the golden tensors that a route reads."""
    needed: dict[GoldenKey, None] = {}

    def golden(key: GoldenKey) -> Any:
        needed[key] = None
        return probe(path.graph, key)

    def trace(shared: Any, batch: Any) -> Any:
        rows, *wrong = batch
        differences = path.differences(rows, golden, xla=False)
        path.inject(differences, shared, wrong)
        path.run(differences, 0, route.check)
        differences.same_as_golden()
        path.run(differences, route.check, len(path.steps))
        return differences.whole(id(path.graph.output))

    specs = path.shared_specs(), path.single_specs(8)
    tf.function(trace, autograph=False).get_concrete_function(*specs)
    return list(needed)


def probe(graph: Graph, key: GoldenKey) -> Any:
    """Return a tensor that stands for a golden one while nothing is computed."""
    tensor = tensor_of(graph, key)
    return tf.zeros((8, *graph.shape(tensor)), graph.dtypes[tensor])
