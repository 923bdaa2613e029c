"""Faults in weights: a trial's fault holds for the whole data set.

The variables themselves are never touched. The steps run with corrupted copies in their place, by
``keras.StatelessScope``, so that nothing has to be restored, whatever happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2 import bits
from injecttf2.batches import side_by_side
from injecttf2.block import GoldenBlock
from injecttf2.changes import merged
from injecttf2.fault_model import Fault, Hits
from injecttf2.graph import Graph, Values
from injecttf2.judges import Assessment, Verdict
from injecttf2.listed import Listed
from injecttf2.sites import WeightSites, draw_weights
from injecttf2.suffix import DenseSuffix, spec_of
from injecttf2.suggest import nearest
from injecttf2.trials import Trial


@dataclass(frozen=True, eq=False)
class Weight:
    """A weight variable of a layer.

    Args:
        layer: Address of the layer.
        name: Name within the layer.
        variable: Keras' variable.
    """

    layer: str
    name: str
    variable: Any

    @property
    def dtype(self) -> str:
        """The dtype of its words."""
        return str(self.variable.dtype)

    @property
    def elements(self) -> int:
        """How many elements it has."""
        return int(np.prod(self.variable.shape))


def weights_of(graph: Graph, layer: str) -> tuple[Weight, ...]:
    """Return the weights of a layer, in Keras' order; those of layers that it holds among them.

    A name is the last part of the variable's path where no other weight of the layer has it, else
    all of the path behind the layer's own name.
    """
    operation = graph.place(layer).operation
    variables = list(getattr(operation, "weights", ()))
    paths = [_path_within(operation, variable) for variable in variables]
    short = [path.rpartition("/")[2] for path in paths]
    names = [
        name if short.count(name) == 1 else path for name, path in zip(short, paths, strict=True)
    ]
    return tuple(
        Weight(layer, _numbered(names, index), variable)
        for index, variable in enumerate(variables)
        if str(variable.dtype) in bits.DTYPES
    )


def weights_in(graph: Graph, layers: Sequence[str]) -> tuple[Weight, ...]:
    """Return the weights of some layers, one that layers share once."""
    found: dict[int, Weight] = {}
    for layer in layers:
        for weight in weights_of(graph, layer):
            found.setdefault(id(weight.variable), weight)
    return tuple(found.values())


def variable_dtypes(graph: Graph, layer: str) -> dict[str, str]:
    """Return the dtype of each weight of a layer that can be injected, by its name."""
    return {weight.name: weight.dtype for weight in weights_of(graph, layer)}


def _path_within(operation: Any, variable: Any) -> str:
    """Return a variable's path behind the name of the layer."""
    parts = str(variable.path).split("/")
    if operation.name in parts[:-1]:
        parts = parts[parts.index(operation.name) + 1 :]
    return "/".join(parts)


def _numbered(names: Sequence[str], index: int) -> str:
    """Return a name, with its number behind it where others before have the same."""
    before = names[:index].count(names[index])
    return f"{names[index]}#{before + 1}" if before else names[index]


