"""Injecting into the outputs of one layer, or of several together."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from injecttf2.drawn import Changed, Drawn, Index, change, nothing_changes, packed
from injecttf2.errors import ModelError
from injecttf2.evaluation import Evaluation, joined
from injecttf2.injected import Injected, Shared
from injecttf2.judges import Verdict
from injecttf2.outcomes import MASKED
from injecttf2.outputs_evaluator import OutputsEvaluator
from injecttf2.packed import Packed
from injecttf2.path import CLOSE, NOT_FINITE
from injecttf2.routes import Route
from injecttf2.shortcut import Shortcut
from injecttf2.suffix import OutputsSuffix
from injecttf2.together import TogetherSuffix
from injecttf2.trials import Scope, Trial
from injecttf2.tuning import Tuner
from injecttf2.windows import GoldenKey

PATIENCE_SECONDS = 2.0
"""Least time at level ``dense`` after which a faster way is looked for."""

CLOSE_TO_A_TIE = 2.0**-10
"""Lead of a golden decision, relative to the largest output, up to which rounding might take it."""

logger = logging.getLogger("injecttf2")


class InjectedOutputs(Injected):
    """The outputs of one layer, or of several together, ready for injection.

    Args:
        shared: What all layers of the engine share.
        scope: The layers.

    Attributes:
        tuned: Whether a faster way than level ``dense`` has been looked for.
        dropped: Samples that left early so far, golden again.

    Raises:
        ModelError: A layer cannot be injected; the message says why.
    """

    _suffix: OutputsSuffix

    def __init__(self, shared: Shared, scope: Scope) -> None:
        for layer in scope.layers:
            reason = shared.graph.info(layer).reason
            if reason is not None:
                raise ModelError(f"the layer {layer!r} cannot be injected: {reason}")
        self._is_together = len(scope.layers) > 1
        if self._is_together:
            suffix: OutputsSuffix = TogetherSuffix(
                shared.graph, scope.layer, scope.layers, shared.assessment
            )
        else:
            suffix = OutputsSuffix(shared.graph, scope.layer, shared.assessment)
        super().__init__(shared, scope, suffix)
        self.tuned = False
        self.dropped = 0
        self._levels = () if self._is_together else shared.levels
        if not shared.assessment.is_plain:
            self._levels = ()
        self._classes: npt.NDArray[np.int32]
        self._close: npt.NDArray[np.bool_]
        self._shortcuts: list[Shortcut] = []
        self._tuner: Tuner | None = None
        self._dense_seconds = 0.0

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes of the layers' outputs."""
        return tuple(info.dtype for info in self.infos)

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

    def load(self, start: int) -> None:
        """Put the golden data of a block in place, and find the fastest way if that is to be done.

        Raises:
            EngineError: The suffix does not reproduce the golden outputs from the frontier.
        """
        had = self._outputs
        super().load(start)
        if self._outputs is not had and self._shared.assessment.is_plain:
            self._classes, self._close = decisions(self._outputs.numpy()[: self._block.loaded])
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

    def warm_up(self) -> None:
        """Compile what every trial needs; a block is loaded."""
        words = tuple(nothing_changes(dtype).words for dtype in self.dtypes)
        self.inject(Packed(np.zeros(1, np.int32), words))

    def _go_on_densely(self, error: Exception) -> None:
        logger.warning(
            "%s: no faster way than level dense: %s: %s",
            self.layer,
            type(error).__name__,
            str(error)[:200],
        )
        self._shortcuts, self._tuner = [], None

    def inject(self, hits: Packed) -> Verdict:
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
        hits: Packed,
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

    def evaluate(self, trials: Sequence[Trial], *, record: bool) -> Evaluation:
        """Evaluate trials; see :class:`Injected`."""
        evaluator = OutputsEvaluator(self, self._shared)
        parts = evaluator.drawn(trials)
        return joined([evaluator.evaluate(*part, record=record) for part in parts])

    def outputs(self, trial: Trial) -> tuple[Index, npt.NDArray[Any]]:
        """Return the samples that a trial hits, and the model's outputs for them with the fault.

        Returns:
            int64 [injected], ascending, and [injected, ...] in the model's output dtype.
        """
        evaluator = OutputsEvaluator(self, self._shared)
        drawn = evaluator.draw([trial])
        faulty = self._shared.golden.outputs[drawn.sample].copy()
        for chosen, part in evaluator.by_block(drawn):
            hits = packed(part, self.changes(part, record=False)[0])
            faulty[chosen] = self._suffix.outputs(self._block, hits)
        return drawn.sample, faulty

    def changes(
        self, drawn: Drawn, *, record: bool
    ) -> tuple[list[Changed], list[npt.NDArray[Any] | None]]:
        """Return what happens at the sites of each layer, and the values there before.

        Args:
            drawn: Hits of the block that is loaded, whose samples are rows of it.
            record: Whether the values are asked for; without that they may be None.
        """
        changed: list[Changed] = []
        values: list[npt.NDArray[Any] | None] = []
        for index, layer in enumerate(drawn.layers):
            found = None
            if (record or layer.needs_values) and len(layer):
                later = [nothing_changes(dtype) for dtype in self.dtypes[index:]]
                hits = packed(drawn, [*changed, *later])
                found = self._suffix.values(self._block, hits, index, layer.hit, layer.element)
            changed.append(change(layer, found))
            values.append(found)
        return changed, values


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
