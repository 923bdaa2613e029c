"""Injecting into the outputs of one layer, or of several together: drawing, judging, recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from injecttf2 import bits
from injecttf2.errors import ModelError
from injecttf2.evaluation.evaluator import Evaluator, Judge, Judged
from injecttf2.evaluation.faults import OutputFaults, Words
from injecttf2.evaluation.hits import Changed, Hits, change, draw_hits, unchanged
from injecttf2.evaluation.records import Evaluation, Injections, joined
from injecttf2.evaluation.unreached import values_of
from injecttf2.faults.listed import FromFaultList
from injecttf2.judging import Verdict
from injecttf2.trial import Scope, Trial

Index = npt.NDArray[np.int64]

HITS_AT_A_TIME = 2**17
"""Drawn that are drawn before they are evaluated, while those before them are."""

HITS_IN_BLOCKS = 2**22
"""The same where golden data are held in blocks, each of which is loaded once for these hits."""

SITES_AT_A_TIME = 2**22
"""Sites that are drawn before they are evaluated; a hit may have thousands."""


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer that is hit.

    Args:
        name: Name of its tensor.
        dtype: Of its words.
        elements: Elements of one sample.
        segment: The segment that a fault comes in with; None where it does not reach what is
            judged.
    """

    name: str
    dtype: str
    elements: int
    segment: int | None


@dataclass(frozen=True, eq=False)
class _Found:
    """What became of some hits.

    Args:
        verdict: On each.
        original: For each layer the values at its sites before, of its dtype; None where they are
            not asked for.
        changed: For each layer what happens at its sites.
        unknown: For each layer bool [sites], where there is no value: an operation raises before.
    """

    verdict: Verdict
    original: list[npt.NDArray[Any]] | None
    changed: list[Changed]
    unknown: list[npt.NDArray[np.bool_]]


