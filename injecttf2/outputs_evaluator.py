"""Evaluating trials in outputs: drawing, block by block, counting and recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from injecttf2.drawn import Before, Changed, Drawn, Index, draw, packed
from injecttf2.errors import ModelError
from injecttf2.evaluation import Evaluation, Injections
from injecttf2.injected import Shared
from injecttf2.judges import Verdict
from injecttf2.listed import Listed
from injecttf2.sites import expected_sites, share_hit
from injecttf2.trials import Trial

if TYPE_CHECKING:
    from injecttf2.injection import InjectedOutputs

HITS_AT_A_TIME = 2**17
"""Hits that are drawn before they are evaluated, while those before them are."""

HITS_IN_BLOCKS = 2**22
"""The same where golden data are held in blocks, each of which is loaded once for these hits."""


SITES_AT_A_TIME = 2**22
"""Sites that are drawn before they are evaluated; a hit may have thousands."""


class OutputsEvaluator:
    """Evaluates trials of one scope.

    Args:
        injected: The layers.
        shared: What all layers of the engine share.
    """

    def __init__(self, injected: InjectedOutputs, shared: Shared) -> None:
        self._injected = injected
        self._shared = shared
        self._samples = len(shared.dataset)
        self._layers = [(info.elements or 1, info.dtype) for info in injected.infos]

    def drawn(self, trials: Sequence[Trial]) -> Iterator[tuple[Sequence[Trial], Drawn]]:
        """Yield the trials in parts, each with its hits; the next is drawn while one is used.

        Raises:
            ModelError: A fault or a rate does not fit the layer.
        """
        parts = list(self._parts(trials))
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(self.draw, parts[0])
            for part, following in zip(parts, [*parts[1:], None], strict=True):
                drawn = waiting.result()
                if following is not None:
                    waiting = pool.submit(self.draw, following)
                yield part, drawn

    def draw(self, trials: Sequence[Trial]) -> Drawn:
        """Draw the sites of all trials.

        Raises:
            ModelError: A fault or a rate does not fit the layer.
        """
        try:
            return draw(trials, self._layers, samples=self._samples)
        except ValueError as error:
            raise ModelError(f"the layer {self._injected.layer!r}: {error}") from error

    def by_block(self, drawn: Drawn) -> Iterator[tuple[Index | slice, Drawn]]:
        """Load each block that is hit, and yield which hits lie in it, and those.

        Their samples are counted from the start of the block.
        """
        injected = self._injected
        if injected.block >= self._samples:
            injected.load(0)
            if len(drawn):
                yield slice(None), drawn
            return
        for start, stop in injected.bounds:
            chosen = np.flatnonzero((drawn.sample >= start) & (drawn.sample < stop))
            if len(chosen):
                injected.load(start)
                part = drawn.take(chosen)
                yield chosen, replace(part, sample=part.sample - start)

    def evaluate(self, trials: Sequence[Trial], drawn: Drawn, *, record: bool) -> Evaluation:
        """Evaluate the hits of some trials."""
        found: list[tuple[Index | slice, Verdict]] = []
        rows = [_LayerRows(len(layer)) for layer in drawn.layers] if record else []
        for chosen, part in self.by_block(drawn):
            changed, values = self._injected.changes(part, record=record)
            found.append((chosen, self._injected.inject(packed(part, changed))))
            for row, layer, one, before in zip(rows, drawn.layers, changed, values, strict=False):
                if before is not None:
                    here = chosen if isinstance(chosen, slice) else np.isin(layer.hit, chosen)
                    row.put(here, one, before)
        verdict = self._in_order(found)
        tallies = self._shared.tallies(drawn.trial, drawn.sample, verdict, trials=len(trials))
        injections = self._injections(drawn, verdict, rows) if record else None
        return Evaluation(tallies, drawn.sites, injections)

    def _parts(self, trials: Sequence[Trial]) -> Iterator[Sequence[Trial]]:
        """Split trials by the hits that are expected of them."""
        start, hits = 0, 0.0
        for index, trial in enumerate(trials):
            expected = self._expected_hits(trial)
            if index > start and hits + expected > self._most:
                yield trials[start:index]
                start, hits = index, 0.0
            hits += expected
        yield trials[start:]

    @property
    def _most(self) -> int:
        return HITS_AT_A_TIME if self._injected.block >= self._samples else HITS_IN_BLOCKS

    def _expected_hits(self, trial: Trial) -> float:
        """Return how many hits to expect of a trial, or more where they have many sites each."""
        fault, rate = trial.cell.fault, trial.cell.rate
        if isinstance(rate, Listed):
            return max(rate.samples, rate.sites * self._most / SITES_AT_A_TIME)
        try:
            choices = [fault.choice(dtype) for _, dtype in self._layers]
        except ValueError as error:
            raise ModelError(f"the layer {self._injected.layer!r}: {error}") from error
        shares = (
            share_hit(rate, choice, samples=self._samples, elements=elements)
            for choice, (elements, _) in zip(choices, self._layers, strict=True)
        )
        hits = self._samples * sum(shares)
        sites = sum(
            expected_sites(rate, choice, samples=self._samples, elements=elements)
            for choice, (elements, _) in zip(choices, self._layers, strict=True)
        )
        return max(hits, sites * self._most / SITES_AT_A_TIME)

    def _in_order(self, found: Sequence[tuple[Index | slice, Verdict]]) -> Verdict:
        """Return the verdicts on all hits, from those on the hits of each block."""
        if len(found) < 2:
            return found[0][1] if found else self._shared.golden.verdict.first(0)
        joined = Verdict.joined([verdict for _, verdict in found])
        order = np.argsort(np.concatenate([np.asarray(chosen) for chosen, _ in found]))
        return Verdict(*(None if column is None else column[order] for column in joined))

    def _injections(self, drawn: Drawn, verdict: Verdict, rows: Sequence[_LayerRows]) -> Injections:
        """Return a row for each site, those of a hit beside each other, layers in their order."""
        hit = np.concatenate([layer.hit for layer in drawn.layers])
        order = np.argsort(hit, kind="stable") if len(drawn.layers) > 1 else slice(None)
        number = np.repeat(np.arange(len(drawn.layers)), [len(layer) for layer in drawn.layers])
        hit = hit[order]

        def together(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
            return np.concatenate(parts)[order]

        return Injections(
            trial=drawn.trial[hit],
            layer=number[order],
            variable=None,
            sample=drawn.sample[hit],
            element=together([layer.element for layer in drawn.layers]),
            bit=together([layer.bit for layer in drawn.layers]),
            original=together([row.original for row in rows]),
            corrupted=together([row.corrupted for row in rows]),
            outcome=verdict.outcome[hit],
            golden_class=self._shared.golden.classes[drawn.sample[hit]],
            faulty_class=verdict.faulty_class[hit],
        )


class _LayerRows:
    """Values at the sites of a layer.

    Args:
        sites: How many there are.
    """

    def __init__(self, sites: int) -> None:
        self.original = np.empty(sites, np.float64)
        self.corrupted = np.empty(sites, np.float64)

    def put(self, here: Any, changed: Changed, before: Before) -> None:
        """Take in what was at some sites, and what their words become; NaN where not known."""
        with np.errstate(invalid="ignore"):  # a signalling NaN; casting quiets it
            after = changed.words.changes[changed.of_site].apply(before.values)
            for column, values in ((self.original, before.values), (self.corrupted, after)):
                column[here] = np.where(before.unknown, np.nan, values.astype(np.float64))
