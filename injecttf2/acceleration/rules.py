"""Rules of level ``difference``: what each kind of operation makes of a box.

A rule tells of an operation which box of what it gives out may differ from golden, which boxes of
what goes in a box of that depends on, and computes it from those. It is registered for types of
TensorFlow's operations, so that it covers every layer that is made of them. An operation without a
rule ends the part of a model that is taken on boxes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from injecttf2.acceleration.boxes import (
    Box,
    NoRegion,
    Span,
    extents,
    inside,
    on_axis,
    whole,
)

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Node:
    """An operation as rules see it.

    Args:
        operation: The operation.
        shape: Shape of one sample of what it gives out.
        moving: Of each input that depends on the data the shape of one sample, by its number.
        others: The inputs that do not, by their numbers.
    """

    operation: Any
    shape: Shape
    moving: Mapping[int, Shape]
    others: Mapping[int, Any]

    @property
    def kind(self) -> str:
        """The type of the operation."""
        return str(self.operation.type)

    def attribute(self, name: str) -> Any:
        """Return an attribute of the operation."""
        return self.operation.get_attr(name)

    def fixed(self, number: int) -> Any:
        """Return an input that does not depend on the data.

        Raises:
            NoRegion: It does.
        """
        if number in self.moving:
            raise NoRegion(f"{self.kind} of tensors that both depend on the data")
        return self.others[number]

    def again(self, inputs: Sequence[Any]) -> Any:
        """Return what the operation makes of other inputs, all of them in order."""
        return again(self.operation, inputs)

    def known(self, number: int) -> Any:
        """Return such an input as an array that is known while tracing.

        Raises:
            NoRegion: It is not.
        """
        value = tf.get_static_value(self.fixed(number))
        if value is None:
            raise NoRegion(f"{self.kind} by numbers that are not known")
        return value


def again(operation: Any, inputs: Sequence[Any]) -> Any:
    """Return what an operation of a graph makes of other inputs, all of them in order."""
    definition = operation.op_def
    taken = {one.type_attr for one in definition.input_arg} | {
        one.number_attr for one in definition.input_arg
    }
    attributes = {
        one.name: operation.get_attr(one.name)
        for one in definition.attr
        if one.name not in taken and one.type != "type"
    }
    names = [one.name for one in definition.input_arg]
    function = getattr(tf.raw_ops, operation.type)
    return function(**dict(zip(names, inputs, strict=True)), **attributes)


class Rule:
    """What an operation makes of a box; by default of operations on each element by itself."""

    def gain(self, node: Node) -> Any:
        """Return how much larger sums may become than what goes in; None where nothing is summed.

        Where it sums, rounding depends on how it does that.
        """
        del node

    def changed(self, node: Node, boxes: Mapping[int, Box]) -> Box:
        """Return the box of what comes out that may differ.

        Args:
            node: The operation.
            boxes: Boxes of the inputs that may differ, by their numbers; at least one.

        Raises:
            NoRegion: More than a box may differ.
        """
        if any(shape != node.shape for shape in node.moving.values()):
            raise NoRegion("a tensor is broadcast against another")
        return largest(boxes)

    def needed(self, node: Node, box: Box) -> dict[int, Box]:
        """Return the boxes of moving inputs that a box of what comes out depends on."""
        return dict.fromkeys(node.moving, box)

    def compute(self, node: Node, box: Box, given: Mapping[int, Any]) -> Any:
        """Return a box of what comes out, [rows, *extents], from the boxes that are needed."""
        count = len(node.operation.inputs)
        inputs = [
            given[number] if number in given else _of_box(node.others[number], box, node.shape)
            for number in range(count)
        ]
        return node.again(inputs)


def largest(boxes: Mapping[int, Box]) -> Box:
    """Return on each axis the largest span of some boxes; whether it holds the others is seen."""
    spans = zip(*boxes.values(), strict=True)
    return tuple(max(some, key=lambda span: span.extent) for some in spans)


RULES: dict[str, Rule] = {}
"""Rules by the type of the operation."""


def rule(*types: str) -> Callable[[type[Rule]], type[Rule]]:
    """Register a rule for operations of some types."""

    def register(kind: type[Rule]) -> type[Rule]:
        RULES.update(dict.fromkeys(types, kind()))
        return kind

    return register


rule(
    *("Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Sigmoid", "Tanh", "Softplus", "Softsign"),
    *("Exp", "Log", "Log1p", "Neg", "Abs", "Square", "Sqrt", "Rsqrt", "Reciprocal", "Erf"),
    *("Identity", "StopGradient", "Add", "AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum"),
    "SquaredDifference",
)(Rule)


def _of_box(tensor: Any, box: Box, shape: Shape) -> Any:
    """Return the part of a constant that is broadcast against a box of a tensor.

    Args:
        tensor: [...], as it is broadcast against [samples, *shape].
        box: The box.
        shape: Shape of one sample of the tensor.

    Raises:
        NoRegion: Its elements belong to places that differ between samples.
    """
    sizes = tuple(tensor.shape)[-len(shape) :] if tensor.shape.rank else ()
    if tensor.shape.rank is None or (tensor.shape.rank > len(shape) and tensor.shape[0] != 1):
        raise NoRegion("a constant that has an axis of samples")
    own = box[len(box) - len(sizes) :]
    moving = [axis for axis, size in enumerate(sizes) if size != 1 and own[axis].base is not None]
    if not moving:
        first = [0 if size == 1 else span.shift for size, span in zip(sizes, own, strict=True)]
        taken = [1 if size == 1 else span.extent for size, span in zip(sizes, own, strict=True)]
        part = tf.reshape(tensor, sizes)
        return part if tuple(taken) == sizes else tf.slice(part, first, taken)
    if math.prod(sizes) != sizes[moving[0]]:
        raise NoRegion("a constant of several axes")
    places = own[moving[0]].positions
    values = tf.gather(tf.reshape(tensor, (-1,)), places)
    return on_axis(values, len(shape) - len(sizes) + moving[0], len(shape))


@rule("IdentityN")
class Passing(Rule):
    """Gives out what goes in; of several, the first is followed. A swish ends so."""

    def changed(self, node: Node, boxes: Mapping[int, Box]) -> Box:
        """Return the box of the first."""
        if 0 not in boxes:
            raise NoRegion("another than the first may differ")
        return super().changed(node, {0: boxes[0]})

    def needed(self, node: Node, box: Box) -> dict[int, Box]:
        """Return the box of the first."""
        del node
        return {0: box}

    def compute(self, node: Node, box: Box, given: Mapping[int, Any]) -> Any:
        """Return what goes in."""
        del node, box
        return given[0]


@rule("BiasAdd")
class Bias(Rule):
    """Adds a number for each channel."""

    def compute(self, node: Node, box: Box, given: Mapping[int, Any]) -> Any:
        """Return a box of the sum."""
        if node.attribute("data_format") not in (b"NHWC", "NHWC"):
            raise NoRegion("channels first")
        return given[0] + _of_box(node.fixed(1), box, node.shape)


@rule("FusedBatchNormV3")
class BatchNormalization(Rule):
    """Scales and shifts each channel."""

    def changed(self, node: Node, boxes: Mapping[int, Box]) -> Box:
        """Return the same box."""
        if node.attribute("is_training") or node.attribute("data_format") != b"NHWC":
            raise NoRegion("normalised by the batch, or channels first")
        return super().changed(node, boxes)

    def compute(self, node: Node, box: Box, given: Mapping[int, Any]) -> Any:
        """Return a box, by the formula of the operation."""
        scale, offset, mean, variance = (node.fixed(number) for number in range(1, 5))
        factor = tf.math.rsqrt(variance + node.attribute("epsilon")) * scale
        parts = (_of_box(one, box, node.shape) for one in (factor, mean, offset))
        factor, mean, offset = parts
        return (given[0] - mean) * factor + offset


@dataclass(frozen=True)
class _Sliding:
    """How an operation slides over an axis: inputs that an output spans, steps, padding."""

    size: int
    stride: int
    before: int
    outputs: int


class Sliding(Rule, ABC):
    """An operation that slides over the axes between samples and channels."""

    outside = 0.0

    def changed(self, node: Node, boxes: Mapping[int, Box]) -> Box:
        """Return the outputs that a box of the input reaches.

        Output j spans the inputs from ``j * stride - before`` on.
        """
        (box,) = boxes.values()
        spans = []
        for span, axis in zip(box[:-1], self._axes(node), strict=True):
            extent = min(axis.outputs, (span.extent + axis.size - 2) // axis.stride + 1)
            if extent == axis.outputs:
                spans.append(Span(extent))
                continue
            first = (span.begin + axis.before - axis.size + axis.stride) // axis.stride
            last = axis.outputs - extent
            if isinstance(first, int):
                spans.append(Span(extent, min(max(first, 0), last)))
            else:
                spans.append(Span(extent, 0, tf.clip_by_value(first, 0, last)))
        return (*spans, self.channels(node, box[-1]))

    def needed(self, node: Node, box: Box) -> dict[int, Box]:
        """Return the inputs that a box of outputs depends on; they may lie outside."""
        spans = [
            span.moved(-axis.before, (span.extent - 1) * axis.stride + axis.size, axis.stride)
            for span, axis in zip(box[:-1], self._axes(node), strict=True)
        ]
        return {0: (*spans, self.channels_needed(node, box[-1]))}

    def compute(self, node: Node, box: Box, given: Mapping[int, Any]) -> Any:
        """Return a box of outputs; what lies outside of the input counts as padding."""
        patch = given[0]
        within = inside(self.needed(node, box)[0], node.moving[0])
        if within is not None:
            outside = tf.constant(self.outside, patch.dtype)
            patch = tf.where(within, patch, outside)
        return self.slide(node, box, patch)

    @abstractmethod
    def slide(self, node: Node, box: Box, patch: Any) -> Any:
        """Return what the operation makes of a patch without any padding."""

    def channels(self, node: Node, span: Span) -> Span:
        """Return the channels that may differ."""
        del node
        return span

    def channels_needed(self, node: Node, span: Span) -> Span:
        """Return the channels that are needed."""
        del node
        return span

    @abstractmethod
    def sizes(self, node: Node) -> tuple[Sequence[int], Sequence[int]]:
        """Return the sizes that outputs span, and how far apart what they span is."""

    def _axes(self, node: Node) -> list[_Sliding]:
        if len(node.moving) != 1 or node.attribute("data_format") != b"NHWC":
            raise NoRegion("channels first, or a kernel that depends on the data")
        sizes, dilations = self.sizes(node)
        strides = node.attribute("strides")[1:-1]
        padding = node.attribute("padding").decode()
        explicit = node.attribute("explicit_paddings") if padding == "EXPLICIT" else ()
        found = []
        axes = zip(node.moving[0], node.shape, sizes, dilations, strides, strict=False)
        for number, (inputs, outputs, size, dilation, stride) in enumerate(axes):
            span = (size - 1) * dilation + 1
            before = 0
            if padding == "SAME":
                before = max((outputs - 1) * stride + span - inputs, 0) // 2
            elif padding == "EXPLICIT":
                before = explicit[2 * (number + 1)]
            found.append(_Sliding(span, stride, before, outputs))
        return found


@rule("Conv2D")
class Convolution(Sliding):
    """Sums products with a kernel, over all channels."""

    def gain(self, node: Node) -> Any:
        """Return the largest sum of magnitudes over what goes into one output."""
        return _largest_sum(node.fixed(1), [0, 1, 2])

    def sizes(self, node: Node) -> tuple[Sequence[int], Sequence[int]]:
        """Return those of the kernel."""
        return node.fixed(1).shape[:2], node.attribute("dilations")[1:-1]

    def channels(self, node: Node, span: Span) -> Span:
        """All of them."""
        del span
        return Span(node.shape[-1])

    def channels_needed(self, node: Node, span: Span) -> Span:
        """All of them."""
        del span
        return Span(node.moving[0][-1])

    def slide(self, node: Node, box: Box, patch: Any) -> Any:
        """Return the convolution, of some channels where those are the same in all samples."""
        channels = box[-1]
        if channels.base is not None:
            raise NoRegion("channels that differ between samples")
        kernel = node.fixed(1)[..., channels.shift : channels.shift + channels.extent]
        return tf.raw_ops.Conv2D(
            input=patch,
            filter=kernel,
            strides=node.attribute("strides"),
            padding="VALID",
            dilations=node.attribute("dilations"),
        )


@rule("DepthwiseConv2dNative")
class DepthwiseConvolution(Convolution):
    """Sums products with a kernel, channel by channel."""

    def gain(self, node: Node) -> Any:
        """Return the largest sum of magnitudes over what goes into one output."""
        return _largest_sum(node.fixed(1), [0, 1])

    def slide(self, node: Node, box: Box, patch: Any) -> Any:
        """Return the convolution."""
        if not box[-1].is_whole(node.shape[-1]):
            raise NoRegion("some of the channels")
        return tf.raw_ops.DepthwiseConv2dNative(
            input=patch,
            filter=node.fixed(1),
            strides=node.attribute("strides"),
            padding="VALID",
            dilations=node.attribute("dilations"),
        )


@rule("MaxPool")
class MaximumPooling(Sliding):
    """Takes the largest of a window, channel by channel."""

    outside = -math.inf

    def sizes(self, node: Node) -> tuple[Sequence[int], Sequence[int]]:
        """Return those of the window."""
        sizes = node.attribute("ksize")[1:-1]
        return sizes, [1] * len(sizes)

    def slide(self, node: Node, box: Box, patch: Any) -> Any:
        """Return the largest of each window."""
        if extents(box)[:-1] == (1, 1):
            return tf.reduce_max(patch, [1, 2], keepdims=True)
        return self._pooled(node, tf.raw_ops.MaxPool, input=patch)

    @staticmethod
    def _pooled(node: Node, pool: Callable[..., Any], **patch: Any) -> Any:
        sizes, strides = node.attribute("ksize"), node.attribute("strides")
        return pool(**patch, ksize=sizes, strides=strides, padding="VALID")


@rule("AvgPool")
class AveragePooling(MaximumPooling):
    """Takes the mean of a window, channel by channel."""

    def gain(self, node: Node) -> Any:
        """Return the size of the window, which is summed first."""
        return float(math.prod(node.attribute("ksize")))

    def slide(self, node: Node, box: Box, patch: Any) -> Any:
        """Return the mean of each window."""
        del box
        if node.attribute("padding") != b"VALID":
            raise NoRegion("padding is left out of the mean")
        return self._pooled(node, tf.raw_ops.AvgPool, value=patch)


@rule("Mean", "Sum", "Max")
class Reduction(Rule):
    """Reduces the axes between samples and channels, channel by channel."""

    def gain(self, node: Node) -> Any:
        """Return how many are summed."""
        return None if node.kind == "Max" else float(math.prod(node.moving[0][:-1]))

    def changed(self, node: Node, boxes: Mapping[int, Box]) -> Box:
        """Return the channels that may differ."""
        (box,) = boxes.values()
        inner = len(node.moving[0]) - 1
        axes = {int(axis) % (inner + 2) for axis in np.ravel(node.known(1))}
        if axes != {*range(1, inner + 1)}:
            raise NoRegion("other axes than those between samples and channels are reduced")
        kept = whole(node.shape[:-1])
        return (*kept, box[-1])

    def needed(self, node: Node, box: Box) -> dict[int, Box]:
        """Return all of these channels."""
        return {0: (*whole(node.moving[0][:-1]), box[-1])}

    def compute(self, node: Node, box: Box, given: Mapping[int, Any]) -> Any:
        """Return the channels, reduced."""
        del box
        reduce = {"Mean": tf.reduce_mean, "Sum": tf.reduce_sum, "Max": tf.reduce_max}[node.kind]
        axes = list(range(1, len(node.moving[0])))
        return reduce(given[0], axes, keepdims=len(node.shape) == len(node.moving[0]))


@rule("Pad", "PadV2")
class Padding(Rule):
    """Adds rows of zeros."""

    def changed(self, node: Node, boxes: Mapping[int, Box]) -> Box:
        """Return the box, moved by what is in front."""
        (box,) = boxes.values()
        return tuple(span.moved(front) for span, front in zip(box, self._front(node), strict=True))

    def needed(self, node: Node, box: Box) -> dict[int, Box]:
        """Return the box, moved back."""
        front = self._front(node)
        return {0: tuple(span.moved(-one) for span, one in zip(box, front, strict=True))}

    def compute(self, node: Node, box: Box, given: Mapping[int, Any]) -> Any:
        """Return a box, zeros where it lies outside of the input."""
        within = inside(self.needed(node, box)[0], node.moving[0])
        return given[0] if within is None else tf.where(within, given[0], tf.zeros_like(given[0]))

    @staticmethod
    def _front(node: Node) -> list[int]:
        if node.kind == "PadV2" and node.known(2) != 0:
            raise NoRegion("padding by other numbers than zero")
        return [int(front) for front, _ in node.known(1)[1:]]


@rule("ConcatV2")
class Concatenation(Rule):
    """Puts channels side by side."""

    def changed(self, node: Node, boxes: Mapping[int, Box]) -> Box:
        """Return a box of all channels; where one input differs, its own."""
        first = self._first(node)
        *places, channels = largest(boxes)
        if len(boxes) == 1:
            (number,) = boxes
            return (*places, channels.moved(first[number]))
        return (*places, Span(node.shape[-1]))

    def needed(self, node: Node, box: Box) -> dict[int, Box]:
        """Return the same box of all inputs, with all of their channels."""
        self._first(node)
        return {number: (*box[:-1], Span(shape[-1])) for number, shape in node.moving.items()}

    def compute(self, node: Node, box: Box, given: Mapping[int, Any]) -> Any:
        """Return the channels of the box."""
        del node
        values = tf.concat([given[number] for number in sorted(given)], axis=-1)
        channels = box[-1]
        if channels.base is None:
            return values[..., channels.shift : channels.shift + channels.extent]
        return tf.gather(values, channels.positions, axis=-1, batch_dims=1)

    @staticmethod
    def _first(node: Node) -> dict[int, int]:
        """Return the first channel of each input."""
        count = len(node.operation.inputs) - 1
        axis = int(node.known(count))
        if axis not in (-1, len(node.shape)) or len(node.moving) != count:
            raise NoRegion("side by side on another axis, or beside a constant")
        found, start = {}, 0
        for number in range(count):
            found[number] = start
            start += node.moving[number][-1]
        return found


@rule("Reshape", "Squeeze", "ExpandDims")
class Numbering(Rule):
    """Numbers the elements of a sample anew."""

    def changed(self, node: Node, boxes: Mapping[int, Box]) -> Box:
        """Return where a single element goes, or all of it."""
        (box,) = boxes.values()
        before = node.moving[0]
        if all(span.is_whole(size) for span, size in zip(box, before, strict=True)):
            return whole(node.shape)
        if math.prod(extents(box)) > 1:
            raise NoRegion("a box that is none in another shape")
        flat: Any = 0
        for span, size in zip(box, before, strict=True):
            flat = flat * size + span.begin
        spans = []
        for size in reversed(node.shape):
            spans.append(Span(1, 0, flat % size))
            flat = flat // size
        return tuple(reversed(spans))

    def needed(self, node: Node, box: Box) -> dict[int, Box]:
        """Return where a single element comes from, or all of it."""
        if all(span.is_whole(size) for span, size in zip(box, node.shape, strict=True)):
            return {0: whole(node.moving[0])}
        if math.prod(extents(box)) > 1:
            raise NoRegion("a box that is none in another shape")
        flat: Any = 0
        for span, size in zip(box, node.shape, strict=True):
            flat = flat * size + span.begin
        spans = []
        for size in reversed(node.moving[0]):
            spans.append(Span(1, 0, flat % size))
            flat = flat // size
        return {0: tuple(reversed(spans))}

    def compute(self, node: Node, box: Box, given: Mapping[int, Any]) -> Any:
        """Return the elements in the shape of the box."""
        del node
        return tf.reshape(given[0], (-1, *extents(box)))


@rule("Softmax", "LogSoftmax")
class Softmax(Rule):
    """Heeds all of the last axis."""

    def changed(self, node: Node, boxes: Mapping[int, Box]) -> Box:
        """Return a box with all of the last axis."""
        return (*super().changed(node, boxes)[:-1], Span(node.shape[-1]))

    def needed(self, node: Node, box: Box) -> dict[int, Box]:
        """Return a box with all of the last axis."""
        return {0: (*box[:-1], Span(node.shape[-1]))}

    def compute(self, node: Node, box: Box, given: Mapping[int, Any]) -> Any:
        """Return all of the last axis."""
        if not box[-1].is_whole(node.shape[-1]):
            raise NoRegion("a part of a softmax")
        return node.again([given[0]])


@rule("MatMul")
class Product(Rule):
    """A product with a matrix; where one element of a sample differs, see :mod:`region`."""

    def gain(self, node: Node) -> Any:
        """Return the largest sum of magnitudes over what goes into one output."""
        return _largest_sum(node.fixed(1), [1 if node.attribute("transpose_b") else 0])

    def changed(self, node: Node, boxes: Mapping[int, Box]) -> Box:
        """Return all of it."""
        if list(boxes) != [0] or node.attribute("transpose_a"):
            raise NoRegion("a matrix that depends on the data")
        return whole(node.shape)

    def needed(self, node: Node, box: Box) -> dict[int, Box]:
        """Return all of a sample."""
        del box
        return {0: whole(node.moving[0])}

    def compute(self, node: Node, box: Box, given: Mapping[int, Any]) -> Any:
        """Return the product, of all columns."""
        if not box[0].is_whole(node.shape[0]):
            raise NoRegion("a part of a product")
        return node.again([given[0], node.fixed(1)])


def _largest_sum(kernel: Any, axes: Sequence[int]) -> Any:
    return tf.reduce_max(tf.reduce_sum(tf.abs(kernel), axes))
