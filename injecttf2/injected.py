"""What the layers of an engine share, and what those that are injected have in common."""

from __future__ import annotations

import gc
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.batches import padded
from injecttf2.block import GoldenBlock, GoldenUse
from injecttf2.datasets import Dataset
from injecttf2.errors import ModelError
from injecttf2.evaluation import Evaluation
from injecttf2.golden import GoldenRun
from injecttf2.graph import Graph, LayerInfo
from injecttf2.judges import Assessment, Verdict
from injecttf2.outcomes import MASKED, Tallies, count
from injecttf2.packed import FaultySamples
from injecttf2.path import CLOSE, NOT_FINITE
from injecttf2.routes import Route, Routes
from injecttf2.shortcut import Shortcut
from injecttf2.suffix import DenseSuffix
from injecttf2.tally import tally
from injecttf2.trials import WEIGHTS, Scope, Trial
from injecttf2.tuning import Tuner
from injecttf2.windows import GoldenKey

PATIENCE_SECONDS = 2.0
"""Least time at level ``dense`` after which a faster way is looked for."""

CLOSE_TO_A_TIE = 2.0**-10
"""Lead of a golden decision, relative to the largest output, up to which rounding might take it."""

logger = logging.getLogger("injecttf2")


@dataclass(frozen=True, eq=False)
class Shared:
    """What all layers of an engine share.

    Args:
        graph: The model.
        dataset: Inputs and labels.
        golden: The model's golden run on that data set.
        assessment: What is asked of outputs.
        memory: Bytes that a golden block may take.
        levels: Levels of ``levels.LEVELS`` that may be used.
        routes: Where the routes that were found are kept.
        use: Where it is counted how often golden data were in place.
    """

    graph: Graph
    dataset: Dataset
    golden: GoldenRun
    assessment: Assessment
    memory: int
    levels: Sequence[str]
    routes: Routes
    use: GoldenUse

    def tallies(
        self,
        trial: npt.NDArray[np.int64],
        sample: npt.NDArray[np.int64],
        verdict: Verdict,
        *,
        trials: int,
    ) -> Tallies:
        """Count the verdicts on injected samples per trial.

        Args:
            trial: int64 [injected], which of the trials the sample belongs to.
            sample: int64 [injected], into the data set, ascending in each trial.
            verdict: Of the injected samples, as :meth:`Injected.inject` returns it.
            trials: Number of trials.
        """
        golden = self.golden
        if not self.assessment.is_plain:
            return tally(trial, sample, verdict, golden=golden.verdict, trials=trials)
        return count(
            trial,
            verdict.outcome,
            verdict.faulty_class,
            golden_class=golden.classes[sample],
            labels=self.dataset.labels[sample],
            trials=trials,
            golden_correct=golden.correct,
        )


