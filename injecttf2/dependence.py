"""Whether what a model gives out for a sample is its own, not chance's nor its neighbours'.

An injected sample is evaluated beside samples of other trials, at any place of a batch and at any
time. A model that heeds those would make outcomes of its company. So the steps of a model are tried
one by one on a few samples without faults: a second time, and in other company, which is a batch of
another size in another order, with neighbours of huge values, or copies of one sample where numbers
are whole or a check of the model's own does not let huge ones pass. Each step takes the very same
numbers for a sample in both cases: what differs is its own doing, not what rounding came to on the
way.
"""

from __future__ import annotations

import logging
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from injecttf2 import bits
from injecttf2.batches import ALIKE, batch_size
from injecttf2.datasets import Dataset
from injecttf2.errors import ModelError
from injecttf2.graph import Graph, Step, Values
from injecttf2.hooks import Call, watched
from injecttf2.steps import is_keras

TOLERANCE = 2.0**-16
"""Most that a step may differ, relative to the largest value that it gives out.

It is that of ``masked``: what differs by more may make an outcome. Rounding comes nowhere near.
Where the place in a batch mattered to it, the layers of all families of models that the tests have
differed by at most 2^-22 in single precision, and a whole EfficientNet by 2^-20; in batches of 24
nothing differed by a bit.
"""

UNITS = 4
"""The same in units in the last place, for numbers of less than single precision."""

WILD = 1000.0
"""What the values of neighbours are multiplied by, and moved away from 0 by."""

logger = logging.getLogger("injecttf2")

AGAIN = "the second time, for the very same samples"
BESIDE_OTHERS = "beside other samples or another number of them, or at another place in the batch"

HINTS = {
    AGAIN: "let it draw no random numbers and keep no state between calls when training is False; "
    "take the mean in place of a sample of a distribution, stateful=False in a recurrent layer",
    BESIDE_OTHERS: "let it compute each sample by itself when training is False: take no mean, "
    "maximum, order or normalisation over the batch, nor its size, but statistics of the training "
    "data",
}


def check(graph: Graph, dataset: Dataset) -> None:
    """See that what a model gives out for a sample depends on that sample alone.

    Args:
        graph: The model.
        dataset: The data, of which up to ``ALIKE`` samples are taken, or what the model insists on.

    Raises:
        ModelError: It depends on chance, on what ran before or on other samples; the message names
            the layer where that begins.
    """
    size = graph.batch or max(2, min(ALIKE, batch_size(graph, graph.steps)))
    level = tf.get_logger().level
    tf.get_logger().setLevel("ERROR")  # Keras compiles some convolutions anew in each call
    try:
        _Check(graph, size).run(dataset)
    finally:
        tf.get_logger().setLevel(level)


