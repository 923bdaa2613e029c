"""One layer of a model, ready for injection into its outputs."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from injecttf2.block import GoldenBlock, GoldenUse
from injecttf2.datasets import Dataset
from injecttf2.errors import ModelError
from injecttf2.golden import GoldenRun
from injecttf2.graph import Graph
from injecttf2.outcomes import MASKED
from injecttf2.path import CLOSE, NOT_FINITE
from injecttf2.routes import Route, Routes
from injecttf2.shortcut import Shortcut
from injecttf2.suffix import DenseSuffix, PackedSites
from injecttf2.tuning import Tuner
from injecttf2.windows import GoldenKey

PATIENCE_SECONDS = 2.0
"""Least time at level ``dense`` after which a faster way is looked for."""

CLOSE_TO_A_TIE = 2.0**-10
"""Lead of a golden decision, relative to the largest output, up to which rounding might take it."""

logger = logging.getLogger("injecttf2")


@dataclass(frozen=True, eq=False)
class Judged:
    """What became of injected samples.

    Args:
        outcome: uint8 [sites], codes of ``outcomes.OUTCOMES``.
        faulty_class: int32 [sites], -1 where the outcome is ``due``.
    """

    outcome: npt.NDArray[np.uint8]
    faulty_class: npt.NDArray[np.int32]


class InjectedLayer:
    """One layer of a model, ready for injection into its outputs.

    Args:
        graph: The model.
        layer: Address of the layer.
        dataset: Inputs and labels.
        golden: The model's golden run on that data set.
        memory: Bytes that the golden block may take.
        levels: Levels of ``levels.LEVELS`` that may be used.
        routes: Where the routes that were found are kept.
        use: Where it is counted how often golden data were in place.

    Attributes:
        tuned: Whether a faster way than level ``dense`` has been looked for.
        dropped: Samples that left early so far, golden again.
        reevaluated: Samples that a faster way left to level ``dense`` so far.

    Raises:
        ModelError: The layer cannot be injected; the message says why.
    """

    def __init__(
        self,
        graph: Graph,
        layer: str,
        *,
        dataset: Dataset,
        golden: GoldenRun,
        memory: int,
        levels: Sequence[str],
        routes: Routes,
        use: GoldenUse | None = None,
    ) -> None:
        self.layer = layer
        self.info = graph.layers[graph.step(layer).index]
        if self.info.reason is not None:
            raise ModelError(f"the layer {layer!r} cannot be injected: {self.info.reason}")
        self.tuned = False
        self.dropped = 0
        self.reevaluated = 0
        self._graph = graph
        self._dataset = dataset
        self._golden = golden
        self._memory = memory
        self._levels = levels
        self._routes = routes
        self._use = GoldenUse() if use is None else use
        self._dense = DenseSuffix(graph, layer)
        self._block = self._block_with(())
        self._outputs: Any = None
        self._classes: npt.NDArray[np.int32]
        self._close: npt.NDArray[np.bool_]
        self._shortcuts: list[Shortcut] = []
        self._tuner: Tuner | None = None
        self._dense_seconds = 0.0

    @property
    def batch(self) -> int:
        """Samples in a batch at level ``dense``."""
        return self._dense.batch

    @property
    def block(self) -> int:
        """Samples in a golden block."""
        return self._block.samples

    @property
    def loaded(self) -> int | None:
        """First sample of the block that is loaded."""
        return self._block.start

    @property
    def elements(self) -> int:
        """Elements in the layer's output of one sample."""
        elements = self.info.elements
        assert elements is not None  # noqa: S101 - a graph with data has no open shapes
        return elements

    @property
    def needed_bytes(self) -> int:
        """Bytes of golden data that a block takes."""
        return self._block.needed_bytes

    @property
    def held_bytes(self) -> int:
        """Bytes of golden data that are on the device now."""
        return self._block.held_bytes

    @property
    def routes(self) -> list[Route]:
        """The routes that are used, in the order in which they are tried; empty at level dense."""
        return [shortcut.route for shortcut in self._shortcuts]

    @property
    def pays_to_tune(self) -> bool:
        """Whether level ``dense`` has taken so long that finding a faster way is worth its time."""
        if self.tuned or not self._levels:
            return False
        if self._routes.find(self.layer) is not None:
            return self._dense_seconds > PATIENCE_SECONDS / 4  # nothing but compilation is left
        return self._dense_seconds > max(PATIENCE_SECONDS, self._routes.search_seconds)

    def tune(self) -> None:
        """Have the fastest way found when the golden data are loaded next."""
        self.tuned = True
        try:
            self._tuner = Tuner(
                self._graph,
                self._dataset,
                self._dense,
                levels=self._levels,
                routes=self._routes,
                memory=self._memory,
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
        self._dense.forget()

    def _block_with(self, extra: Sequence[GoldenKey]) -> GoldenBlock:
        """Return a golden block of the frontier and some tensors behind the cut."""
        dense = self._dense
        return GoldenBlock(
            self._graph, self._dataset, dense.cut, extra, batch=dense.batch, memory=self._memory
        )

    def release(self) -> None:
        """Give the golden data back; they are computed again when they are needed."""
        self._block.release()
        self._outputs = None

    def load(self, start: int) -> None:
        """Put the golden data of the block that begins at sample ``start`` in place.

        Raises:
            EngineError: The suffix does not reproduce the golden outputs from the frontier.
        """
        if self._block.start == start and self._outputs is not None:
            self._use.hits += 1
        else:
            self._use.computed += 1
            self._block.load(start)
            expected = self._golden.outputs[start : start + self._block.samples]
            self._outputs = None  # until it is known that the cut reproduces them
            self._outputs = self._dense.golden_outputs(self._block, expected)
            self._classes, self._close = decisions(self._outputs.numpy()[: len(expected)])
        if self._tuner is not None:
            tuner, self._tuner = self._tuner, None
            try:
                self._shortcuts = tuner.shortcuts(self._block, self._outputs)
            except Exception as error:  # noqa: BLE001 - level dense is always there
                self._go_on_densely(error)
            gc.collect()  # what was compiled and not chosen holds itself in reference cycles
            if not self._shortcuts and len(self._block.keys) > len(self._dense.cut.frontier):
                self._hold(())
                self.load(start)

    def _go_on_densely(self, error: Exception) -> None:
        logger.warning(
            "%s: no faster way than level dense: %s: %s",
            self.layer,
            type(error).__name__,
            str(error)[:200],
        )
        self._shortcuts, self._tuner = [], None

    def inject(self, sites: PackedSites) -> Judged:
        """Inject one site into each of some golden rows, run what is behind it and judge.

        Args:
            sites: int32 [3, sites], rows counted from the start of the loaded block.
        """
        code = np.full(sites.shape[1], CLOSE, np.uint8)
        faulty_class = np.empty(sites.shape[1], np.int32)
        try:
            self._take_shortcuts(sites, code, faulty_class)
        except Exception as error:  # noqa: BLE001 - level dense is always there
            self._go_on_densely(error)
            code[:] = CLOSE
        left = np.flatnonzero(code >= NOT_FINITE)
        if len(left):
            begin = time.perf_counter()
            code[left], faulty_class[left], _ = self._dense.judge(
                self._block, self._outputs, sites[:, left]
            )
            self._dense_seconds += time.perf_counter() - begin
            self.reevaluated += len(left) if self._shortcuts else 0
        return Judged(code, faulty_class)

    def _take_shortcuts(
        self,
        sites: PackedSites,
        code: npt.NDArray[np.uint8],
        faulty_class: npt.NDArray[np.int32],
    ) -> None:
        """Judge as many sites as the shortcuts can; write codes and classes."""
        for shortcut in self._shortcuts:
            left = np.flatnonzero(code == CLOSE)
            code[left], classes = shortcut.evaluate(self._block, self._outputs, sites[:, left])
            dropped = np.flatnonzero((code[left] == MASKED) & (classes < 0))
            rows = sites[0, left[dropped]]
            classes[dropped] = self._classes[rows]
            faulty_class[left] = classes
            close = self._close[rows]
            code[left[dropped[close]]] = CLOSE
            self.dropped += int(np.count_nonzero(~close))

    def outputs(self, sites: PackedSites) -> npt.NDArray[Any]:
        """Inject as :meth:`inject` does, and return the model's outputs [sites, classes]."""
        return self._dense.outputs(self._block, sites)

    def originals(self, sites: PackedSites) -> npt.NDArray[Any]:
        """Return the golden values at sites, [sites] in the layer's dtype."""
        return self._dense.originals(self._block, sites)


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
