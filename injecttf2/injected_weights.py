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
from injecttf2.variables import weights_of
from injecttf2.weights import WeightsSuffix

SAMPLES_IN_BLOCKS = 2**22
"""Samples, counted for each trial, whose verdicts are held while golden blocks come and go."""


class InjectedWeights(Injected):
    """The weights of one layer, or of several together, ready for injection.

    Args:
        shared: What all layers of the engine share.
        scope: The layers.

    Raises:
        ModelError: A layer has no weights that inference reads.
    """

    _suffix: WeightsSuffix

    def __init__(self, shared: Shared, scope: Scope) -> None:
        for layer in scope.layers:
            if not weights_of(shared.graph, layer):
                raise ModelError(f"the layer {layer!r} has no weights that inference reads")
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
        several = self.block < len(self._shared.dataset)
        count = max(1, SAMPLES_IN_BLOCKS // len(self._shared.dataset)) if several else 1
        parts = (trials[first : first + count] for first in range(0, len(trials), count))
        return joined([one for part in parts for one in self._evaluate(part, record=record)])

    def outputs(self, trial: Trial) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """Return all samples, and the model's outputs for them with the fault."""
        corrupted = self._corrupted(trial, self._draw(trial))
        faulty = np.empty_like(self._shared.golden.outputs)
        for start, stop in self.bounds:
            self.load(start)
            hits = self._suffix.hits(self._rows, corrupted)
            faulty[start:stop] = self._suffix.outputs(self._block, hits)
        return np.arange(len(faulty)), faulty

    def _evaluate(self, trials: Sequence[Trial], *, record: bool) -> list[Evaluation]:
        """Evaluate trials, each golden block loaded once for all of them."""
        sites = [self._draw(trial) for trial in trials]
        found: list[dict[int, Verdict]] = [{} for _ in trials]
        for start, _ in self.bounds if any(map(len, sites)) else ():
            self.load(start)
            for trial, drawn, verdicts in zip(trials, sites, found, strict=True):
                if len(drawn):
                    hits = self._suffix.hits(self._rows, self._corrupted(trial, drawn))
                    verdicts[start] = self.inject(hits)
        return [
            self._evaluation(*one, record=record) for one in zip(trials, sites, found, strict=True)
        ]

    def _evaluation(
        self, trial: Trial, sites: WeightSites, verdicts: dict[int, Verdict], *, record: bool
    ) -> Evaluation:
        """Return what became of a trial; without any site it injects into no sample.

        Args:
            trial: The trial.
            sites: Its sites.
            verdicts: By the first sample of the block, in any order; none without sites.
            record: Whether the injected sites are asked for.
        """
        shared = self._shared
        samples = np.arange(len(shared.dataset) if len(sites) else 0)
        verdict = shared.golden.verdict.first(0)
        if verdicts:
            verdict = Verdict.joined([verdicts[start] for start in sorted(verdicts)])
        tallies = shared.tallies(np.zeros(len(samples), np.int64), samples, verdict, trials=1)
        injections = None
        if record:
            injections = self._injections(trial, sites, self._corrupted(trial, sites), verdict)
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
