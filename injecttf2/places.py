"""Addresses: where in a model a fault can be, or why it cannot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from injecttf2 import bits
from injecttf2.errors import ModelError
from injecttf2.flatten import Addresses, Conversion
from injecttf2.hooks import InnerOutput
from injecttf2.steps import Step, is_keras
from injecttf2.tracing import Trace
from injecttf2.trials import TOGETHER
from injecttf2.wrapping import graph_run_by

IN_A_LOOP = "it runs inside a loop or function of TensorFlow's, where one call stands for many"
USED_AS_INDICES = (
    "its values are used as indices, and what one out of range does depends on the device"
)
NOT_CALLED = "it is not called by itself when the model runs, or only in a compiled function"
BY_PASSED = "a tensor that by-passes it is not one row a sample"
LIKE_SEVERAL = f"its name holds {TOGETHER!r}, which stands between layers that are hit together"


@dataclass(frozen=True, eq=False)
class Place:
    """A tensor that an address names.

    Args:
        layer: Address.
        step: The step that gives it out, or inside which it is.
        operation: The layer or operation that gives it out.
        tensor: Symbolic tensor.
        inner: What it is inside the step; None where it is what the step gives out.
        in_all: Whether ``layers: all`` takes it.
        reason: Why it cannot be injected, as far as the place decides it.
    """

    layer: str
    step: Step
    operation: Any
    tensor: Any
    inner: InnerOutput | None = None
    in_all: bool = True
    reason: str | None = None

    @property
    def key(self) -> int:
        """Key of the tensor."""
        return id(self.tensor)

    @property
    def is_inside(self) -> bool:
        """Whether it is inside the step, not what that gives out."""
        return self.operation is not self.step.operation


def step_places(step: Step, *, wrapped: bool) -> list[Place]:
    """Return the places of what a step gives out.

    Args:
        step: The step.
        wrapped: Whether it is the whole of a subclassed model.
    """
    if isinstance(step.operation, Conversion):
        return []
    in_all = not (wrapped or step.is_input)
    names = [step.layer]
    if len(step.made) != 1:
        names = [f"{step.layer}:{position}" for position in range(len(step.made))]
    return [
        Place(name, step, step.operation, tensor, in_all=in_all)
        for name, tensor in zip(names, step.made, strict=True)
    ]


def inner_places(
    step: Step, trace: Trace, addresses: Addresses, *, wrapped: bool
) -> Iterator[Place]:
    """Yield the places inside a step, in the order of execution; last what is never called.

    Args:
        step: The step.
        trace: What a trace of the model showed.
        addresses: Those that are taken.
        wrapped: Whether it is the whole of a subclassed model, whose name is left out.
    """
    prefix = () if wrapped else (step.path,)
    outputs = trace.inner.get(step.index, [])
    looped = {one.call.path for one in outputs if not one.call.number}
    seen: set[tuple[str, ...]] = set()
    names: dict[int, str] = {}
    for one in outputs:
        call = one.call
        if call.path in looped:
            if call.path not in seen:
                seen.add(call.path)
                name = addresses.of("/".join((*prefix, *call.path)))
                in_all = _in_all(call.within)
                yield Place(name, step, call.layer, one.tensor, None, in_all, IN_A_LOOP)
            continue
        if graph_run_by(call.layer) is not None:  # its last layer gives out the same
            continue
        if id(call) not in names:
            names[id(call)] = addresses.of("/".join((*prefix, *call.path)))
        name = names[id(call)] if one.outputs == 1 else f"{names[id(call)]}:{one.position}"
        yield Place(name, step, call.layer, one.tensor, one, _in_all(call.within))
    for path, layer in trace.silent.get(step.index, []):
        name = addresses.of("/".join((*prefix, *path)))
        tensor = keras.KerasTensor((None, None), dtype=layer.compute_dtype)
        yield Place(name, step, layer, tensor, None, False, NOT_CALLED)


def told_apart(places: Sequence[Place]) -> tuple[Place, ...]:
    """Return places that have an address of their own each.

    Raises:
        ModelError: Two have the same; a layer is named as one of another's outputs is.
    """
    seen: set[str] = set()
    for place in places:
        if place.layer in seen:
            raise ModelError(
                f"two tensors of the model have the address {place.layer!r}",
                hint="an address ends in :0, :1, ... where a layer has several outputs; give the "
                "other layer another name",
            )
        seen.add(place.layer)
    return tuple(places)


def _in_all(within: Iterable[Any]) -> bool:
    """Return whether none of the layers that a layer is called in is a building block of Keras'."""
    return all(graph_run_by(one) is not None or not is_keras(type(one)) for one in within)


def reason_of(place: Place, batch: int | None) -> str | None:
    """Return why a tensor cannot be injected, or None when nothing in it says so.

    Args:
        place: Where it is.
        batch: Samples that the model takes at a time; None for any number.
    """
    if place.reason is not None:
        return place.reason
    if TOGETHER in place.layer:
        return LIKE_SEVERAL
    if place.tensor.dtype not in bits.DTYPES:
        return f"it holds {place.tensor.dtype} values, which have no words to change"
    if not is_per_sample(place.tensor, batch):
        return f"its output {tuple(place.tensor.shape)} is not one value or array a sample"
    return None


def is_per_sample(tensor: Any, batch: int | None) -> bool:
    """Return whether the first axis of a symbolic tensor may be that of the samples."""
    return tuple(tensor.shape[:1]) in ((None,), (batch,))


def parameters(operation: Any) -> int:
    """Return the number of weights of a layer or operation, trained or not."""
    if not isinstance(operation, keras.Layer) or not operation.built:
        return 0
    return int(operation.count_params())


def sparse_or_ragged(steps: Iterable[Step]) -> set[int]:
    """Return the keys of the tensors that are not dense.

    Keras also marks the product of a dense tensor and a constant as sparse, so the mark counts only
    where a sparse tensor goes in, or where the operation was asked for a sparse one.
    """
    found: set[int] = set()
    for step in steps:
        sparse = getattr(step.operation, "sparse", False) or not found.isdisjoint(step.inputs)
        found.update(id(one) for one in step.made if one.ragged or (sparse and one.sparse))
    return found
