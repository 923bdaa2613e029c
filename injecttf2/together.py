"""Several layers hit in the same trial: the faults of all of them in one forward pass.

The model is cut before the first of the layers. What a later one gives out depends on the faults
before it, so its words change where it gives them out, in the middle of the steps behind the cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2 import bits
from injecttf2.block import GoldenBlock
from injecttf2.graph import Graph, Step, Values
from injecttf2.hooks import Change, ChangedStep
from injecttf2.judges import Assessment
from injecttf2.packed import Batch, Packed, change_words
from injecttf2.places import Place
from injecttf2.suffix import Index, OutputsSuffix


class TogetherSuffix(OutputsSuffix):
    """Level ``dense`` with faults in several layers.

    Args:
        graph: The model.
        layers: Addresses, in the order of the model.
        assessment: What is asked of outputs.
    """

    def __init__(
        self, graph: Graph, name: str, layers: Sequence[str], assessment: Assessment
    ) -> None:
        super(OutputsSuffix, self).__init__(graph, name, graph.cut_of(layers), assessment)
        self._places = [graph.place(layer) for layer in layers]

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtype of each layer that is hit."""
        return tuple(place.tensor.dtype for place in self._places)

    def values(
        self, block: GoldenBlock, hits: Packed, layer: int, hit: Index, element: Index
    ) -> tuple[npt.NDArray[Any], Index]:
        """Return values of a layer before its own words change; see :meth:`OutputsSuffix.values`.

        Those are golden in no layer but the first: the words of the layers before have changed.
        """
        found = self._evaluated(("values", layer), self._values(layer), block, (), hits)
        values = np.zeros(len(hit), bits.numpy_dtype(self.dtypes[layer]))
        for (tensor, _), here, place in found.by_part(hit):
            flat = tf.reshape(tensor, (self.batch, -1))
            at = np.stack([place, element[here]], axis=1)
            values[here] = tf.gather_nd(flat, at).numpy()
        return values, found.raised

    def _values(self, layer: int) -> Callable[..., Any]:
        """Return a function that returns what a layer gives out before its words change.

        The model's outputs come with it: without them TensorFlow would leave out what is behind the
        layer and fuse the rest otherwise than in the function that judges, with other values where
        they are NaN.
        """

        def values(frontier: Any, batch: Batch) -> tuple[Any, Any]:
            kept: list[Any] = []
            outputs = self._run_changed(frontier, batch, {layer: kept.append})
            return kept[0], outputs

        return values

    def _faulty(self, frontier: Any, batch: Batch) -> Any:
        return self._run_changed(frontier, batch, {})

    def _run_changed(
        self, frontier: Any, batch: Batch, see: dict[int, Callable[[Any], None]]
    ) -> Any:
        """Run the steps, each layer's words changed where it gives them out.

        Args:
            frontier: Golden tensors.
            batch: Rows and words.
            see: For some of the layers who is shown what they give out before.
        """
        rows, words = batch

        def changing(number: int) -> Change:
            def change(tensor: Any, _: Values) -> Any:
                if number in see:
                    see[number](tensor)
                return change_words(tensor, words[number], fresh=False)

            return change

        changes = [(place, changing(number)) for number, place in enumerate(self._places)]
        values = self._gather(frontier, rows)
        for place, change in changes:
            if place.step.is_input:
                values[place.key] = change(values[place.key], values)
        steps = [_changed(step, changes) for step in self.cut.suffix]
        return self._graph.run(steps, values)[id(self._graph.output)]


def _changed(step: Step, changes: Sequence[tuple[Place, Change]]) -> Step:
    """Return a step with those of the changes that belong to it."""
    mine = [(place, change) for place, change in changes if place.step is step]
    if not mine:
        return step
    inside = [(place.inner, change) for place, change in mine if place.inner is not None]
    outside = {place.key: change for place, change in mine if place.inner is None}
    return ChangedStep.of(step, inside, outside)
