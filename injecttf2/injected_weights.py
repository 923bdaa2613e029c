"""Injecting into the weights of one layer, or of several together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from injecttf2.errors import ModelError
from injecttf2.evaluation import Evaluation, Injections, joined
from injecttf2.injected import Injected, Shared
from injecttf2.judges import Verdict
from injecttf2.sites import WeightSites
from injecttf2.trials import Scope, Trial
from injecttf2.weights import WeightsSuffix, weights_of


class InjectedWeights(Injected):
    """The weights of one layer, or of several together, ready for injection.

    Args:
        shared: What all layers of the engine share.
        scope: The layers.

    Raises:
        ModelError: A layer has no weights.
    """

    _suffix: WeightsSuffix

    def __init__(self, shared: Shared, scope: Scope) -> None:
        for layer in scope.layers:
            if not weights_of(shared.graph, layer):
                raise ModelError(f"the layer {layer!r} has no weights")
        suffix = WeightsSuffix(shared.graph, scope.layer, scope.layers, shared.assessment)
        super().__init__(shared, scope, suffix)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes of the weights."""
        return tuple(dict.fromkeys(weight.dtype for weight in self._suffix.weights))

    def warm_up(self) -> None:
        """Compile what every trial needs; a block is loaded."""
        self.inject(self._suffix.hits(np.zeros(1, np.int32), {}))

    def evaluate(self, trials: Sequence[Trial], *, record: bool) -> Evaluation:
        """Evaluate trials; see :class:`Injected`."""
        return joined([self._evaluate(trial, record=record) for trial in trials])

    def outputs(self, trial: Trial) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """Return all samples, and the model's outputs for them with the fault."""
        corrupted = self._corrupted(trial, self._draw(trial))
        faulty = np.empty_like(self._shared.golden.outputs)
        for start, stop in self.bounds:
            self.load(start)
            hits = self._suffix.hits(self._rows, corrupted)
            faulty[start:stop] = self._suffix.outputs(self._block, hits)
        return np.arange(len(faulty)), faulty

    def _evaluate(self, trial: Trial, *, record: bool) -> Evaluation:
        """Evaluate one trial; without any site it injects into no sample."""
        shared = self._shared
        sites = self._draw(trial)
        samples = np.arange(len(shared.dataset) if len(sites) else 0)
        corrupted = self._corrupted(trial, sites)
        parts: dict[int, Verdict] = {}
        for start, _ in self.bounds if len(sites) else ():
            self.load(start)
            parts[start] = self.inject(self._suffix.hits(self._rows, corrupted))
        verdict = shared.golden.verdict.first(0)
        if parts:
            verdict = Verdict.joined([parts[start] for start in sorted(parts)])
        tallies = shared.tallies(np.zeros(len(samples), np.int64), samples, verdict, trials=1)
        injections = self._injections(trial, sites, corrupted, verdict) if record else None
        return Evaluation(tallies, np.array([len(sites)]), injections)

    @property
    def _rows(self) -> npt.NDArray[np.int32]:
        """All rows of the block that is loaded."""
        return np.arange(self._block.loaded, dtype=np.int32)

    def _draw(self, trial: Trial) -> WeightSites:
        try:
            return self._suffix.draw(trial)
        except ValueError as error:
            raise ModelError(f"the weights of {self.layer!r}: {error}") from error

    def _corrupted(self, trial: Trial, sites: WeightSites) -> dict[int, npt.NDArray[Any]]:
        chosen = self._suffix.chosen(trial.cell.variable)
        return self._suffix.corrupted(sites, trial.cell.fault, chosen)

    def _injections(
        self,
        trial: Trial,
        sites: WeightSites,
        corrupted: dict[int, npt.NDArray[Any]],
        verdict: Verdict,
    ) -> Injections:
        """Return a row for each sample and site, those of a sample beside each other."""
        chosen = np.array(self._suffix.chosen(trial.cell.variable))
        weight = chosen[sites.variable]
        samples, count = len(verdict.outcome), len(sites)
        original, changed = (
            np.array([array[one].flat[at] for one, at in zip(weight, sites.element, strict=True)])
            for array in (self._suffix.golden, corrupted)
        )
        weights = self._suffix.weights
        names = np.array([weights[one].name for one in weight], object)
        layer = np.array([self.scope.layers.index(weights[one].layer) for one in weight], np.int64)

        def each_sample(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return np.tile(column, samples)

        def each_site(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return np.repeat(column, count)

        with np.errstate(invalid="ignore"):  # a signalling NaN; casting quiets it
            values = [column.astype(np.float64) for column in (original, changed)]
        return Injections(
            trial=np.zeros(samples * count, np.int64),
            layer=each_sample(layer),
            variable=each_sample(names),
            sample=each_site(np.arange(samples)),
            element=each_sample(sites.element),
            bit=each_sample(sites.bit),
            original=each_sample(values[0]),
            corrupted=each_sample(values[1]),
            outcome=each_site(verdict.outcome),
            golden_class=each_site(self._shared.golden.classes[:samples]),
            faulty_class=each_site(verdict.faulty_class),
        )
