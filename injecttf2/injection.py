"""One layer of a model, ready for injection into its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from injecttf2 import tuning
from injecttf2.block import GoldenBlock
from injecttf2.datasets import Dataset
from injecttf2.errors import ModelError
from injecttf2.golden import GoldenRun
from injecttf2.graph import Graph
from injecttf2.levels import LEVELS
from injecttf2.outcomes import MASKED
from injecttf2.shortcut import DOUBTFUL, Shortcut
from injecttf2.suffix import DenseSuffix, PackedSites


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
        notes: Where measured choices are kept from one process to the next, if anywhere.

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
        levels: Sequence[str] = LEVELS,
        notes: tuning.Notes | None = None,
    ) -> None:
        self.layer = layer
        self.info = graph.layers[graph.step(layer).index]
        if self.info.reason is not None:
            raise ModelError(f"the layer {layer!r} cannot be injected: {self.info.reason}")
        self.reevaluated = 0
        self._golden = golden
        self._dense = DenseSuffix(graph, layer)
        tuner = tuning.Tuner(graph, dataset, self._dense, levels=levels, notes=notes)
        keys = tuner.golden_keys
        self._block = GoldenBlock(graph, dataset, keys, memory=memory)
        self._outputs: Any = None
        self._tuner: tuning.Tuner | None = tuner
        self._shortcut: Shortcut | None = None

    @property
    def batch(self) -> int:
        """Samples in a batch at level ``dense``."""
        return self._dense.batch

    @property
    def block(self) -> int:
        """Samples in a golden block."""
        return self._block.samples

    @property
    def elements(self) -> int:
        """Elements in the layer's output of one sample."""
        elements = self.info.elements
        assert elements is not None  # noqa: S101 - a graph with data has no open shapes
        return elements

    @property
    def needed_bytes(self) -> int:
        """Bytes of golden data that a block takes."""
        return self._block.samples * self._block.row_bytes

    @property
    def held_bytes(self) -> int:
        """Bytes of golden data that are on the device now."""
        return self._block.held_bytes

    @property
    def dropped(self) -> int:
        """Samples that left early, golden again."""
        return self._shortcut.dropped if self._shortcut else 0

    def release(self) -> None:
        """Give the golden data back; they are computed again when they are needed."""
        self._block.release()
        self._outputs = None

    def load(self, start: int) -> None:
        """Put the golden data of the block that begins at sample ``start`` in place.

        Raises:
            EngineError: The suffix does not reproduce the golden outputs from the frontier.
        """
        if self._block.start == start:
            return
        self._block.load(start)
        expected = self._golden.outputs[start : start + self._block.samples]
        self._outputs = self._dense.golden_outputs(self._block, expected)
        if self._tuner is not None:
            self._shortcut = self._tuner.shortcut(self._block, self._outputs)
            self._tuner = None

    def inject(self, sites: PackedSites) -> Judged:
        """Inject one site into each of some golden rows, run what is behind it and judge.

        Args:
            sites: int32 [3, sites], rows counted from the start of the loaded block.
        """
        if self._shortcut is None:
            code, faulty_class, _ = self._dense.judge(self._block, self._outputs, sites)
            return Judged(code, faulty_class)
        code, faulty_class, _ = self._shortcut.evaluate(self._block, self._outputs, sites)
        start = self._block.start
        assert start is not None  # noqa: S101 - a block is loaded
        dropped = (code == MASKED) & (faulty_class < 0)
        faulty_class[dropped] = self._golden.classes[start + sites[0, dropped]]
        doubtful = np.flatnonzero(code == DOUBTFUL)
        if len(doubtful):
            self.reevaluated += len(doubtful)
            code[doubtful], faulty_class[doubtful], _ = self._dense.judge(
                self._block, self._outputs, sites[:, doubtful]
            )
        return Judged(code, faulty_class)

    def outputs(self, sites: PackedSites) -> npt.NDArray[Any]:
        """Inject as :meth:`inject` does, and return the model's outputs [sites, classes]."""
        return self._dense.outputs(self._block, sites)

    def originals(self, sites: PackedSites) -> npt.NDArray[Any]:
        """Return the golden values at sites, [sites] in the layer's dtype."""
        return self._dense.originals(self._block, sites)
