"""Functions cut from a graph: from the tensors at one place in it to those at another.

What is read of variables goes in as tensors, so that a fault in a weight is another tensor in its
place and no variable is ever written. A fault in what a layer gives out changes words of a tensor
on the way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from injecttf2 import bits
from injecttf2.graph.dataflow import Dataflow
from injecttf2.graph.importing import Importer, Values
from injecttf2.graph.tracing import Trace


@dataclass(frozen=True)
class Segment:
    """A stretch of a model between two places where it can be cut.

    Args:
        start: Operations of the path before it.
        stop: Operations of the path up to its end.
        inputs: Names of the tensors that are needed behind its start.
        outputs: Names of those needed behind its end.
        reads: Names of what it reads of variables.
    """

    start: int
    stop: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    reads: tuple[str, ...]


def segment_of(flow: Dataflow, start: int, stop: int, reads: Mapping[str, Any]) -> Segment:
    """Return the stretch between two places of a model.

    Args:
        flow: The model.
        start: Operations before it.
        stop: Operations up to its end.
        reads: What the model reads of variables, by name.
    """
    outputs = flow.frontiers[stop] if stop < len(flow.path) else flow.outputs
    needed = flow.closure(flow.path[start:stop])
    names = tuple(sorted(name for name in needed if name in reads))
    return Segment(start, stop, flow.frontiers[start], outputs, names)


class Cutter:
    """Cuts functions out of a graph.

    Args:
        flow: The operations that a fault goes through.
        importer: Copies operations of the graph.
    """

    def __init__(self, flow: Dataflow, importer: Importer) -> None:
        self._flow = flow
        self._importer = importer

    def cut(
        self,
        segment: Segment,
        specs: Mapping[str, tf.TensorSpec],
        constants: Mapping[str, Any],
        points: Sequence[str] = (),
    ) -> Any:
        """Return the compiled function of a segment.

        It takes the tensors at the start, what is read of variables, and for each point the words
        that change there: ``place`` int64 [words], into the flattened batch, and ``keep`` and
        ``flip`` [words], unsigned. It returns the tensors at the end, and for each point the words
        before, [words].

        Args:
            segment: The segment.
            specs: Shapes and dtypes of its inputs, outputs and reads by name.
            constants: What stands for tensors that are constants of the batch.
            points: Names of tensors in the segment, or at its start, whose words change.
        """
        flow = self._flow
        ordered = sorted(points, key=lambda name: flow.position[name])

        def body(given: Any, read: Any, words: Any) -> tuple[Any, Any]:
            values: Values = {name: tf.constant(value) for name, value in constants.items()}
            values.update(zip(segment.inputs, given, strict=True))
            values.update(zip(segment.reads, read, strict=True))
            before: dict[str, Any] = {}
            at = segment.start
            for name in ordered:
                at = self._copy(at, max(at, flow.position[name] + 1), values, name)
                change = words[points.index(name)]
                values[name], before[name] = change_words(values[name], *change)
            self._copy(at, segment.stop, values, *segment.outputs)
            outputs = tuple(_shaped(values[one], specs[one].shape) for one in segment.outputs)
            return outputs, tuple(before[name] for name in points)

        signature = (
            tuple(specs[name] for name in segment.inputs),
            tuple(specs[name] for name in segment.reads),
            tuple(word_specs(flow.tensor(name).dtype.name) for name in points),
        )
        return tf.function(body, autograph=False).get_concrete_function(*signature)

    def _copy(self, start: int, stop: int, values: Values, *ends: str) -> int:
        """Copy the operations of the path from one place to another; return where it ends."""
        flow = self._flow
        part = flow.path[start:stop]
        wanted = [
            tensor.name
            for operation in part
            for tensor in operation.outputs
            if flow.last.get(tensor.name, -1) >= stop or tensor.name in ends
        ]
        if part:
            self._importer.copy(part, values, wanted)
        return stop


def _shaped(tensor: Any, shape: Any) -> Any:
    """Return a tensor of which TensorFlow knows the shape, as far as it is given."""
    return tensor if shape.rank is None else tf.ensure_shape(tensor, shape)


def read_value(trace: Trace, name: str) -> Any:
    """Return what is read of a variable, a tensor on the device.

    Args:
        trace: The model.
        name: Name of the tensor that holds it in the graph.
    """
    dtype = trace.graph.get_tensor_by_name(name).dtype
    return tf.raw_ops.ReadVariableOp(resource=trace.reads[name], dtype=dtype)


def word_specs(dtype: str) -> tuple[tf.TensorSpec, ...]:
    """Return how functions take the words that change in a tensor of a dtype."""
    word = bits.layout(dtype).word.name
    return (
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((None,), word),
        tf.TensorSpec((None,), word),
    )


def change_words(tensor: Any, place: Any, keep: Any, flip: Any) -> tuple[Any, Any]:
    """Return a tensor in which words have changed, and the words before, [words].

    Args:
        tensor: Any shape, of a dtype in ``bits.DTYPES``.
        place: int64 [words], into the flattened tensor, each place once.
        keep: Unsigned [words], the bits that stay.
        flip: The same, the bits that are then inverted.
    """
    flat = tf.reshape(tf.bitcast(tensor, keep.dtype), [-1])
    before = tf.gather(flat, place)
    after = tf.bitwise.bitwise_xor(tf.bitwise.bitwise_and(before, keep), flip)
    changed = tf.tensor_scatter_nd_update(flat, place[:, tf.newaxis], after)
    return tf.bitcast(tf.reshape(changed, tf.shape(tensor)), tensor.dtype), before
