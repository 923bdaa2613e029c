"""Evaluating trials: the vectorised hot path.

The cost is proportional to what is injected: for each block of samples the golden frontier is
computed once, only samples that are hit are evaluated, hits of different trials share batches of
one fixed shape, and flip, suffix and judgement are one compiled function on the device.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from injecttf2 import bits, golden, sites
from injecttf2.block import GoldenUse
from injecttf2.datasets import Dataset
from injecttf2.errors import ModelError
from injecttf2.graph import Graph
from injecttf2.injection import InjectedLayer
from injecttf2.levels import LEVELS
from injecttf2.outcomes import Tallies, count
from injecttf2.routes import Routes
from injecttf2.suffix import PackedSites
from injecttf2.trials import Trial

GOLDEN_BYTES = 2**30
"""Default limit of the golden activations that are kept on the device."""

KEPT_LAYERS = 8
"""Layers whose compiled functions are kept, some tens of megabytes each."""

HITS_AT_A_TIME = 2**17
"""Sites that are drawn before they are evaluated, while those before them are."""

HITS_IN_BLOCKS = 2**22
"""The same where golden data are held in blocks, each of which is loaded once for these sites."""


@dataclass(frozen=True, eq=False)
class Injections:
    """One row for each injected site, in the order of trials, samples ascending.

    Args:
        trial: int64 [sites], index into the trials that were evaluated.
        sample: int64 [sites].
        element: int64 [sites], into the layer's flattened output of one sample.
        bit: int64 [sites].
        original: float64 [sites], the golden value.
        corrupted: float64 [sites], the value with the fault.
        outcome: uint8 [sites], codes of ``outcomes.OUTCOMES``.
        golden_class: int32 [sites].
        faulty_class: int32 [sites], -1 where the outcome is ``due``.
    """

    trial: npt.NDArray[np.int64]
    sample: npt.NDArray[np.int64]
    element: npt.NDArray[np.int64]
    bit: npt.NDArray[np.int64]
    original: npt.NDArray[np.float64]
    corrupted: npt.NDArray[np.float64]
    outcome: npt.NDArray[np.uint8]
    golden_class: npt.NDArray[np.int32]
    faulty_class: npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What some trials of one layer did.

    Args:
        tallies: Counts per trial.
        injections: The sites, where they were asked for.
    """

    tallies: Tallies
    injections: Injections | None


@dataclass(frozen=True, eq=False)
class Drawn:
    """The sites of some trials.

    Args:
        trial: int64 [sites], index into the trials.
        sites: int32 [3, sites]: sample, element, bit.
    """

    trial: npt.NDArray[np.int64]
    sites: PackedSites


