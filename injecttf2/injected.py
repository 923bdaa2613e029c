"""What the layers of an engine share, and what those that are injected have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from injecttf2.batches import padded
from injecttf2.block import GoldenBlock, GoldenUse
from injecttf2.datasets import Dataset
from injecttf2.evaluation import Evaluation
from injecttf2.golden import GoldenRun
from injecttf2.graph import Graph, LayerInfo
from injecttf2.judges import Assessment
from injecttf2.routes import Routes
from injecttf2.suffix import DenseSuffix
from injecttf2.trials import Scope, Trial
from injecttf2.windows import GoldenKey


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


class Injected(ABC):
    """One layer of a model, or several together, ready for injection.

    Args:
        shared: What all layers of the engine share.
        scope: What is corrupted.
        suffix: The steps that a fault goes through.

    Attributes:
        infos: The layers.
        reevaluated: Samples that a faster way left to level ``dense`` so far.
    """

    def __init__(self, shared: Shared, scope: Scope, suffix: DenseSuffix) -> None:
        self.scope = scope
        self.infos: tuple[LayerInfo, ...] = tuple(shared.graph.info(one) for one in scope.layers)
        self.reevaluated = 0
        self._shared = shared
        self._suffix = suffix
        self._block = self._block_with(())
        self._outputs: Any = None
        self._labels: Any = None

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

    def release(self) -> None:
        """Give the golden data back; they are computed again when they are needed."""
        self._block.release()
        self._outputs = self._labels = None

    def load(self, start: int) -> None:
        """Put the golden data of the block that begins at sample ``start`` in place.

        Raises:
            EngineError: The suffix does not reproduce the golden outputs from the frontier.
        """
        shared = self._shared
        if self._block.start == start and self._outputs is not None:
            shared.use.hits += 1
            return
        shared.use.computed += 1
        self._block.load(start)
        here = slice(start, start + self._block.samples)
        self._outputs = None  # until it is known that the cut reproduces them
        outputs = self._suffix.golden_outputs(self._block, shared.golden.outputs[here])
        labels = padded(shared.dataset.labels[here], outputs.shape[0])
        self._labels = tf.constant(labels)
        self._outputs = outputs

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
