"""Evaluating trials: the vectorised hot path.

The cost is proportional to what is injected: for each block of samples the golden frontier is
computed once, only samples that are hit are evaluated, hits of different trials share batches of
one fixed shape, and flip, suffix and judgement are one compiled function on the device.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from injecttf2 import golden
from injecttf2.block import GoldenUse
from injecttf2.datasets import Dataset
from injecttf2.errors import ModelError
from injecttf2.evaluation import Evaluation
from injecttf2.graph import Graph
from injecttf2.injected import Injected, Shared
from injecttf2.injected_weights import InjectedWeights
from injecttf2.injection import InjectedOutputs
from injecttf2.judges import Assessment
from injecttf2.levels import LEVELS
from injecttf2.routes import Routes
from injecttf2.trials import TOGETHER, WEIGHTS, Scope, Trial

TOP1 = Assessment()
"""The top-1 class is the decision, and nothing else is measured."""

GOLDEN_BYTES = 2**30
"""Default limit of the golden activations that are kept on the device."""

KEPT_LAYERS = 8
"""Layers whose compiled functions are kept, some tens of megabytes each."""


class Engine:
    """A model and its data, ready to evaluate trials.

    Args:
        model: A Keras model with an output of class scores.
        dataset: Inputs and labels.
        memory: Bytes of golden activations that are kept on the device.
        levels: Levels of ``levels.LEVELS`` that may be used; none is level ``dense``.
        routes: Where the routes that were found are kept; None keeps them in this engine.
        assessment: What is asked of outputs.
        output: Key or address of the output that is judged, where the model has several.

    Attributes:
        golden_use: How often golden data were in place or had to be computed.

    Raises:
        ModelError: The model cannot be walked, or its output has no top-1.
        DatasetError: The golden outputs hold NaN or Inf, or a label is no class of the model.
    """

    def __init__(
        self,
        model: keras.Model,
        dataset: Dataset,
        *,
        memory: int = GOLDEN_BYTES,
        levels: Sequence[str] = LEVELS,
        routes: Routes | None = None,
        output: str | None = None,
        assessment: Assessment = TOP1,
    ) -> None:
        self.graph = Graph.of(model, dataset.inputs, output=output)
        self.dataset = dataset
        self.golden = golden.run(self.graph, dataset, assessment)
        self.golden_use = GoldenUse()
        self._shared = Shared(
            graph=self.graph,
            dataset=dataset,
            golden=self.golden,
            assessment=assessment,
            memory=memory,
            levels=levels,
            routes=Routes() if routes is None else routes,
            use=self.golden_use,
        )
        self._injected: dict[Scope, Injected] = {}

    def prepare(self, scope: str | Scope, *, tune: bool = False) -> Any:
        """Return layers with their first golden block loaded and their functions compiled.

        Golden data of the layers used longest ago is released where the memory is needed; of more
        than ``KEPT_LAYERS`` layers, those used longest ago are forgotten.

        Args:
            scope: What is to be corrupted; the address of a layer stands for its outputs.
            tune: Whether to find the fastest way now; it is found after some seconds of work else.

        Returns:
            An ``InjectedOutputs`` or ``InjectedWeights``.

        Raises:
            ModelError: There is no such layer, or it cannot be injected.
        """
        if isinstance(scope, str):
            scope = Scope(tuple(scope.split(TOGETHER)))
        injected = self._injected.pop(scope, None) or self._made(scope)
        self._injected[scope] = injected  # used last
        for forgotten in list(self._injected)[:-KEPT_LAYERS]:
            del self._injected[forgotten]
            gc.collect()  # compiled functions hold themselves in reference cycles
        injected.tune_if_it_pays(now=tune)
        needed = injected.needed_bytes
        others = [other for other in self._injected.values() if other is not injected]
        for other in others:
            held = sum(other.held_bytes for other in others)
            if other.held_bytes and needed + held > self._shared.memory:
                other.release()
        if injected.held_bytes == 0:
            injected.load(0)
            injected.warm_up()
        elif injected.loaded is not None:
            injected.load(injected.loaded)
        return injected

    def _made(self, scope: Scope) -> Injected:
        layers = tuple(info.layer for info in self.graph.layers if info.layer in scope.layers)
        if len(scope.layers) > 1 and layers != scope.layers and {*layers} == {*scope.layers}:
            raise ModelError(
                f"layers together are named once each, in the order of the model; received "
                f"{scope.layer!r}, expected {TOGETHER.join(layers)!r}"
            )
        kind = InjectedWeights if scope.target == WEIGHTS else InjectedOutputs
        return kind(self._shared, scope)

    def evaluate(self, trials: Sequence[Trial], *, record: bool = False) -> Evaluation:
        """Evaluate trials of one scope.

        Args:
            trials: At least one trial, all of the same layers and target.
            record: Whether to return the injected sites.

        Raises:
            ModelError: The layer cannot be injected, or a fault or a rate does not fit it.
            ValueError: The trials are of more than one scope.
        """
        scopes = {(trial.cell.layer, trial.cell.target) for trial in trials}
        if len(scopes) != 1:
            raise ValueError(f"trials of one scope are evaluated at a time; received {scopes}")
        injected: Injected = self.prepare(trials[0].cell.scope)
        return injected.evaluate(trials, record=record)

    def outputs(self, trial: Trial) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """Return the samples that a trial hits, and the model's outputs for them with the fault.

        Returns:
            int64 [injected], ascending, and [injected, ...] in the model's output dtype.
        """
        samples: npt.NDArray[np.int64]
        faulty: npt.NDArray[Any]
        samples, faulty = self.prepare(trial.cell.scope).outputs(trial)
        return samples, faulty