class Engine:
    """A model and its data, ready to evaluate trials.

    Args:
        model: A Keras model with one input and one output of class scores.
        dataset: Inputs and labels.
        memory: Bytes of golden activations that are kept on the device.
        levels: Levels of ``levels.LEVELS`` that may be used; none is level ``dense``.
        routes: Where the routes that were found are kept; None keeps them in this engine.

    Attributes:
        golden_use: How often golden data were in place or had to be computed.

    Raises:
        ModelError: The model cannot be walked, or its output has no top-1.
        DatasetError: The golden outputs hold NaN or Inf, or a label is no class of the model.
    """

    def __init__(
        self,
        model: keras.Model,
        dataset: Dataset,
        *,
        memory: int = GOLDEN_BYTES,
        levels: Sequence[str] = LEVELS,
        routes: Routes | None = None,
    ) -> None:
        self.graph = Graph(model, dataset.inputs.shape[1:])
        self.dataset = dataset
        self.golden = golden.run(self.graph, dataset)
        self._memory = memory
        self._levels = levels
        self._routes = Routes() if routes is None else routes
        self._layers: dict[str, InjectedLayer] = {}
        self.golden_use = GoldenUse()

    def prepare(self, layer: str, *, tune: bool = False) -> InjectedLayer:
        """Return a layer with its first golden block loaded and its functions compiled.

        Golden data of the layers used longest ago is released where the memory is needed; of more
        than ``KEPT_LAYERS`` layers, those used longest ago are forgotten.

        Args:
            layer: Address of the layer.
            tune: Whether to find the fastest way now; it is found after some seconds of work else.

        Raises:
            ModelError: There is no such layer, or it cannot be injected.
        """
        if layer in self._layers:
            injected = self._layers.pop(layer)
        else:
            injected = InjectedLayer(
                self.graph,
                layer,
                dataset=self.dataset,
                golden=self.golden,
                memory=self._memory,
                levels=self._levels,
                routes=self._routes,
                use=self.golden_use,
            )
        self._layers[layer] = injected  # used last
        for forgotten in list(self._layers)[:-KEPT_LAYERS]:
            del self._layers[forgotten]
            gc.collect()  # compiled functions hold themselves in reference cycles
        if injected.pays_to_tune or (tune and self._levels and not injected.tuned):
            injected.tune()
        needed = injected.needed_bytes
        others = [other for other in self._layers.values() if other is not injected]
        for other in others:
            held = sum(other.held_bytes for other in others)
            if other.held_bytes and needed + held > self._memory:
                other.release()
        if injected.held_bytes == 0:
            injected.load(0)
            injected.inject(np.zeros((3, 1), np.int32))
        elif injected.loaded is not None:
            injected.load(injected.loaded)
        return injected

    def evaluate(self, trials: Sequence[Trial], *, record: bool = False) -> Evaluation:
        """Evaluate trials of one layer.

        Args:
            trials: At least one trial, all of the same layer and target.
            record: Whether to return the injected sites.

        Raises:
            ModelError: The layer cannot be injected, or a bit lies outside its word.
            ValueError: The trials are of more than one layer.
        """
        layers = {trial.cell.layer for trial in trials}
        if len(layers) != 1:
            raise ValueError(f"trials of one layer are evaluated at a time; received {layers}")
        layer = layers.pop()
        parts = [
            self._evaluate_part(self.prepare(layer), part, drawn, record=record)
            for part, drawn in self._drawn(self.prepare(layer), trials)
        ]
        return parts[0] if len(parts) == 1 else _joined(parts)

    def outputs(self, trial: Trial) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """Return the samples that a trial hits, and the model's outputs for them with the fault.

        Returns:
            int64 [injected], ascending, and [injected, classes] in the model's output dtype.
        """
        injected = self.prepare(trial.cell.layer)
        drawn = self._draw(injected, [trial])
        parts = [self.golden.outputs[:0]]
        for _, packed in self._by_block(injected, drawn.sites):
            parts.append(injected.outputs(packed))
        return drawn.sites[0].astype(np.int64), np.concatenate(parts)

    def _drawn(
        self, injected: InjectedLayer, trials: Sequence[Trial]
    ) -> Iterator[tuple[Sequence[Trial], Drawn]]:
        """Yield the trials in parts, each with its sites; the next is drawn while one is used."""
        parts = list(self._parts(injected, trials))
        with ThreadPoolExecutor(1) as pool:
            drawing = pool.submit(self._draw, injected, parts[0])
            for part, following in zip(parts, [*parts[1:], None], strict=True):
                drawn = drawing.result()
                if following is not None:
                    drawing = pool.submit(self._draw, injected, following)
                yield part, drawn

    def _parts(self, injected: InjectedLayer, trials: Sequence[Trial]) -> Iterator[Sequence[Trial]]:
        """Split trials by the hits that are expected of them."""
        one_block = injected.block >= len(self.dataset)
        most = HITS_AT_A_TIME if one_block else HITS_IN_BLOCKS
        start, hits = 0, 0.0
        for index, trial in enumerate(trials):
            expected = trial.cell.probability * len(self.dataset)
            if index > start and hits + expected > most:
                yield trials[start:index]
                start, hits = index, 0.0
            hits += expected
        yield trials[start:]

    def _evaluate_part(
        self, injected: InjectedLayer, trials: Sequence[Trial], drawn: Drawn, *, record: bool
    ) -> Evaluation:
        sites = drawn.sites
        outcome = np.empty(len(drawn.trial), np.uint8)
        faulty_class = np.empty(len(drawn.trial), np.int32)
        original = np.empty(
            len(drawn.trial) if record else 0, bits.numpy_dtype(injected.info.dtype)
        )
        for chosen, packed in self._by_block(injected, sites):
            judged = injected.inject(packed)
            outcome[chosen] = judged.outcome
            faulty_class[chosen] = judged.faulty_class
            if record:
                original[chosen] = injected.originals(packed)
        golden_class = self.golden.classes[sites[0]]
        tallies = count(
            drawn.trial,
            outcome,
            faulty_class,
            golden_class=golden_class,
            labels=self.dataset.labels[sites[0]],
            trials=len(trials),
            golden_correct=self.golden.correct,
        )
        if not record:
            return Evaluation(tallies, None)
        sample, element, bit = sites.astype(np.int64)
        with np.errstate(invalid="ignore"):  # a flip can make a signalling NaN; casting quiets it
            corrupted = bits.flip(original, bit).astype(np.float64)
        injections = Injections(
            trial=drawn.trial,
            sample=sample,
            element=element,
            bit=bit,
            original=original.astype(np.float64),
            corrupted=corrupted,
            outcome=outcome,
            golden_class=golden_class,
            faulty_class=faulty_class,
        )
        return Evaluation(tallies, injections)

    def _draw(self, injected: InjectedLayer, trials: Sequence[Trial]) -> Drawn:
        """Draw the sites of all trials."""
        drawn = [
            sites.draw(
                trial.id,
                samples=len(self.dataset),
                elements=injected.elements,
                candidates=self._candidates(trial, injected),
                probability=trial.cell.probability,
            )
            for trial in trials
        ]
        hits = np.array([len(one) for one in drawn])
        columns = np.empty((3, hits.sum()), np.int32)
        np.concatenate([one.sample for one in drawn], out=columns[0], casting="same_kind")
        np.concatenate([one.element for one in drawn], out=columns[1], casting="same_kind")
        np.concatenate([one.bit for one in drawn], out=columns[2], casting="same_kind")
        return Drawn(np.repeat(np.arange(len(drawn)), hits), columns)

    def _by_block(
        self, injected: InjectedLayer, drawn: PackedSites
    ) -> Iterator[tuple[npt.NDArray[np.int64] | slice, PackedSites]]:
        """Yield for each block, once it is loaded, which sites lie in it and those sites.

        The block that is loaded comes first.
        """
        if injected.block >= len(self.dataset):
            injected.load(0)
            if drawn.shape[1]:
                yield slice(None), drawn
            return
        starts = range(0, len(self.dataset), injected.block)
        for start in sorted(starts, key=lambda start: start != injected.loaded):
            chosen = np.flatnonzero((drawn[0] >= start) & (drawn[0] < start + injected.block))
            if len(chosen):
                injected.load(start)
                packed = drawn[:, chosen]
                packed[0] -= start
                yield chosen, packed

    def _candidates(self, trial: Trial, injected: InjectedLayer) -> range:
        try:
            return trial.cell.fault.candidates(injected.info.dtype)
        except ValueError as error:
            raise ModelError(f"the layer {injected.layer!r}: {error}") from error


def _joined(parts: Sequence[Evaluation]) -> Evaluation:
    """Return evaluations of consecutive trials as one."""
    tallies = Tallies(
        **{
            field.name: np.concatenate([getattr(part.tallies, field.name) for part in parts])
            for field in fields(Tallies)
        }
    )
    recorded = [part.injections for part in parts if part.injections is not None]
    if not recorded:
        return Evaluation(tallies, None)
    columns: dict[str, Any] = {
        field.name: np.concatenate([getattr(part, field.name) for part in recorded])
        for field in fields(Injections)
    }
    offsets = np.cumsum([0] + [len(part.tallies) for part in parts[:-1]])
    columns["trial"] = np.concatenate(
        [part.trial + offset for part, offset in zip(recorded, offsets, strict=True)]
    )
    return Evaluation(tallies, Injections(**columns))
