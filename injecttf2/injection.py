"""Injecting into the outputs of one layer, or of several together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from injecttf2.drawn import Before, Changed, Drawn, Index, change, nothing_changes, packed
from injecttf2.errors import ModelError
from injecttf2.evaluation import Evaluation, joined
from injecttf2.injected import Injected, Shared
from injecttf2.outputs_evaluator import OutputsEvaluator
from injecttf2.packed import Packed, Words
from injecttf2.suffix import OutputsSuffix
from injecttf2.together import TogetherSuffix
from injecttf2.trials import Scope, Trial


class InjectedOutputs(Injected):
    """The outputs of one layer, or of several together, ready for injection.

    Args:
        shared: What all layers of the engine share.
        scope: The layers.

    Raises:
        ModelError: A layer cannot be injected; the message says why.
    """

    _suffix: OutputsSuffix

    def __init__(self, shared: Shared, scope: Scope) -> None:
        for layer in scope.layers:
            reason = shared.graph.info(layer).reason
            if reason is not None:
                raise ModelError(f"the layer {layer!r} cannot be injected: {reason}")
        if len(scope.layers) > 1:
            suffix: OutputsSuffix = TogetherSuffix(
                shared.graph, scope.layer, scope.layers, shared.assessment
            )
        else:
            suffix = OutputsSuffix(shared.graph, scope.layer, shared.assessment)
        super().__init__(shared, scope, suffix)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes of the layers' outputs."""
        return tuple(info.dtype for info in self.infos)

    def warm_up(self) -> None:
        """Compile what every trial needs; a block is loaded."""
        words = tuple(map(Words.none, self.dtypes))
        self.inject(Packed(np.zeros(1, np.int32), words))

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

    def changes(self, drawn: Drawn, *, record: bool) -> tuple[list[Changed], list[Before | None]]:
        """Return what happens at the sites of each layer, and the values there before.

        Where the faults of other layers make an operation raise before a layer is hit, it has no
        values, and what happens to it does not matter: the sample is ``due``.

        Args:
            drawn: Hits of the block that is loaded, whose samples are rows of it.
            record: Whether the values are asked for; without that they may be None.
        """
        changed: list[Changed] = []
        values: list[Before | None] = []
        for index, layer in enumerate(drawn.layers):
            found: Before | None = None
            if (record or layer.needs_values) and len(layer):
                later = [nothing_changes(dtype) for dtype in self.dtypes[index:]]
                hits = packed(drawn, [*changed, *later])
                sites = (index, layer.hit, layer.element)
                before, raised = self._suffix.values(self._block, hits, *sites)
                found = Before(before, np.isin(layer.hit, raised))
            changed.append(change(layer, None if found is None else found.values))
            values.append(found)
        return changed, values
