"""Injecting into the weights of one layer, or of several together.

A trial's fault holds for the whole data set. Variables are never touched: corrupted copies go into
the functions in the place of what is read of them, so that nothing has to be restored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.config.spelling import nearest
from injecttf2.errors import ModelError
from injecttf2.evaluation.evaluator import Evaluator, Judge
from injecttf2.evaluation.faults import WeightFaults
from injecttf2.evaluation.records import Evaluation, Injections, joined
from injecttf2.faults.fault_model import FaultedElements
from injecttf2.faults.listed import FromFaultList
from injecttf2.faults.masks import merged
from injecttf2.graph.weights import reason_of, users_of_weights, weights_in, weights_of
from injecttf2.judging import Verdict
from injecttf2.protections import WordSites
from injecttf2.sampling.rates import DrawnRate
from injecttf2.sampling.sites import WeightSites, draw_weights, place_in_weights
from injecttf2.trial import WEIGHTS, Scope, Trial

Corrupted = Mapping[int, npt.NDArray[Any]]
"""The values of the weights that change, by their index."""


class _Drawn(NamedTuple):
    """The sites of a trial and what protects from them.

    Args:
        sites: The sites.
        corrected: bool [sites], those without effect.
        detected: Whether a protection stops the system.
    """

    sites: WeightSites
    corrected: npt.NDArray[np.bool_]
    detected: bool


SAMPLES_IN_BLOCKS = 2**22
"""Samples, counted for each trial, whose verdicts are held while golden blocks come and go."""


class WeightEvaluator:
    """The weights of one layer, or of several together, ready for injection.

    Args:
        evaluator: What all layers share.
        scope: The layers.

    Attributes:
        infos: The layers.
        judge_of: Returns what evaluates samples, from the names of what is read of the variables
            that are hit; level ``dense``, or what has the same outcomes sooner.
        dropped: Samples that left early so far, golden again.
        reevaluated: Samples that a faster level left to level ``dense`` so far.

    Raises:
        ModelError: A layer has no weights that inference reads, or a fault cannot reach them.
    """

    def __init__(self, evaluator: Evaluator, scope: Scope) -> None:
        graph = evaluator.chain.graph
        self.scope = scope
        self.infos = tuple(graph.info(layer) for layer in scope.layers)
        for layer in scope.layers:
            if not weights_of(graph, layer):
                raise ModelError(f"the layer {layer!r} has no weights that inference reads")
            if (reason := reason_of(graph, layer)) is not None:
                raise ModelError(f"the weights of the layer {layer!r} cannot be injected: {reason}")
        self.dropped = 0
        self.reevaluated = 0
        self.judge_of: Callable[[Sequence[str]], Judge] = lambda _: evaluator.verdict
        self._evaluator = evaluator
        self._weights = weights_in(graph, scope.layers)
        self._golden = tuple(np.array(weight.variable.read()) for weight in self._weights)
        self._reads = tuple(graph.reading.read[one.variable.key] for one in self._weights)
        # Of a variable that another output depends on, nothing reaches what is judged.
        used = ((at, evaluator.chain.readers(names)) for at, names in enumerate(self._reads))
        self._bounds = {at: bounds for at, bounds in used if bounds is not None}
        firsts = (first for first, _ in self._bounds.values())
        self.first = min(firsts, default=len(evaluator.chain))

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes of the weights."""
        return tuple(dict.fromkeys(weight.dtype for weight in self._weights))

    @cached_property
    def _users(self) -> Mapping[int, tuple[str, ...]]:
        """The layers that compute with each variable."""
        return users_of_weights(self._evaluator.chain.graph)

    def warm_up(self) -> None:
        """Compile what every trial needs."""
        for index in range(self.first, len(self._evaluator.chain)):
            self._evaluator.chain.function(index)

    def evaluate(self, trials: Sequence[Trial], *, record: bool) -> Evaluation:
        """Evaluate trials.

        Args:
            trials: At least one, all of this scope.
            record: Whether to return the injected sites.

        Raises:
            ModelError: A fault or a rate does not fit the weights.
        """
        samples = len(self._evaluator.dataset)
        several = len(self._evaluator.blocks(self.first)) > 1
        count = max(1, SAMPLES_IN_BLOCKS // samples) if several else len(trials)
        parts = (trials[first : first + count] for first in range(0, len(trials), count))
        return joined([one for part in parts for one in self._evaluate(part, record=record)])

    def outputs(self, trial: Trial) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """Return all samples, and the model's outputs for them with the fault."""
        drawn = self._draw(trial)
        corrupted = self._corrupted(trial, drawn)
        if drawn.detected:
            golden = self._evaluator.golden.outputs
            dtype = golden.dtype if golden.dtype.kind == "f" else np.float64
            return np.arange(len(golden)), np.full(golden.shape, np.nan, dtype)
        if self._bounds.keys().isdisjoint(corrupted):
            return np.arange(len(self._evaluator.dataset)), self._evaluator.golden.outputs
        found = []
        for start, stop in sorted(self._evaluator.blocks(self.first)):
            self._evaluator.load(start, self.first)
            found.append(self._evaluator.outputs([self._faults(corrupted, stop - start)]))
        faulty = np.concatenate(found)
        return np.arange(len(faulty)), faulty

    def _evaluate(self, trials: Sequence[Trial], *, record: bool) -> list[Evaluation]:
        """Evaluate trials, each golden block loaded once for all of them."""
        drawn = [self._draw(trial) for trial in trials]
        corrupted = [self._corrupted(*one) for one in zip(trials, drawn, strict=True)]
        found: list[dict[int, Verdict]] = [{} for _ in trials]
        hit = []
        for at, one in enumerate(drawn):
            if corrupted[at] and not one.detected:
                hit.append(at)
            elif len(one.sites) and not one.detected:  # all of it corrected
                samples = np.arange(len(self._evaluator.dataset))
                found[at][0] = self._evaluator.golden_verdict(samples)
        for start, stop in self._evaluator.blocks(self.first) if hit else ():
            self._evaluator.load(start, self.first)
            for variables, together in self._groups(hit, corrupted).items():
                if not variables:
                    golden = self._evaluator.golden_verdict(np.arange(start, stop))
                    for at in together:
                        found[at][start] = golden
                    continue
                faults = [self._faults(corrupted[at], stop - start) for at in together]
                judged = self.judge_of(list(faults[0].reads))(faults)
                self.dropped += judged.dropped
                self.reevaluated += judged.reevaluated
                for number, at in enumerate(together):
                    mine = slice(number * (stop - start), (number + 1) * (stop - start))
                    found[at][start] = Verdict(*(column[mine] for column in judged.verdict))
        return [
            self._evaluation(*one, record=record)
            for one in zip(trials, drawn, corrupted, found, strict=True)
        ]

    def _groups(
        self, trials: Sequence[int], corrupted: Sequence[Corrupted]
    ) -> Mapping[tuple[int, ...], list[int]]:
        """Return trials whose samples travel together, by the variables that they hit.

        Variables that do not reach what is judged do not count.
        """
        found: dict[tuple[int, ...], list[int]] = {}
        for at in trials:
            reached = tuple(index for index in sorted(corrupted[at]) if index in self._bounds)
            found.setdefault(reached, []).append(at)
        return found

    def _faults(self, corrupted: Corrupted, samples: int) -> WeightFaults:
        """Return samples with wrong weights, of which some reach what is judged."""
        reached = [index for index in corrupted if index in self._bounds]
        reads = {
            name: tf.constant(corrupted[index]) for index in reached for name in self._reads[index]
        }
        bounds = [self._bounds[index] for index in reached]
        first, last = min(first for first, _ in bounds), max(last for _, last in bounds)
        return WeightFaults(np.arange(samples, dtype=np.int32), reads, first, last)

    def _evaluation(
        self,
        trial: Trial,
        drawn: _Drawn,
        corrupted: Corrupted,
        verdicts: Mapping[int, Verdict],
        *,
        record: bool,
    ) -> Evaluation:
        """Return what became of a trial; without any site it injects into no sample.

        Args:
            trial: The trial.
            drawn: Its sites.
            corrupted: The weights that change.
            verdicts: By the first sample of the block, in any order; none without sites, and where
                a protection stops the system.
            record: Whether the injected sites are asked for.
        """
        evaluator, sites = self._evaluator, drawn.sites
        samples = np.arange(len(evaluator.dataset) if len(sites) else 0)
        verdict = evaluator.golden.verdict.first(0)
        if verdicts:
            verdict = Verdict.joined([verdicts[start] for start in sorted(verdicts)])
        elif drawn.detected:
            verdict = evaluator.golden_verdict(samples)
            evaluator.stop(verdict, samples)
        tallies = evaluator.tallies(np.zeros(len(samples), np.int64), samples, verdict, trials=1)
        injections = None
        if record:
            injections = self._injections(trial, sites, corrupted, verdict)
        detected = np.array([len(samples) if drawn.detected else 0])
        return Evaluation(tallies, np.array([len(sites)]), injections, detected)

    def _draw(self, trial: Trial) -> _Drawn:
        """Draw the sites of a trial; ``variable`` counts within those that its cell names."""
        sites = self._sites(trial)
        corrected, detected = np.zeros(len(sites), np.bool_), False
        if (protection := trial.cell.scope.protection) is None:
            return _Drawn(sites, corrected, detected)
        chosen = self._chosen(trial.cell.variable)
        for place in np.unique(sites.variable):
            mine, weight = sites.variable == place, self._weights[chosen[place]]
            columns = (one[mine] for one in (sites.variable, sites.element, sites.bit))
            layers = self._users[weight.variable.key]
            fates = protection.fates(WordSites(layers, WEIGHTS, weight.dtype, *columns))
            if fates is not None:
                corrected[mine] = fates.corrected
                detected |= bool(fates.detected.any())
        return _Drawn(sites, corrected, detected)

    def _sites(self, trial: Trial) -> WeightSites:
        fault, rate, variable = trial.cell.fault, trial.cell.rate, trial.cell.variable
        if isinstance(rate, FromFaultList):
            assert rate.weights is not None  # noqa: S101 - the target is weights
            return rate.weights
        chosen = self._chosen(variable)
        try:
            if not chosen:
                names = dict.fromkeys(weight.name for weight in self._weights)
                raise ValueError(
                    f"there is no weight {variable!r}{nearest(str(variable), names)}; "
                    f"expected one of {', '.join(names)}"
                )
            variables = [
                (self._weights[index].elements, fault.choice(self._weights[index].dtype))
                for index in chosen
            ]
            if isinstance(rate, DrawnRate):
                return draw_weights(trial.key, rate, variables)
            return place_in_weights(trial.repetition, variables)
        except ValueError as error:
            raise ModelError(f"the weights of {self.scope.label!r}: {error}") from error

    def _chosen(self, variable: str | None) -> list[int]:
        """Return which of the weights a cell names."""
        return [
            index
            for index, weight in enumerate(self._weights)
            if variable is None or weight.name == variable
        ]

    def _corrupted(self, trial: Trial, drawn: _Drawn) -> dict[int, npt.NDArray[Any]]:
        """Return the values of the weights that a trial changes."""
        found, sites = {}, drawn.sites
        starts = sites.words
        stops = np.append(starts[1:], len(sites))
        for place, index in enumerate(self._chosen(trial.cell.variable)):
            mine = np.flatnonzero(sites.variable[starts] == place)
            if not len(mine):
                continue
            here = slice(starts[mine[0]], stops[mine[-1]])
            if drawn.corrected[here].all():
                continue
            flat = self._golden[index].reshape(-1).copy()
            element = sites.element[here]
            dtype = self._weights[index].dtype
            hits = FaultedElements(dtype, sites.bit[here], sites.draws[here], flat[element])
            words = starts[mine] - starts[mine[0]]
            changes = merged(trial.cell.fault.changes(hits).but(drawn.corrected[here]), words)
            place_of_word = element[words]
            flat[place_of_word] = changes.apply(flat[place_of_word])
            found[index] = flat.reshape(self._golden[index].shape)
        return found

    def _injections(
        self, trial: Trial, sites: WeightSites, corrupted: Corrupted, verdict: Verdict
    ) -> Injections:
        """Return a row for each sample and site, those of a sample beside each other."""
        chosen = np.array(self._chosen(trial.cell.variable))
        weight = chosen[sites.variable]
        samples, count = len(verdict.outcome), len(sites)
        golden = dict(enumerate(self._golden))
        original, changed = (
            np.array([array[one].flat[at] for one, at in zip(weight, sites.element, strict=True)])
            for array in (golden, {**golden, **corrupted})
        )
        weights = self._weights
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
            golden_class=each_site(self._evaluator.golden.classes[:samples]),
            faulty_class=each_site(verdict.faulty_class),
        )