class OutputEvaluator:
    """The outputs of one layer, or of several together, ready for injection.

    Args:
        evaluator: What all layers share.
        scope: The layers.

    Attributes:
        infos: The layers.
        judge: Evaluates samples; level ``dense``, or what has the same outcomes sooner.
        dropped: Samples that left early so far, golden again.
        reevaluated: Samples that a faster level left to level ``dense`` so far.

    Raises:
        ModelError: A layer cannot be injected; the message says why.
    """

    def __init__(self, evaluator: Evaluator, scope: Scope) -> None:
        graph = evaluator.chain.graph
        self.scope = scope
        self.infos = tuple(graph.info(layer) for layer in scope.layers)
        for info in self.infos:
            if info.reason is not None:
                raise ModelError(f"the layer {info.layer!r} cannot be injected: {info.reason}")
        self.dropped = 0
        self.reevaluated = 0
        self.judge: Judge = evaluator.verdict
        self._evaluator = evaluator
        self._samples = len(evaluator.dataset)
        self._layers = [self._layer(info.layer, info.elements or 1) for info in self.infos]
        reached = [one.segment for one in self._layers if one.segment is not None]
        self.first = min(reached, default=len(evaluator.chain))

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes of the layers' outputs."""
        return tuple(one.dtype for one in self._layers)

    @property
    def alone(self) -> tuple[str, int] | None:
        """The tensor and the segment of the only layer; None for several, or an unreached one."""
        if len(self._layers) != 1 or self._layers[0].segment is None:
            return None
        return self._layers[0].name, self._layers[0].segment

    def warm_up(self) -> None:
        """Compile what every trial needs."""
        chain = self._evaluator.chain
        for index in range(self.first, len(chain)):
            mine = tuple(one.name for one in self._layers if one.segment == index)
            chain.function(index, mine)

    def evaluate(self, trials: Sequence[Trial], *, record: bool) -> Evaluation:
        """Evaluate trials.

        Args:
            trials: At least one, all of this scope.
            record: Whether to return the injected sites.

        Raises:
            ModelError: A fault or a rate does not fit the layer.
        """
        parts = self._drawn(trials)
        return joined([self._evaluate(*part, record=record) for part in parts])

    def outputs(self, trial: Trial) -> tuple[Index, npt.NDArray[Any]]:
        """Return the samples that a trial hits, and the model's outputs for them with the fault.

        Returns:
            int64 [injected], ascending, and [injected, ...] in the model's output dtype.
        """
        hits = self._draw([trial])
        faulty = self._evaluator.golden.outputs[hits.sample].copy()
        for chosen, part in self._groups(hits):
            changed, _ = self._changes(part)
            if (faults := self._faults(part, [one.words for one in changed])) is not None:
                found = self._evaluator.outputs([faults])
                faulty = faulty.astype(np.promote_types(faulty.dtype, found.dtype), copy=False)
                faulty[chosen] = found
        if hits.detected is not None and hits.detected.any():
            dtype = faulty.dtype if faulty.dtype.kind == "f" else np.float64
            faulty = faulty.astype(dtype)
            faulty[hits.detected] = np.nan
        return hits.sample, faulty

    def _layer(self, layer: str, elements: int) -> _Layer:
        chain = self._evaluator.chain
        tensor = chain.graph.point(layer).tensor
        reaches = chain.graph.flow.reaches(tensor.name)
        segment = chain.segment_of(tensor.name) if reaches else None
        return _Layer(tensor.name, tensor.dtype.name, elements, segment)

    def _drawn(self, trials: Sequence[Trial]) -> Iterator[tuple[Sequence[Trial], Hits]]:
        """Yield the trials in parts, each with its hits; the next is drawn while one is used."""
        parts = list(self._parts(trials))
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(self._draw, parts[0])
            for part, following in zip(parts, [*parts[1:], None], strict=True):
                drawn = waiting.result()
                if following is not None:
                    waiting = pool.submit(self._draw, following)
                yield part, drawn

    def _draw(self, trials: Sequence[Trial]) -> Hits:
        layers = [(one.elements, one.dtype) for one in self._layers]
        try:
            hits = draw_hits(trials, layers, samples=self._samples)
        except ValueError as error:
            raise ModelError(f"the layer {self.scope.label!r}: {error}") from error
        first, *others = {id(one.cell): one.cell.scope.protection for one in trials}.values()
        if any(one != first for one in others):
            raise ValueError("trials that are evaluated together are under one protection")
        return hits if first is None else hits.under(first, self.scope.layers)

    def _parts(self, trials: Sequence[Trial]) -> Iterator[Sequence[Trial]]:
        """Split trials by the hits that are expected of them."""
        blocks = self._evaluator.blocks(self.first)
        most = HITS_AT_A_TIME if len(blocks) == 1 else HITS_IN_BLOCKS
        start, hits = 0, 0.0
        for index, trial in enumerate(trials):
            expected = self._expected_hits(trial, most)
            if index > start and hits + expected > most:
                yield trials[start:index]
                start, hits = index, 0.0
            hits += expected
        yield trials[start:]

    def _expected_hits(self, trial: Trial, most: int) -> float:
        """Return how many hits to expect of a trial, or more where they have many sites each."""
        fault, rate = trial.cell.fault, trial.cell.rate
        if isinstance(rate, FromFaultList):
            return max(rate.samples, rate.sites * most / SITES_AT_A_TIME)
        hits = sites = 0.0
        for layer in self._layers:
            try:
                choice = fault.choice(layer.dtype)
            except ValueError as error:
                raise ModelError(f"the layer {self.scope.label!r}: {error}") from error
            size = layer.elements * choice.sites
            hits += self._samples * rate.share_hit(self._samples, size)
            sites += rate.expected_sites(self._samples, size)
        return max(hits, sites * most / SITES_AT_A_TIME)

    def _groups(self, hits: Hits) -> Iterator[tuple[Index, Hits]]:
        """Yield hits of a block at a time, their samples as rows of it.

        Each comes with which of all hits they are.
        """
        for start, stop in self._evaluator.blocks(self.first) if len(hits) else ():
            whole = stop - start == self._samples
            inside = (hits.sample >= start) & (hits.sample < stop)
            chosen = np.arange(len(hits)) if whole else np.flatnonzero(inside)
            if len(chosen):
                self._evaluator.load(start, self.first)
            for first in range(0, len(chosen), HITS_AT_A_TIME):
                some = chosen[first : first + HITS_AT_A_TIME]
                part = hits.take(some)
                yield some, replace(part, sample=part.sample - start)

    def _evaluate(self, trials: Sequence[Trial], hits: Hits, *, record: bool) -> Evaluation:
        """Evaluate the hits of some trials."""
        verdict = self._evaluator.golden_verdict(hits.sample)
        rows = [_Rows(len(layer)) for layer in hits.layers] if record else []
        alive = np.arange(len(hits)) if record else hits.alive  # values are recorded of all
        for some, part in self._groups(hits.take(alive)):
            found = self._judged(part, record=record)
            chosen = alive[some]
            for column, values in zip(verdict, found.verdict, strict=True):
                column[chosen] = values
            for number, row in enumerate(rows):
                here = np.isin(hits.layers[number].hit, chosen)
                row.put(here, found, number)
        detected = np.zeros(len(trials), np.int64)
        if hits.detected is not None:
            self._evaluator.stop(verdict, hits.detected)
            detected = np.bincount(hits.trial[hits.detected], minlength=len(trials))
        tallies = self._evaluator.tallies(hits.trial, hits.sample, verdict, trials=len(trials))
        injections = self._injections(hits, verdict, rows) if record else None
        return Evaluation(tallies, hits.sites, injections, detected)

    def _judged(self, hits: Hits, *, record: bool) -> _Found:
        """Evaluate hits of the loaded block."""
        changed, known = self._changes(hits)
        words = [one.words for one in changed]
        unknown = [np.zeros(len(layer), bool) for layer in hits.layers]
        faults = self._faults(hits, words, seen=record)
        if faults is None:
            sample = hits.sample + (self._evaluator.cache.start or 0)
            judged = Judged(self._evaluator.golden_verdict(sample), np.empty(0, np.int64), 0)
        else:
            judged = self.judge([faults])
        self.dropped += judged.dropped
        self.reevaluated += judged.reevaluated
        if not record:
            return _Found(judged.verdict, None, changed, unknown)
        original = self._seen(faults, changed, known)
        if len(judged.raised):
            self._see_what_was_hit(hits, judged.raised, changed, original, unknown)
        return _Found(judged.verdict, original, changed, unknown)

    def _changes(self, hits: Hits) -> tuple[list[Changed], list[npt.NDArray[Any] | None]]:
        """Return what happens at the sites of each layer, and the values there where needed.

        A layer's values are those that the faults of the layers before it leave. Where these make
        an operation raise before, what happens does not matter: the sample is ``due``.
        """
        changed: list[Changed] = []
        known: list[npt.NDArray[Any] | None] = []
        for number, (layer, one) in enumerate(zip(hits.layers, self._layers, strict=True)):
            values = None
            if len(layer) and (layer.needs_values or one.segment is None):
                values = self._values(hits, changed, number)
            changed.append(change(layer, values if layer.needs_values else None))
            known.append(values)
        return changed, known

    def _values(self, hits: Hits, changed: Sequence[Changed], number: int) -> npt.NDArray[Any]:
        """Return the values at the sites of a layer, from the changes of those before it."""
        layer = self._layers[number]
        if layer.segment is None:
            sample = hits.sample + (self._evaluator.cache.start or 0)
            return values_of(self._evaluator, layer.name, sample, hits.layers[number])
        one = unchanged(hits.layers[number])
        later = [unchanged(other) for other in hits.layers[number + 1 :]]
        words = [*(other.words for other in changed), one.words, *(o.words for o in later)]
        faults = self._faults(hits, words, seen=True, until=number)
        assert faults is not None  # noqa: S101 - this layer is among them
        self._evaluator.enter(faults)
        return self._decoded(faults, number)[one.of_site]

    def _faults(
        self,
        hits: Hits,
        words: Sequence[Words],
        *,
        seen: bool = False,
        until: int | None = None,
    ) -> OutputFaults | None:
        """Return hits as they are evaluated; None where no layer reaches what is judged."""
        layers, mine = [], []
        for one, change_of in zip(self._layers, words, strict=True):
            if one.segment is not None:
                layers.append((one.segment, one.name, one.elements))
                mine.append(change_of)
        if not layers:
            return None
        until = None if until is None else self._reached.index(until)
        return OutputFaults(hits.sample.astype(np.int32), mine, layers, seen, until)

    def _decoded(self, faults: OutputFaults, number: int) -> npt.NDArray[Any]:
        """Return the values that the words of a layer held, [words]."""
        return bits.decode(faults.before[self._reached.index(number)], self._layers[number].dtype)

    @property
    def _reached(self) -> list[int]:
        """Which of the layers reach what is judged."""
        return [at for at, one in enumerate(self._layers) if one.segment is not None]

    def _seen(
        self,
        faults: OutputFaults | None,
        changed: Sequence[Changed],
        known: Sequence[npt.NDArray[Any] | None],
    ) -> list[npt.NDArray[Any]]:
        """Return the values at the sites of each layer before their words changed."""
        original = []
        for number, (one, values) in enumerate(zip(changed, known, strict=True)):
            if self._layers[number].segment is not None and faults is not None:
                values = self._decoded(faults, number)[one.of_site]
            elif values is None:
                values = np.empty(0, bits.numpy_dtype(self._layers[number].dtype))
            original.append(values)
        return original

    def _see_what_was_hit(
        self,
        hits: Hits,
        raised: Index,
        changed: Sequence[Changed],
        original: list[npt.NDArray[Any]],
        unknown: list[npt.NDArray[np.bool_]],
    ) -> None:
        """Write the values at sites of samples that raise: from the faults of the layers before.

        Where these alone make an operation raise, there are none.
        """
        part = hits.take(raised)
        for number, layer in enumerate(self._layers):
            if layer.segment is None:
                continue
            before = [
                changed[at].words.take(raised) if at < number else unchanged(one).words
                for at, one in enumerate(part.layers)
            ]
            here = np.isin(hits.layers[number].hit, raised)
            faults = self._faults(part, before, seen=True)
            assert faults is not None  # noqa: S101 - this layer is among them
            failed = self._evaluator.verdict([faults]).raised
            of_site = unchanged(part.layers[number]).of_site
            original[number][here] = self._decoded(faults, number)[of_site]
            unknown[number][here] = np.isin(part.layers[number].hit, failed)

    def _injections(self, hits: Hits, verdict: Verdict, rows: Sequence[_Rows]) -> Injections:
        """Return a row for each site, those of a hit beside each other, layers in their order."""
        hit = np.concatenate([layer.hit for layer in hits.layers])
        order = np.argsort(hit, kind="stable") if len(hits.layers) > 1 else slice(None)
        number = np.repeat(np.arange(len(hits.layers)), [len(layer) for layer in hits.layers])
        hit = hit[order]

        def together(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
            return np.concatenate(parts)[order]

        return Injections(
            trial=hits.trial[hit],
            layer=number[order],
            variable=None,
            sample=hits.sample[hit],
            element=together([layer.element for layer in hits.layers]),
            bit=together([layer.bit for layer in hits.layers]),
            original=together([row.original for row in rows]),
            corrupted=together([row.corrupted for row in rows]),
            outcome=verdict.outcome[hit],
            golden_class=self._evaluator.golden.classes[hits.sample[hit]],
            faulty_class=verdict.faulty_class[hit],
        )


class _Rows:
    """Values at the sites of a layer.

    Args:
        sites: How many there are.
    """

    def __init__(self, sites: int) -> None:
        self.original = np.empty(sites, np.float64)
        self.corrupted = np.empty(sites, np.float64)

    def put(self, here: Any, found: _Found, number: int) -> None:
        """Take in what was at some sites, and what their words become; NaN where not known."""
        assert found.original is not None  # noqa: S101 - it was asked for
        before, changed, unknown = (
            found.original[number],
            found.changed[number],
            found.unknown[number],
        )
        with np.errstate(invalid="ignore"):  # a signalling NaN; casting quiets it
            after = changed.words.changes[changed.of_site].apply(before)
            for column, values in ((self.original, before), (self.corrupted, after)):
                column[here] = np.where(unknown, np.nan, values.astype(np.float64))