class Injected(ABC):
    """One layer of a model, or several together, ready for injection.

    Args:
        shared: What all layers of the engine share.
        scope: What is corrupted.
        suffix: The steps that a fault goes through.

    Attributes:
        infos: The layers.
        tuned: Whether a faster way than level ``dense`` has been looked for.
        dropped: Samples that left early so far, golden again.
        reevaluated: Samples that a faster way left to level ``dense`` so far.
    """

    def __init__(self, shared: Shared, scope: Scope, suffix: DenseSuffix) -> None:
        weights = scope.target == WEIGHTS
        if reason := shared.graph.reason_of_cut(scope.layers, weights=weights):
            raise ModelError(
                f"the {scope.target} of the layer {scope.layer!r} cannot be injected: {reason}"
            )
        self.scope = scope
        self.infos: tuple[LayerInfo, ...] = tuple(shared.graph.info(one) for one in scope.layers)
        self.tuned = False
        self.dropped = 0
        self.reevaluated = 0
        self._shared = shared
        self._suffix = suffix
        self._block = self._block_with(())
        self._outputs: Any = None
        self._labels: Any = None
        self._classes: npt.NDArray[np.int32]
        self._close: npt.NDArray[np.bool_]
        self._levels = shared.levels if shared.assessment.is_plain and len(self.infos) == 1 else ()
        self._shortcuts: list[Shortcut] = []
        self._tuner: Tuner | None = None
        self._dense_seconds = 0.0

    @property
    @abstractmethod
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes of the words that may be hit."""

    @property
    def layer(self) -> str:
        """The layers as results name them."""
        return self.scope.layer

    @property
    def batch(self) -> int:
        """Samples in a batch at level ``dense``."""
        return self._suffix.batch

    @property
    def block(self) -> int:
        """Samples in a golden block."""
        return self._block.samples

    @property
    def loaded(self) -> int | None:
        """First sample of the block that is loaded."""
        return self._block.start

    @property
    def needed_bytes(self) -> int:
        """Bytes of golden data that a block takes."""
        return self._block.needed_bytes

    @property
    def held_bytes(self) -> int:
        """Bytes of golden data that are on the device now."""
        return self._block.held_bytes

    @abstractmethod
    def warm_up(self) -> None:
        """Compile what every trial needs; a block is loaded."""

    @abstractmethod
    def evaluate(self, trials: Sequence[Trial], *, record: bool) -> Evaluation:
        """Evaluate trials.

        Args:
            trials: At least one, all of this scope.
            record: Whether to return the injected sites.

        Raises:
            ModelError: A fault or a rate does not fit the layer.
        """

    @property
    def routes(self) -> list[Route]:
        """The routes that are used, in the order in which they are tried; empty at level dense."""
        return [shortcut.route for shortcut in self._shortcuts]

    @property
    def pays_to_tune(self) -> bool:
        """Whether level ``dense`` has taken so long that finding a faster way is worth its time."""
        if self.tuned or not self._levels:
            return False
        if self._shared.routes.find(self.layer) is not None:
            return self._dense_seconds > PATIENCE_SECONDS / 4  # nothing but compilation is left
        return self._dense_seconds > max(PATIENCE_SECONDS, self._shared.routes.search_seconds)

    def tune_if_it_pays(self, *, now: bool) -> None:
        """Have the fastest way found if that pays, or if it is to be found now."""
        if self.pays_to_tune or (now and self._levels and not self.tuned):
            self.tune()

    def tune(self) -> None:
        """Have the fastest way found when the golden data are loaded next."""
        self.tuned = True
        try:
            shared = self._shared
            self._tuner = Tuner(
                shared.graph,
                shared.dataset,
                self._suffix,
                levels=self._levels,
                routes=shared.routes,
                memory=shared.memory,
            )
            extra = self._tuner.golden_keys()
        except Exception as error:  # noqa: BLE001 - level dense is always there
            self._go_on_densely(error)
            return
        if extra:
            self._hold(extra)

    def _hold(self, extra: Sequence[GoldenKey]) -> None:
        """Have the golden block hold some tensors behind the cut beside the frontier."""
        self.release()
        self._block = self._block_with(extra)
        self._suffix.forget()

    def release(self) -> None:
        """Give the golden data back; they are computed again when they are needed."""
        self._block.release()
        self._outputs = self._labels = None

    def load(self, start: int) -> None:
        """Put the golden data of the block that begins at sample ``start`` in place.

        The fastest way is looked for there, if that is to be done.

        Raises:
            EngineError: The suffix does not reproduce the golden outputs from the frontier.
        """
        if self._block.start == start and self._outputs is not None:
            self._shared.use.hits += 1
        else:
            self._shared.use.computed += 1
            self._load(start)
        if self._tuner is not None:
            tuner, self._tuner = self._tuner, None
            try:
                self._shortcuts = tuner.shortcuts(self._block, self._outputs)
            except Exception as error:  # noqa: BLE001 - level dense is always there
                self._go_on_densely(error)
            gc.collect()  # what was compiled and not chosen holds itself in reference cycles
            if not self._shortcuts and len(self._block.keys) > len(self._suffix.cut.frontier):
                self._hold(())
                self.load(start)

    def _load(self, start: int) -> None:
        shared = self._shared
        self._block.load(start)
        here = slice(start, start + self._block.samples)
        self._outputs = None  # until it is known that the cut reproduces them
        outputs = self._suffix.golden_outputs(self._block, shared.golden.outputs[here])
        labels = padded(shared.dataset.labels[here], outputs.shape[0])
        self._labels = tf.constant(labels)
        self._outputs = outputs
        if shared.assessment.is_plain:
            self._classes, self._close = decisions(outputs.numpy()[: self._block.loaded])

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """First and one past the last sample of each block; the one that is loaded comes first."""
        samples = len(self._shared.dataset)
        starts = sorted(range(0, samples, self.block), key=lambda start: start != self.loaded)
        return [(start, min(start + self.block, samples)) for start in starts]

    def _block_with(self, extra: Sequence[GoldenKey]) -> GoldenBlock:
        """Return a golden block of the frontier and some tensors behind the cut."""
        shared, suffix = self._shared, self._suffix
        return GoldenBlock(
            shared.graph,
            shared.dataset,
            suffix.cut,
            extra,
            batch=suffix.batch,
            memory=shared.memory,
        )

    def _go_on_densely(self, error: Exception) -> None:
        logger.warning(
            "%s: no faster way than level dense: %s: %s",
            self.layer,
            type(error).__name__,
            str(error)[:200],
        )
        self._shortcuts, self._tuner = [], None

    def inject(self, hits: FaultySamples) -> Verdict:
        """Inject into some golden rows of the loaded block, run what is behind it and judge.

        Of a plain assessment the verdict tells outcomes and classes alone.
        """
        if not self._shared.assessment.is_plain:
            return self._suffix.judge(self._block, self._outputs, self._labels, hits)
        code = np.full(len(hits), CLOSE, np.uint8)
        faulty_class = np.empty(len(hits), np.int32)
        if self._shortcuts and hits.is_single:
            try:
                self._take_shortcuts(hits, code, faulty_class)
            except Exception as error:  # noqa: BLE001 - level dense is always there
                self._go_on_densely(error)
                code[:] = CLOSE
        left = np.flatnonzero(code >= NOT_FINITE)
        if len(left):
            begin = time.perf_counter()
            rest = hits if len(left) == len(hits) else hits.take(left)
            code[left], faulty_class[left], _ = self._suffix.examine(
                self._block, self._outputs, rest
            )
            self._dense_seconds += time.perf_counter() - begin
            self.reevaluated += len(left) if self._shortcuts else 0
        return Verdict(code, faulty_class, None, None, None)

    def _take_shortcuts(
        self,
        hits: FaultySamples,
        code: npt.NDArray[np.uint8],
        faulty_class: npt.NDArray[np.int32],
    ) -> None:
        """Judge as many hits as the shortcuts can; write codes and classes."""
        for shortcut in self._shortcuts:
            left = np.flatnonzero(code == CLOSE)
            code[left], classes = shortcut.evaluate(self._block, self._outputs, hits.take(left))
            dropped = np.flatnonzero((code[left] == MASKED) & (classes < 0))
            rows = hits.rows[left[dropped]]
            classes[dropped] = self._classes[rows]
            faulty_class[left] = classes
            close = self._close[rows]
            code[left[dropped[close]]] = CLOSE
            self.dropped += int(np.count_nonzero(~close))


def decisions(outputs: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Return the golden decisions of samples, and which of them are close to a tie.

    Args:
        outputs: [samples, classes], golden.

    Returns:
        Classes int32 [samples], the lowest index of the largest output; bool [samples].
    """
    wide = outputs.astype(np.float64)
    second, largest = np.sort(wide, axis=1)[:, -2:].T
    close = largest - second <= CLOSE_TO_A_TIE * np.abs(wide).max(axis=1)
    return wide.argmax(axis=1).astype(np.int32), close
