"""Injection points: tensors of a graph that have an address, and why a fault cannot be in some."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from injecttf2 import bits
from injecttf2.errors import ModelError
from injecttf2.graph.raising import used_as_indices
from injecttf2.graph.shapes import Shape
from injecttf2.graph.tracing import Call, Trace
from injecttf2.trial import TOGETHER

IN_A_LOOP = "it runs inside a loop or function of TensorFlow's, where one call stands for many"
USED_AS_INDICES = (
    "its values are used as indices, and what one out of range does depends on the device"
)
NOT_CALLED = "it is not called by itself when the model runs, or only in a compiled function"
NOT_DENSE = "its output is sparse or ragged"
NOT_PER_SAMPLE = "its first axis is not the sample"
LIKE_SEVERAL = f"its name holds {TOGETHER!r}, which stands between layers that are hit together"


@dataclass(frozen=True, eq=False)
class Point:
    """What an address names.

    Args:
        layer: Address.
        operation: The layer that gives it out; None for an input.
        tensor: The tensor; None where there is none.
        in_all: Whether ``layers: all`` takes it.
        is_input: Whether it is an input of the model.
        reason: Why it cannot be injected; None when it can.
    """

    layer: str
    operation: Any
    tensor: Any
    in_all: bool = True
    is_input: bool = False
    reason: str | None = None

    @property
    def name(self) -> str:
        """Name of the tensor."""
        return str(self.tensor.name)


class Addresses:
    """Gives each call an address that no other has.

    Args:
        paths: All paths that are called; no later call gets one of them.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._taken = set(paths)
        self._calls: dict[str, int] = {}

    def of(self, path: str) -> str:
        """Return the address of the next call under a path."""
        self._calls[path] = self._calls.get(path, 0) + 1
        if self._calls[path] == 1:
            return path
        numbered = (f"{path}#{number}" for number in count(self._calls[path]))
        address = next(one for one in numbered if one not in self._taken)
        self._taken.add(address)
        return address


_NUMBERS = re.compile(r"(#[0-9]+)?(:[0-9]+)?$")
"""What an address has behind its path: the numbers of the call and of the output."""


def path_of(address: str) -> str:
    """Return the names of the layers that an address is made of."""
    return _NUMBERS.sub("", address)


def points_of(trace: Trace, shapes: Mapping[str, Shape | None], samples: int) -> tuple[Point, ...]:
    """Return all points of a model, in the order of execution.

    Args:
        trace: The model.
        shapes: Shapes of its tensors for a number of samples.
        samples: That number.

    Raises:
        ModelError: Two have one address.
    """
    indices = used_as_indices(trace.graph)
    points = []
    for point in _named(trace):
        reason = point.reason or _reason(point, shapes, samples, indices)
        points.append(replace(point, reason=reason))
    return _told_apart(points)


def _reason(
    point: Point, shapes: Mapping[str, Shape | None], samples: int, indices: set[Any]
) -> str | None:
    """Return why a tensor cannot be injected, or None when it can."""
    if point.tensor is None:
        return NOT_DENSE
    if point.tensor.ref() in indices:
        return USED_AS_INDICES
    if TOGETHER in point.layer:
        return LIKE_SEVERAL
    dtype = point.tensor.dtype.name
    if dtype not in bits.DTYPES:
        return f"it holds {dtype} values, which have no words to change"
    shape = shapes[point.name]
    if shape is not None and shape[:1] not in ((samples,), (None,)):
        if point.tensor.shape.rank is not None and point.tensor.shape[:1] != [None]:
            return f"its output {tuple(point.tensor.shape)} is not one value or array a sample"
        return NOT_PER_SAMPLE
    return None


def _named(trace: Trace) -> Iterator[Point]:
    """Yield the points, without what their tensors say of them."""
    model = trace.model
    waiting = sorted(zip(model.inputs, trace.inputs, strict=True), key=lambda pair: pair[0].rank)

    def inputs(calls: int | None) -> Iterator[Point]:
        while waiting and (calls is None or waiting[0][0].rank[0] <= calls):
            spec, tensor = waiting.pop(0)
            yield Point(spec.name, None, tensor, in_all=False, is_input=True)

    calls = [call for call in trace.calls if _is_point(trace, call)]
    looped = {_path(one) for one in calls if one.looped}
    called = {id(one.layer) for one in trace.calls}
    addresses = Addresses([*(spec.name for spec in model.inputs), *map(_path, calls)])
    for spec in model.inputs:
        addresses.of(spec.name)
    seen: set[str] = set()
    done = 0
    yield from inputs(done)
    for call in calls:
        is_outer = all(map(model.is_container, call.within))
        if is_outer:
            yield from inputs(done)
            done += len(call.within) == 1
            yield from _not_called(trace, call, called, addresses)
        path = _path(call)
        in_all = len(call.within) > 0 and all(
            model.is_container(one) or not model.is_library(one) for one in call.within
        )
        if path in looped:
            if path not in seen:
                seen.add(path)
                tensor = next(iter(call.tensors), None)
                yield Point(addresses.of(path), call.layer, tensor, in_all, reason=IN_A_LOOP)
            continue
        name = addresses.of(path)
        several = len(call.tensors) != 1
        for number, tensor in enumerate(call.tensors):
            yield Point(f"{name}:{number}" if several else name, call.layer, tensor, in_all)
    yield from inputs(None)


def _is_point(trace: Trace, call: Call) -> bool:
    """Return whether what a call gives out has an address of its own.

    What a model gives out that runs a graph of layers, its last layer does. An operation that is no
    layer is seen where a model calls it by itself.
    """
    model = trace.model
    if model.is_container(call.layer):
        return False
    return hasattr(call.layer, "weights") or all(map(model.is_container, call.within))


def _path(call: Call) -> str:
    """Return the names of the layers that a call is made in and its own, without the model's."""
    layers = [*call.within, call.layer]
    return "/".join(str(one.name) for one in (layers[1:] or layers))


def _not_called(
    trace: Trace, call: Call, called: set[int], addresses: Addresses
) -> Iterator[Point]:
    """Yield the outermost layers inside a layer that were not called."""

    def visit(layer: Any, path: str) -> Iterator[Point]:
        for one in trace.model.layers_in(layer):
            own = f"{path}/{one.name}" if path else str(one.name)
            if id(one) in called:
                yield from visit(one, own)
            else:
                name = addresses.of(own)
                yield Point(name, one, None, in_all=False, reason=NOT_CALLED)

    yield from visit(call.layer, _path(call) if call.within else "")


def _told_apart(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return points that have an address of their own each.

    Raises:
        ModelError: Two have the same; a layer is named as one of another's outputs is.
    """
    seen: set[str] = set()
    for point in points:
        if point.layer in seen:
            raise ModelError(
                f"two tensors of the model have the address {point.layer!r}",
                hint="an address ends in :0, :1, ... where a layer has several outputs; give the "
                "other layer another name",
            )
        seen.add(point.layer)
    return tuple(points)
