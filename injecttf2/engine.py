"""Evaluating trials: the vectorised hot path.

The cost is proportional to what is injected and still differs from golden: golden tensors are kept
at the boundaries of a chain of compiled segments; only samples that are hit are evaluated, from the
segment on that they are hit in, and hits of different trials share batches of one fixed shape.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from injecttf2.acceleration.difference import Difference
from injecttf2.acceleration.drop import Drop
from injecttf2.acceleration.entries import ChannelEntry, OutputEntry
from injecttf2.acceleration.stages import Stages
from injecttf2.datasets import Dataset
from injecttf2.errors import ModelError
from injecttf2.evaluation import golden_run
from injecttf2.evaluation.chain import Chain
from injecttf2.evaluation.evaluator import Evaluator, Judge
from injecttf2.evaluation.golden_cache import GoldenCache
from injecttf2.evaluation.output_evaluator import OutputEvaluator
from injecttf2.evaluation.records import Evaluation
from injecttf2.evaluation.weight_evaluator import WeightEvaluator
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.judging import Assessment
from injecttf2.levels import LEVELS
from injecttf2.trial import TOGETHER, WEIGHTS, Scope, Trial

TOP1 = Assessment()
"""The top-1 class is the decision, and nothing else is measured."""

GOLDEN_BYTES = 2**29
"""Default limit of the golden activations that are kept on the device."""

KEPT_SCOPES = 32
"""Layers that are kept ready, those used last."""


class Engine:
    """A model and its data, ready to evaluate trials.

    Args:
        model: A model with an output of class scores, or its graph.
        dataset: Inputs and labels.
        memory: Bytes of golden activations that are kept on the device.
        levels: Levels of ``levels.LEVELS`` that may be used; none is level ``dense``.
        assessment: What is asked of outputs.
        output: Key or address of the output that is judged, where the model has several.

    Attributes:
        graph: The model's graph for these data.
        dataset: The data.
        golden: The model's golden run on them.

    Raises:
        ModelError: The model cannot be traced, or its output has no top-1.
        DatasetError: The golden outputs hold NaN or Inf, or a label is no class of the model.
    """

    def __init__(
        self,
        model: keras.Model | ModelGraph,
        dataset: Dataset,
        *,
        memory: int = GOLDEN_BYTES,
        levels: Sequence[str] = LEVELS,
        output: str | None = None,
        assessment: Assessment = TOP1,
    ) -> None:
        if not isinstance(model, ModelGraph):
            model = ModelGraph.of(model, dataset.inputs, output=output)
        self.graph = model
        self.dataset = dataset
        samples = len(dataset)
        chain = Chain(model, samples, GOLDEN_BYTES)
        self._cache = GoldenCache(chain, dataset, memory)
        self.golden = golden_run.run(self._cache, assessment)
        self.golden_use = self._cache.use
        self._evaluator = Evaluator(
            chain=self._cache.chain,
            dataset=dataset,
            golden=self.golden,
            cache=self._cache,
            assessment=assessment,
            leave=Drop(self._cache) if "drop" in levels else None,
        )
        self._levels = levels
        self._stages = Stages(self._cache)
        self._of_weights: dict[tuple[str, ...], Judge] = {}
        self._prepared: dict[Scope, OutputEvaluator | WeightEvaluator] = {}

    def prepare(self, scope: str | Scope) -> OutputEvaluator | WeightEvaluator:
        """Return layers with their first golden block loaded and their functions compiled.

        They are the same under every protection, as none of them changes the graph.

        Args:
            scope: What is to be corrupted; the address of a layer stands for its outputs.

        Raises:
            ModelError: There is no such layer, or it cannot be injected.
        """
        if isinstance(scope, str):
            scope = Scope((scope,))
        scope = replace(scope, protection=None)
        prepared = self._prepared.pop(scope, None)
        if prepared is None:
            prepared = self._made(scope)
            prepared.warm_up()
        self._prepared[scope] = prepared  # used last
        for forgotten in list(self._prepared)[:-KEPT_SCOPES]:
            del self._prepared[forgotten]
        start, _ = self._evaluator.blocks(prepared.first)[0]
        self._evaluator.load(start, prepared.first)
        return prepared

    def _made(self, scope: Scope) -> OutputEvaluator | WeightEvaluator:
        layers = tuple(info.layer for info in self.graph.layers if info.layer in scope.layers)
        if len(scope.layers) > 1 and layers != scope.layers and {*layers} == {*scope.layers}:
            raise ModelError(
                f"layers together are named once each, in the order of the model; received "
                f"{scope.label!r}, expected {TOGETHER.join(layers)!r}"
            )
        with_boxes = "difference" in self._levels and self._evaluator.assessment.is_plain
        if scope.target == WEIGHTS:
            weights = WeightEvaluator(self._evaluator, scope)
            if with_boxes:
                weights.judge_of = self._judge_of
            return weights
        prepared = OutputEvaluator(self._evaluator, scope)
        if with_boxes and (alone := prepared.alone):
            entry = OutputEntry(self.graph, *alone)
            prepared.judge = Difference(self._evaluator, entry, self._stages).judge
        return prepared

    def _judge_of(self, reads: Sequence[str]) -> Judge:
        """Return what evaluates faults in what is read of variables."""
        key = tuple(reads)
        judge = self._of_weights.pop(key, None)
        if judge is None:
            judge = self._evaluator.verdict
            with contextlib.suppress(LookupError):
                entry = ChannelEntry(self._cache, reads)
                judge = Difference(self._evaluator, entry, self._stages).judge
        self._of_weights[key] = judge  # used last
        for forgotten in list(self._of_weights)[:-KEPT_SCOPES]:
            del self._of_weights[forgotten]
        return judge

    def evaluate(self, trials: Sequence[Trial], *, record: bool = False) -> Evaluation:
        """Evaluate trials of one scope.

        Args:
            trials: At least one trial, all of the same layers and target.
            record: Whether to return the injected sites.

        Raises:
            ModelError: The layer cannot be injected, or a fault or a rate does not fit it.
            ValueError: The trials are of more than one scope.
        """
        scopes = {trial.cell.scope for trial in trials}
        if len(scopes) != 1:
            raise ValueError(f"trials of one scope are evaluated at a time; received {scopes}")
        return self.prepare(trials[0].cell.scope).evaluate(trials, record=record)

    def outputs(self, trial: Trial) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """Return the samples that a trial hits, and the model's outputs for them with the fault.

        Returns:
            int64 [injected], ascending, and [injected, ...] in the model's output dtype.
        """
        return self.prepare(trial.cell.scope).outputs(trial)
