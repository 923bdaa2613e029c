"""The weight variables of layers: which of them a fault can be in, and what stands for them.

A variable may be a weight of several addresses: of each call of its layer, of the block that its
layer is in, of every layer that shares it. It is one place all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from injecttf2 import bits
from injecttf2.graph.layer_info import NO_WEIGHTS, LayerInfo
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.graph.points import LIKE_SEVERAL
from injecttf2.graph.traceable import Variable
from injecttf2.trial import TOGETHER

UNREAD = "inference does not read it"
"""Why a fault cannot be in a variable."""

COMPILED = (
    "a tf.function inside it reads its weights, which a fault cannot reach; take @tf.function off"
)
"""Why a fault cannot be in the weights of a layer."""


@dataclass(frozen=True, eq=False)
class Weight:
    """A weight variable of a layer.

    Args:
        layer: Address of the layer.
        name: Name within the layer.
        variable: The variable.
    """

    layer: str
    name: str
    variable: Variable

    @property
    def dtype(self) -> str:
        """The dtype of its words."""
        return self.variable.dtype

    @property
    def elements(self) -> int:
        """How many elements it has."""
        return self.variable.elements


def weights_of(graph: ModelGraph, layer: str) -> tuple[Weight, ...]:
    """Return the weights of a layer that inference reads, in Keras' order.

    Those of layers that it holds are among them. A name is the last part of the variable's path
    where no other weight of the layer has it, else all of the path behind the layer's own name.
    """
    return tuple(one for one in _all_of(graph, layer) if graph.reading.reads(one.variable.key))


def unread_of(graph: ModelGraph, layer: str) -> tuple[Weight, ...]:
    """Return the weights of a layer that no output of the model depends on, in Keras' order."""
    return tuple(one for one in _all_of(graph, layer) if not graph.reading.reads(one.variable.key))


def weights_in(graph: ModelGraph, layers: Iterable[str]) -> tuple[Weight, ...]:
    """Return the weights of some layers, one that layers share once."""
    found: dict[int, Weight] = {}
    for layer in layers:
        for weight in weights_of(graph, layer):
            found.setdefault(weight.variable.key, weight)
    return tuple(found.values())


def users_of_weights(graph: ModelGraph) -> dict[int, tuple[str, ...]]:
    """Return the addresses of the layers that compute with each variable, by its key.

    Those of layers around them are not among them.
    """
    having: dict[int, list[str]] = {}
    for info in graph.layers:
        for one in weights_of(graph, info.layer):
            having.setdefault(one.variable.key, []).append(info.layer)
    return {
        key: tuple(
            one for one in layers if not any(graph.is_inside(other, one) for other in layers)
        )
        for key, layers in having.items()
    }


def counted_at(graph: ModelGraph, layers: Iterable[LayerInfo]) -> dict[int, Weight]:
    """Return, by the key of each variable of some layers, the one place that it is counted at.

    That is the first of the layers that has it, in the order of the model: the first call of its
    layer, which comes before the block around it. What is inside a layer of Keras' own stands
    behind, as ``layers: all`` does not take it.

    Args:
        graph: The model.
        layers: Those that can be injected, and those that a compiled function keeps from it.
    """
    ordered = sorted(layers, key=lambda info: not info.in_all)
    return {one.variable.key: one for one in weights_in(graph, (info.layer for info in ordered))}


def reason_of(graph: ModelGraph, layer: str) -> str | None:
    """Return why the weights of a layer cannot be injected, or None when they can."""
    weights = weights_of(graph, layer)
    if not weights:
        unread = unread_of(graph, layer)
        return "it has no weights that inference reads" if unread else NO_WEIGHTS
    if TOGETHER in layer:
        return LIKE_SEVERAL
    if any(one.variable.key in graph.reading.compiled for one in weights):
        return COMPILED
    if graph.judged is not None:
        read = [name for one in weights for name in graph.reading.read[one.variable.key]]
        if graph.flow.first_use(read) is None:
            judged = graph.output_slots[graph.judged].called
            return f"its weights do not reach the output {judged!r}, which is judged"
    return None


def taken_by_all(graph: ModelGraph, layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    """Return the layers that ``layers: all`` takes for weights, in the order of the model.

    Beside those that it takes for outputs they are what holds a weight that none of those does, as
    a subclassed model holds its own.

    Args:
        graph: The model.
        layers: All its layers.
    """
    taken = [info for info in layers if info.in_all]
    held = {one.variable.key for one in weights_in(graph, (info.layer for info in taken))}
    for info in layers:
        own = {one.variable.key for one in weights_of(graph, info.layer)} - held
        if own and not info.in_all:
            taken.append(info)
            held |= own
    return sorted(taken, key=lambda info: info.index)


@dataclass(frozen=True, eq=False)
class Counted:
    """Where ``layers: all`` counts a weight of a layer.

    Args:
        weight: The weight.
        at: The layer that it is counted at, and its name there; None where it is no place.
        reason: Why it is none.
    """

    weight: Weight
    at: Weight | None
    reason: str | None = None


def all_counted(graph: ModelGraph) -> dict[str, list[Counted]]:
    """Return where ``layers: all`` counts each weight, by the addresses that have it."""
    taken = taken_by_all(graph, graph.layers)
    reasons = {info.layer: reason_of(graph, info.layer) for info in taken}
    held = [info for info in taken if reasons[info.layer] in (None, COMPILED)]
    at = counted_at(graph, taken) | counted_at(graph, held)
    found: dict[str, list[Counted]] = {}
    for layer in (info.layer for info in graph.layers):
        found[layer] = [Counted(one, None, UNREAD) for one in unread_of(graph, layer)]
        for one in weights_of(graph, layer):
            place = at[one.variable.key]
            reason = reasons[place.layer]
            found[layer].append(Counted(one, None if reason else place, reason))
    return found


def _all_of(graph: ModelGraph, layer: str) -> tuple[Weight, ...]:
    """Return the weights of a layer that have words, read or not."""
    operation = graph.point(layer).operation
    variables = graph.model.variables_of(operation)
    paths = [_path_within(operation, variable) for variable in variables]
    short = [path.rpartition("/")[2] for path in paths]
    names = [
        name if short.count(name) == 1 else path for name, path in zip(short, paths, strict=True)
    ]
    return tuple(
        Weight(layer, _numbered(names, index), variable)
        for index, variable in enumerate(variables)
        if variable.dtype in bits.DTYPES
    )


def _path_within(operation: Any, variable: Variable) -> str:
    """Return a variable's path behind the name of the layer."""
    parts = variable.path.split("/")
    if operation.name in parts[:-1]:
        parts = parts[parts.index(operation.name) + 1 :]
    return "/".join(parts)


def _numbered(names: Sequence[str], index: int) -> str:
    """Return a name, with its number behind it where others before have the same."""
    before = names[:index].count(names[index])
    return f"{names[index]}#{before + 1}" if before else names[index]
