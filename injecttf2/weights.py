"""Faults in weights: a trial's fault holds for the whole data set.

The variables themselves are never touched. The steps run with corrupted copies in their place, by
``keras.StatelessScope``, so that nothing has to be restored, whatever happens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2 import bits
from injecttf2.batches import batches, padded
from injecttf2.changes import flipping, merged
from injecttf2.channels import ChannelPath, channel_of, has_channels
from injecttf2.errors import ModelError
from injecttf2.fault_model import Fault, Hits
from injecttf2.graph import Graph, Values
from injecttf2.judges import Assessment
from injecttf2.listed import Listed
from injecttf2.parts import Part
from injecttf2.path import Path
from injecttf2.rates import Exhaustive
from injecttf2.sites import WeightSites, draw_weights, place_in_weights
from injecttf2.suffix import DenseSuffix
from injecttf2.suggest import nearest
from injecttf2.trials import Trial
from injecttf2.variables import weights_in

RANDOM_FAULTS = 16
"""Random faults that ways are measured with; a single one says little of the others."""


@dataclass(frozen=True, eq=False)
class WeightHits:
    """Samples to run with corrupted weights.

    Args:
        rows: int32 [samples], their rows in the golden block.
        weights: All weights of the layers, on the device.
        channel: What :func:`channels.channel_of` says of them; None where it says nothing.
    """

    rows: npt.NDArray[np.int32]
    weights: tuple[Any, ...]
    channel: tuple[Any, ...] | None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def is_single(self) -> bool:
        """Whether one weight changed, of a layer whose channels are known."""
        return self.channel is not None

    @property
    def shared(self) -> tuple[Any, ...]:
        """The channel that is wrong."""
        assert self.channel is not None  # noqa: S101 - by the caller, for the type checker
        return self.channel

    def take(self, index: npt.NDArray[np.int64]) -> WeightHits:
        """Return the samples at ``index``, ascending."""
        return replace(self, rows=self.rows[index])

    def singles(self, size: int) -> Iterator[list[Any]]:
        """Yield batches of rows, int32 [size]."""
        for start, stop in batches(len(self), size):
            yield [tf.constant(padded(self.rows[start:stop], size))]


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
        super().__init__(graph, name, graph.cut_of(layers, weights=True), assessment)
        self.weights = weights_in(graph, layers)
        self.golden = tuple(np.array(weight.variable.numpy()) for weight in self.weights)
        self._on_device = tuple(tf.constant(values) for values in self.golden)
        self._has_channels = len(layers) == 1 and has_channels(graph, name)

    @property
    def key(self) -> str:
        """The address of the layer, and what is wrong in it."""
        return f"{self.layer} (weights)"

    def path(self, sparse: int | None) -> Path:
        """Return the steps behind the layer."""
        return ChannelPath(self._graph, self.layer, sparse)

    def random_faults(self, count: int, samples: int) -> list[WeightHits]:
        """Return faults of one bit of one weight each, as many samples in each."""
        generator = np.random.Generator(np.random.Philox(0))
        sizes = np.array([weight.elements for weight in self.weights])
        faults = []
        for _ in range(RANDOM_FAULTS):
            index = int(generator.choice(len(sizes), p=sizes / sizes.sum()))
            corrupted = self.golden[index].copy()
            place = np.unravel_index(generator.integers(sizes[index]), corrupted.shape)
            bit = generator.integers(bits.layout(str(corrupted.dtype)).width, size=1)
            corrupted[place] = flipping(bits.masks(bit, str(corrupted.dtype))).apply(
                corrupted[place][np.newaxis]
            )[0]
            rows = generator.integers(samples, size=-(-count // RANDOM_FAULTS)).astype(np.int32)
            faults.append(self.hits(rows, {index: corrupted}))
        return faults

    def hits(
        self, rows: npt.NDArray[np.int32], corrupted: Mapping[int, npt.NDArray[Any]]
    ) -> WeightHits:
        """Return some rows of the golden block to be run with corrupted weights.

        Args:
            rows: int32 [samples].
            corrupted: What :meth:`corrupted` returned.
        """
        weights = tuple(
            tf.constant(corrupted[index]) if index in corrupted else golden
            for index, golden in enumerate(self._on_device)
        )
        channel = None
        if self._has_channels and len(corrupted) == 1:
            ((index, values),) = corrupted.items()
            channel = channel_of(self.golden, index, values)
        return WeightHits(rows, weights, channel)

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
        if isinstance(rate, Exhaustive):
            return place_in_weights(trial.repetition, variables)
        return draw_weights(trial.key, rate, variables)

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

    def faultless(self, hits: WeightHits) -> WeightHits:
        """Return the first sample with golden weights."""
        return self.hits(hits.rows[:1], {})

    def _batch(self, part: Part) -> tuple[Any, tuple[int, ...]]:
        hits: WeightHits = part.hits
        rows = np.full(self.batch, hits.rows[0])  # one that raises only where one of them does
        rows[part.place] = hits.rows
        return (tf.constant(rows), hits.weights), ()

    def _check_compiled(self, function: Any) -> None:
        """See that no weight is read past the scope, whose values alone may hold faults.

        Raises:
            ModelError: One is, as by a ``tf.function`` that was traced before.
        """
        read = {id(variable) for variable in function.variables}
        for weight in self.weights:
            if id(weight.variable.value) in read:
                raise ModelError(
                    f"the weight {weight.name!r} of {self.layer!r} is read in a function that was "
                    "compiled before, which a fault cannot reach",
                    hint="take @tf.function off the layer's or the model's call; the whole is "
                    "compiled anyway",
                )

    @property
    def _beside(self) -> tuple[Any, ...]:
        return self._on_device

    def _faulty(self, frontier: Any, batch: Any) -> Any:
        rows, weights = batch
        return self._run(self._gather(frontier, rows), *weights)

    def _run(self, values: Values, *weights: Any) -> Any:
        variables = [weight.variable for weight in self.weights]
        state = zip(variables, weights, strict=True)
        return self._graph.run(self.cut.suffix, values, state=state)[id(self._graph.output)]