class WeightsSuffix(DenseSuffix):
    """Level ``dense`` with faults in the weights of layers.

    Args:
        graph: The model.
        name: The layers, as results name them.
        layers: Addresses, in the order of the model.
        assessment: What is asked of outputs.
    """

    def __init__(
        self, graph: Graph, name: str, layers: Sequence[str], assessment: Assessment
    ) -> None:
        super().__init__(graph, name, graph.cut_around(layers), assessment)
        self.weights = weights_in(graph, layers)
        self.golden = tuple(np.array(weight.variable.numpy()) for weight in self.weights)
        self._on_device = tuple(tf.constant(values) for values in self.golden)

    def draw(self, trial: Trial) -> WeightSites:
        """Draw the sites of a trial; ``variable`` counts within :meth:`chosen`.

        Raises:
            ValueError: The fault or the rate does not fit the variables, or there is none of
                the name.
        """
        fault, rate, variable = trial.cell.fault, trial.cell.rate, trial.cell.variable
        if isinstance(rate, Listed):
            assert rate.weights is not None  # noqa: S101 - the target is weights
            return rate.weights
        chosen = self.chosen(variable)
        if not chosen:
            names = dict.fromkeys(weight.name for weight in self.weights)
            raise ValueError(
                f"there is no weight {variable!r}{nearest(str(variable), names)}; "
                f"expected one of {', '.join(names)}"
            )
        variables = [
            (self.weights[index].elements, fault.choice(self.weights[index].dtype))
            for index in chosen
        ]
        return draw_weights(trial.id, rate, variables)

    def chosen(self, variable: str | None) -> list[int]:
        """Return which of the weights a cell names."""
        return [
            index
            for index, weight in enumerate(self.weights)
            if variable is None or weight.name == variable
        ]

    def corrupted(
        self, sites: WeightSites, fault: Fault, chosen: Sequence[int]
    ) -> dict[int, npt.NDArray[Any]]:
        """Return the values of the weights that change, by their index."""
        found = {}
        starts = sites.words
        stops = np.append(starts[1:], len(sites))
        for place, index in enumerate(chosen):
            mine = np.flatnonzero(sites.variable[starts] == place)
            if not len(mine):
                continue
            here = slice(starts[mine[0]], stops[mine[-1]])
            flat = self.golden[index].reshape(-1).copy()
            element = sites.element[here]
            hits = Hits(
                self.weights[index].dtype, sites.bit[here], sites.draws[here], flat[element]
            )
            words = starts[mine] - starts[mine[0]]
            changes = merged(fault.changes(hits), words)
            place_of_word = element[words]
            flat[place_of_word] = changes.apply(flat[place_of_word])
            found[index] = flat.reshape(self.golden[index].shape)
        return found

    def judge(
        self, block: GoldenBlock, outputs: Any, labels: Any, corrupted: dict[int, Any]
    ) -> Verdict:
        """Run all samples of a block with corrupted weights and judge.

        Args:
            block: Golden tensors that is loaded.
            outputs: What :meth:`golden_outputs` returned.
            labels: [samples or more, ...], of the block's samples.
            corrupted: What :meth:`corrupted` returned.

        Returns:
            Verdicts on the block's samples, NumPy arrays.
        """
        given = tuple(spec_of(one) for one in (outputs, labels))
        parts = self._each_batch("judge", self._judge, block, given, (outputs, labels), corrupted)
        return Verdict.joined(parts).first(block.loaded)

    def outputs(self, block: GoldenBlock, corrupted: dict[int, Any]) -> npt.NDArray[Any]:
        """Return the model's outputs [samples, ...] for all samples of the loaded block."""
        parts = self._each_batch("faulty", self._faulty, block, (), (), corrupted)
        faulty: npt.NDArray[Any] = np.concatenate([part.numpy() for part in parts])
        return faulty[: block.loaded]

    def _each_batch(
        self,
        name: str,
        body: Any,
        block: GoldenBlock,
        signature: tuple[Any, ...],
        given: tuple[Any, ...],
        corrupted: dict[int, Any],
    ) -> list[Any]:
        """Return what a function makes of each batch of the block."""
        weights = tuple(
            tf.constant(corrupted[index]) if index in corrupted else golden
            for index, golden in enumerate(self._on_device)
        )
        function = self._function(name, block, body, *signature, _SCALAR, *map(spec_of, weights))
        frontier = self._frontier(block)

        def run(first: int) -> Any:
            return function(frontier, *given, tf.constant(first, tf.int32), *weights)

        return list(side_by_side(run, range(0, block.loaded, self.batch)))

    @property
    def _beside(self) -> tuple[Any, ...]:
        return self._on_device

    def _judge(self, frontier: Any, golden: Any, labels: Any, first: Any, *weights: Any) -> Verdict:
        rows = self._rows(frontier, first)
        outputs = self._faulty(frontier, first, *weights)
        return self.assessment.verdict(outputs, tf.gather(golden, rows), tf.gather(labels, rows))

    def _faulty(self, frontier: Any, first: Any, *weights: Any) -> Any:
        return self._run(self._gather(frontier, self._rows(frontier, first)), *weights)

    def _run(self, values: Values, *weights: Any) -> Any:
        variables = [weight.variable for weight in self.weights]
        with keras.StatelessScope(state_mapping=list(zip(variables, weights, strict=True))):
            return super()._run(values)


_SCALAR = tf.TensorSpec((), tf.int32)