class _Check:
    """Runs a model step by step, on samples as they are and on the same in other company.

    Args:
        graph: The model.
        size: Samples in a batch.
    """

    def __init__(self, graph: Graph, size: int) -> None:
        self._graph = graph
        self._size = size
        self._state = keras.StatelessScope()
        self._values: Values = {}
        self._others: Values = {}  # neighbours, and then the own samples in the opposite order
        half = size // 2
        self._own_count = size - half
        # A batch of another size, if the model takes one; neighbours there are in any case.
        self._neighbours = half if graph.batch else half // 2 or 2
        self._astray: dict[int, Step] = {}  # where tensors without an axis of samples mix them

    def run(self, dataset: Dataset) -> None:
        """Try all steps that lead to the output that is judged."""
        chosen = np.linspace(0, len(dataset) - 1, self._size).astype(np.int64)
        inputs = [tf.constant(array[chosen]) for array in dataset.input_arrays]
        self._values = self._graph.feed(inputs)
        self._others = {key: self._moved(one, wild=True) for key, one in self._values.items()}
        steps = self._graph.cutter.ancestors([id(self._graph.output)])
        last = {key: step for step in steps for key in step.inputs}
        for step in steps:
            if step.is_input:
                continue
            try:
                made = self._graph.run([step], self._values, scope=self._state)
            except Exception as error:  # noqa: BLE001 - the golden run fails too, or it is told here
                logger.warning(
                    "whether a sample's output is its own was not tried from the layer %r on, "
                    "which raised %s when it ran by itself",
                    step.layer,
                    type(error).__name__,
                )
                return
            self._try_again(step, made)
            self._try_in_company(step, made)
            self._values = made
            for key in step.inputs:
                if last[key] is step:
                    self._values.pop(key, None)
                    self._others.pop(key, None)

    def _try_again(self, step: Step, made: Values) -> None:
        """Run a step once more, from the state that it left behind."""
        state = keras.StatelessScope()
        state.state_mapping.update(self._state.state_mapping)
        again = self._graph.run([step], self._values, scope=state)
        for key in made.keys() - self._values.keys():
            if _differ(made[key], again[key], TOLERANCE):
                self._refuse(step, AGAIN)

    def _try_in_company(self, step: Step, made: Values) -> None:
        """Run a step on the samples in other company, and have them as they were for the next."""
        begin = next((self._astray[key] for key in step.inputs if key in self._astray), step)
        others = self._run_others(step, begin)
        for key in made.keys() - self._values.keys():
            tolerance = max(TOLERANCE, UNITS * _precision(step, made[key]))
            if not self._is_per_sample(key, made[key]):
                if _differ(made[key], others[key], tolerance):
                    self._astray[key] = begin
                continue
            if _differ(self._own(self._moved(made[key])), self._own(others[key]), tolerance):
                self._refuse(begin, BESIDE_OTHERS)
            others[key] = self._moved(made[key], wild=True)
        self._others = others

    def _run_others(self, step: Step, begin: Step) -> Values:
        """Run a step beside wild neighbours, or tame ones where these make it raise."""
        try:
            return self._graph.run([step], self._others)
        except Exception:  # noqa: BLE001 - whatever a check of the model's own raises
            for key in step.inputs:
                if self._is_per_sample(key, self._values[key]):
                    self._others[key] = self._moved(self._values[key])
        try:
            return self._graph.run([step], self._others)
        except Exception as error:
            if begin is not step:  # what mixes samples made it raise
                self._refuse(begin, BESIDE_OTHERS)
            raise ModelError(
                "what the model gives out for a sample is not its own: the layer "
                f"{step.layer!r} raises {type(error).__name__} {BESIDE_OTHERS}",
                hint=HINTS[BESIDE_OTHERS],
            ) from error

    def _is_per_sample(self, key: int, tensor: Any) -> bool:
        shape = tuple(getattr(tensor, "shape", ()))
        return shape[:1] == (self._size,) and key not in self._graph.not_per_sample

    def _moved(self, tensor: Any, *, wild: bool = False) -> Any:
        """Return a batch of neighbours and then the later half of the samples, in opposite order.

        Neighbours are wild where they are asked to be and have a floating-point dtype, else all of
        them are one and the same sample: a mean over the batch is another then.
        """
        moved, count = tf.reverse(tensor, [0]), self._neighbours
        if wild and tensor.dtype.is_floating:
            signs = tf.constant([(-1.0) ** row for row in range(count)], tensor.dtype)
            signs = tf.reshape(signs, (count, *[1] * (tensor.shape.rank - 1)))
            neighbours = (moved[:count] + 1) * WILD * signs
        else:
            neighbours = tf.gather(tensor, np.zeros(count, np.int32))
        return tf.concat([neighbours, self._own(moved)], axis=0)

    def _own(self, moved: Any) -> Any:
        """Return what is not neighbours."""
        return moved[-self._own_count :]

    def _refuse(self, step: Step, when: str) -> None:
        name, kind = self._begin(step, when)
        inside = f", the first inside {step.layer!r} to do so" if name != step.layer else ""
        raise ModelError(
            "what the model gives out for a sample is not its own: the layer "
            f"{name!r} ({kind.__name__}) gives out other values {when}{inside}",
            hint=HINTS[when],
        )

    def _begin(self, step: Step, when: str) -> tuple[str, type]:
        """Return address and class of the layer in a step where it begins, or the step's own."""
        found = step.layer, type(step.operation)
        kept = all(key in self._values for key in step.inputs)  # not of a step long past
        if is_keras(found[1]) or not kept:
            return found
        others = self._others if when == BESIDE_OTHERS else self._values
        runs = self._calls(step, self._values), self._calls(step, others)
        for (call, one), (_, other) in zip(*runs, strict=False):
            if when == BESIDE_OTHERS and tuple(one.shape[:1]) == (self._size,):
                one, other = self._own(self._moved(one)), self._own(other)
            if _differ(one, other, max(TOLERANCE, UNITS * _precision(step, one))):
                inside = [p for p in self._graph.places if p.step is step and p.inner is not None]
                names = [p.layer for p in inside if p.inner is not None and p.inner.is_of(call)]
                return next(iter(names), found[0]), type(call.layer)
        return found

    def _calls(self, step: Step, values: Values) -> list[tuple[Call, Any]]:
        """Return what the layers inside a step give out, tensor by tensor."""
        found: list[tuple[Call, Any]] = []

        def visit(call: Call, outputs: Any) -> Any:
            tensors = keras.tree.flatten(outputs)
            found.extend((call, one) for one in tensors if isinstance(one, tf.Tensor))
            return outputs

        with watched(step.operation, visit):
            self._graph.run([step], values, scope=self._state)
        return found


def _precision(step: Step, tensor: Any) -> float:
    """Return the unit in the last place of 1 in the least precise numbers of a step."""
    names = {tensor.dtype.name, getattr(step.operation, "compute_dtype", "")}
    widths = [bits.LAYOUTS[name].mantissa for name in names & bits.LAYOUTS.keys()]
    return max((2.0**-width for width in widths), default=0.0)


def _differ(one: Any, other: Any, tolerance: float) -> bool:
    """Return whether values differ by more than a share of the largest finite magnitude."""
    if not isinstance(one, tf.Tensor) or one.dtype == tf.string:  # sparse, ragged: not injected
        return False
    if one.shape != other.shape:
        return True
    values, others = (tensor.numpy().astype(np.float64) for tensor in (one, other))
    with np.errstate(invalid="ignore"):
        same = (values == others) | (np.isnan(values) & np.isnan(others))
        difference = np.where(same, 0, np.abs(values - others))
    largest = np.abs(values[np.isfinite(values)]).max(initial=0.0)
    return not (difference <= tolerance * largest).all()
