"""A stretch of a model on boxes: what of its end differs, from what of its start does.

Sweeping forward, the rules tell how far a difference reaches; sweeping back, what is needed of each
tensor to compute that; and then the operations run on just these boxes. What is needed of golden
tensors is read at the start of the stretch, or of tensors on the way that do not change. Where one
element goes into a product with a matrix, the golden product is read too, and a multiple of a row
of the matrix added.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from injecttf2.acceleration.boxes import (
    Box,
    NoRegion,
    Span,
    cropped,
    extents,
    gathered,
    joined,
    whole,
)
from injecttf2.acceleration.drop import equal_bits
from injecttf2.acceleration.rules import RULES, Node, Product, Rule
from injecttf2.graph.cost import ELEMENT, products
from injecttf2.graph.model_graph import ModelGraph

RANK_ONE = 8
"""Most elements of a sample that a product with a matrix is followed for, one by one."""

ON_BOXES = 3.0
"""Work on a box, relative to the same work on a whole tensor: places are computed for each."""


Differ = Callable[[Callable[[], Any], Box, Box], Any]
"""Receives what returns the golden values of a box of the target, [rows, *extents], that box, and
the box that differs; returns the values of the first with the difference."""


@dataclass(frozen=True)
class Stretch:
    """A part of a model.

    Args:
        start: Operations of the path before it.
        stop: Operations of the path up to its end.
        target: Name of the tensor that differs at its start.
        extents: Size of the box in which that differs.
        ends: Names of the tensors that are needed behind its end.
    """

    start: int
    stop: int
    target: str
    extents: tuple[int, ...]
    ends: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Reached:
    """What of the end of a stretch differs.

    Args:
        name: The tensor.
        begins: int32 [rows, axes], where the box begins.
        values: [rows, *extents], what it holds.
        same: bool [rows], whether it holds golden bits.
        doubtful: bool [rows], whether something was not finite, or might not be elsewhere.
    """

    name: str
    begins: Any
    values: Any
    same: Any
    doubtful: Any


@dataclass(eq=False)
class Region:
    """A stretch of a model, as it is traced.

    Args:
        graph: The model.
        stretch: The part.
        rows: int32 [rows], of each sample the row of the golden tensors.
        golden: Returns a golden tensor by name, [samples, ...].
        fixed: Tensors that do not depend on the data, by name.

    Attributes:
        work: The counted work of a sample.
        widest: Elements of the largest box.
        summed: What is summed otherwise than densely, by the names of the tensors and how.
    """

    graph: ModelGraph
    stretch: Stretch
    rows: Any
    golden: Callable[[str], Any]
    fixed: Mapping[str, Any]
    work: float = field(init=False, default=0.0)
    widest: int = field(init=False, default=1)
    summed: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self._flow = self.graph.flow
        self._doubtful: Any = tf.zeros(tf.shape(self.rows), tf.bool)
        self._changed: dict[str, Box] = {}
        self._needed: dict[str, Box] = {}
        self._nodes: dict[str, tuple[Node, Rule]] = {}
        self._values: dict[str, Any] = {}
        self._golden_values: dict[str, Any] = {}

    def reach(self, begins: Any, differ: Differ, *, all_of_it: bool = False) -> Reached:
        """Return what of the end differs.

        Args:
            begins: int32 [rows, axes], where the box of the target begins.
            differ: Puts the difference into what is needed of the target.
            all_of_it: Whether to return all of the end, whatever differs.

        Raises:
            NoRegion: An operation has no rule, or what it does is no box.
        """
        stretch = self.stretch
        shape = self._shape(stretch.target)
        self._changed[stretch.target] = tuple(
            Span(extent) if extent == size else Span(extent, 0, begins[:, axis])
            for axis, (extent, size) in enumerate(zip(stretch.extents, shape, strict=True))
        )
        operations = self._flow.path[stretch.start : stretch.stop]
        behind = max(0, self._flow.position[stretch.target] + 1 - stretch.start)
        for operation in operations[behind:]:
            self._sweep(operation)
        ends = [name for name in stretch.ends if name in self._changed]
        if len(ends) != 1:
            raise NoRegion("several tensors that differ")
        (end,) = ends
        box = whole(self._shape(end)) if all_of_it else self._changed[end]
        self._needed[end] = box
        for operation in reversed(operations):
            self._sweep_back(operation)
        found = self._computed(end, differ)
        before = self._read(end, box)
        self._doubt(found)
        begin = [span.begin for span in box]
        columns = [
            tf.fill(tf.shape(self.rows), one) if isinstance(one, int) else one for one in begin
        ]
        same = equal_bits(found, before)
        return Reached(end, tf.stack(columns, 1), found, same, self._doubtful)

    def _sweep(self, operation: Any) -> None:
        """Note what of an operation's output may differ."""
        boxes = {
            number: self._changed[tensor.name]
            for number, tensor in enumerate(operation.inputs)
            if tensor.name in self._changed
        }
        if not boxes:
            return
        rule = RULES.get(operation.type)
        others = [one for one in operation.outputs[1:] if one.name in self._flow.last]
        if rule is None or others:
            raise NoRegion(f"there is no rule for {operation.type}")
        node = self._node(operation)
        box = rule.changed(node, boxes)
        name = operation.outputs[0].name
        self._changed[name] = box
        if len(boxes) > 1:
            for other in boxes.values():
                self._see_that_it_holds(box, other, axes=len(box) - (operation.type == "ConcatV2"))

    def _sweep_back(self, operation: Any) -> None:
        """Note what is needed of an operation's inputs."""
        names = [one.name for one in operation.outputs if one.name in self._needed]
        if not any(map(self._is_computed, names)):
            return
        rule = RULES.get(operation.type)
        if rule is None or names != [operation.outputs[0].name]:
            raise NoRegion(f"there is no rule for {operation.type}")
        node = self._node(operation)
        box = self._needed[operation.outputs[0].name]
        for number, needed in self._needed_by(node, rule, box).items():
            name = operation.inputs[number].name
            self._needed[name] = joined(self._needed.get(name), needed)

    def _is_computed(self, name: str) -> bool:
        """Return whether a tensor is computed; else it is golden, and read.

        What the target is computed from is, so that no golden tensor but those at the start of the
        stretch has to be held for it.
        """
        position, target = self._flow.position[name], self._flow.position[self.stretch.target]
        return position >= self.stretch.start and (name in self._changed or position <= target)

    def _needed_by(self, node: Node, rule: Rule, box: Box) -> Mapping[int, Box]:
        if self._is_rank_one(node, rule):
            return {0: self._changed[_given(node)]}
        return rule.needed(node, box)

    def _is_rank_one(self, node: Node, rule: Rule) -> bool:
        """Return whether few elements go into a product with a matrix."""
        box = self._changed.get(_given(node))
        if not isinstance(rule, Product) or box is None:
            return False
        return box[0].extent <= RANK_ONE and not box[0].is_whole(node.moving[0][0])

    def _computed(self, name: str, differ: Differ | None) -> Any:
        """Return what is needed of a tensor; without the difference where nothing puts it in."""
        values = self._golden_values if differ is None else self._values
        if name not in values:
            values[name] = self._made(name, differ)
        return values[name]

    def _made(self, name: str, differ: Differ | None) -> Any:
        box = self._needed[name]
        if name == self.stretch.target and differ is not None:
            found = differ(lambda: self._made(name, None), box, self._changed[name])
            self._doubt(found)
            return found
        if not self._is_computed(name):
            return self._read(name, box)
        node, rule = self._nodes[name]
        if self._is_rank_one(node, rule):
            return self._rank_one(node, self._computed(_given(node), differ))
        given = {}
        for number, wanted in rule.needed(node, box).items():
            source = node.operation.inputs[number].name
            given[number] = cropped(self._computed(source, differ), self._needed[source], wanted)
        if extents(box) != node.shape and (gain := rule.gain(node)) is not None:
            self.summed.add(f"box of {name}")  # else it is summed as densely
            for values in given.values():
                self._doubt(values, gain=2.0 * tf.maximum(1.0, gain))
        self._count(node, box, given)
        return rule.compute(node, box, given)

    def _rank_one(self, node: Node, values: Any) -> Any:
        """Return the golden product, and what the difference of few elements adds to it."""
        self.summed.add(f"change of {_made(node)}")
        (span,) = self._changed[_given(node)]
        delta = values - self._computed(_given(node), None)
        matrix = node.fixed(1)
        if node.attribute("transpose_b"):
            matrix = tf.transpose(matrix)
        rows = tf.gather(matrix, span.positions)
        added = delta * rows[:, 0] if span.extent == 1 else (delta[:, tf.newaxis] @ rows)[:, 0]
        largest = tf.gather(tf.reduce_max(tf.abs(matrix), 1), span.positions)
        self._doubt(tf.reduce_sum(tf.abs(delta) * largest, 1, keepdims=True), gain=2.0)
        self.work += ON_BOXES * ELEMENT * 3 * span.extent * node.shape[0]
        return self._read(node.operation.outputs[0].name, self._changed[_made(node)]) + added

    def _read(self, name: str, box: Box) -> Any:
        """Return a box of a golden tensor."""
        self.widest = max(self.widest, math.prod(extents(box)))
        self.work += ON_BOXES * ELEMENT * math.prod(extents(box))
        return gathered(self.golden(name), self.rows, box)

    def _node(self, operation: Any) -> Node:
        name = operation.outputs[0].name
        if name not in self._nodes:
            moving = {
                number: self._shape(tensor.name)
                for number, tensor in enumerate(operation.inputs)
                if tensor.name in self._flow.position
            }

            fixed = {
                number: self.fixed[tensor.name]
                for number, tensor in enumerate(operation.inputs)
                if number not in moving
            }
            node = Node(operation, self._shape(name), moving, fixed)
            self._nodes[name] = node, RULES[operation.type]
        return self._nodes[name][0]

    def _shape(self, name: str) -> tuple[int, ...]:
        shape = self.graph.shapes[name]
        if shape is None or None in shape or shape[:1] != (self.graph.samples,):
            raise NoRegion("a tensor that is not one row a sample")
        return tuple(size or 0 for size in shape[1:])

    def _see_that_it_holds(self, box: Box, other: Box, *, axes: int) -> None:
        """Mark samples in which a box does not hold another."""
        for outer, inner in list(zip(box, other, strict=True))[:axes]:
            if outer is inner:
                continue
            last = inner.begin + inner.extent <= outer.begin + outer.extent
            within = (inner.begin >= outer.begin) & last
            if isinstance(within, bool):
                if not within:
                    raise NoRegion("boxes beside each other")
                continue
            self._doubtful |= ~within

    def _doubt(self, values: Any, *, gain: Any = 1.0) -> None:
        """Mark the samples whose values [rows, ...], times ``gain``, are not all finite."""
        if not values.dtype.is_floating:
            return
        most = values.dtype.max / tf.cast(gain, values.dtype)
        finite = tf.abs(values) <= most  # NaN is not less
        self._doubtful |= ~tf.reduce_all(finite, axis=list(range(1, values.shape.rank)))

    def _count(self, node: Node, box: Box, given: Mapping[int, Any]) -> None:
        share = math.prod(extents(box)) / max(1, math.prod(node.shape))
        self.widest = max(self.widest, math.prod(extents(box)))
        moved = math.prod(extents(box)) + sum(math.prod(one.shape[1:]) for one in given.values())
        all_products = products(node.operation, self.graph.shapes) / self.graph.samples
        factor = 1.0 if share == 1 else ON_BOXES
        self.work += factor * (share * all_products + ELEMENT * moved)


def _made(node: Node) -> str:
    return str(node.operation.outputs[0].name)


def _given(node: Node) -> str:
    return str(node.operation.inputs[0].name)
