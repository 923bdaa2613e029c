"""Level ``dense``: every injected sample goes through all steps behind the cut.

This defines what a row holds. The batch shape follows from the model alone, and the compiled
functions are plain graphs, so that any two executions round alike; faster levels hand over to it
whatever rounding could decide.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2 import bits
from injecttf2.batches import batch_size, batches, padded, padded_count, side_by_side
from injecttf2.block import GoldenBlock, write_rows
from injecttf2.errors import EngineError
from injecttf2.graph import Cut, Graph, Values
from injecttf2.judges import Assessment, Verdict
from injecttf2.outcomes import DUE, equal_up_to_rounding, is_finite, judge, widened
from injecttf2.packed import (
    Batch,
    FaultySamples,
    Packed,
    Words,
    capacities,
    change_words,
    placed,
    random_sites,
)
from injecttf2.parts import Found, Part, evaluated, guarded
from injecttf2.path import Path

Index = npt.NDArray[np.int64]


class DenseSuffix(ABC):
    """The steps behind a cut, compiled at one batch shape.

    Args:
        graph: The model.
        layer: Address of the layer, as results name it.
        cut: Where the model is cut for it.
        assessment: What is asked of outputs.
    """

    def __init__(self, graph: Graph, layer: str, cut: Cut, assessment: Assessment) -> None:
        self.layer = layer
        self.cut = cut
        self.batch = batch_size(graph, [*cut.at, *cut.suffix], cut.frontier)
        self.assessment = assessment
        self._graph = graph
        self._compiled: dict[Any, Any] = {}

    @property
    @abstractmethod
    def key(self) -> str:
        """Under which name faster ways are kept."""

    @abstractmethod
    def path(self, sparse: int | None) -> Path:
        """Return the steps behind the fault as a faster level takes them; see :class:`Path`."""

    @abstractmethod
    def random_faults(self, count: int, samples: int) -> Sequence[FaultySamples]:
        """Return faults of a random bit each, the same every time.

        Args:
            count: Injections in all of them, at least.
            samples: Rows of the golden block that they are spread over.
        """

    @abstractmethod
    def faultless(self, hits: Any) -> FaultySamples:
        """Return a sample or more of those that are to be evaluated, without any fault."""

    @abstractmethod
    def _batch(self, part: Part) -> tuple[Any, tuple[int, ...]]:
        """Return a part on the device, the rows int32 [batch] first, and what else its shape is."""

    @abstractmethod
    def _faulty(self, frontier: Any, batch: Any) -> Any:
        """Return the model's outputs for a batch, as :meth:`_batch` returns it."""

    def judge(self, block: GoldenBlock, outputs: Any, labels: Any, hits: Any) -> Verdict:
        """Inject, run the suffix and judge.

        Args:
            block: Golden tensors, those of the frontier first.
            outputs: What :meth:`golden_outputs` returned.
            labels: [samples or more, ...], of the block's samples.
            hits: What to inject.

        Returns:
            Verdicts on the hits, NumPy arrays; ``due`` where an operation of the model raises.
        """
        found = self._evaluated("judge", self._judge, block, (outputs, labels), hits)
        if len(found.raised) and not self.assessment.is_builtin:
            self._see_that_the_model_raises(block, hits.take(found.raised), found.error)
        return Verdict(*found.columns(self.assessment.due))

    def examine(self, block: GoldenBlock, outputs: Any, hits: Any) -> tuple[Any, Any, Any]:
        """Inject, run the suffix and judge by top-1.

        Returns:
            Outcome codes uint8 [hits], classes int32 [hits], and how far the outputs are from
            golden, float64 [hits], relative to the largest golden magnitude; NaN where an operation
            raises.
        """
        found = self._evaluated("examine", self._examine, block, (outputs,), hits)
        code, faulty_class, distance = found.columns(
            (np.uint8(DUE), np.int32(-1), np.float64(np.nan))
        )
        return code, faulty_class, distance

    def outputs(self, block: GoldenBlock, hits: Any) -> npt.NDArray[Any]:
        """Inject and return the model's outputs [hits, ...], NaN where an operation raises.

        They are in the model's output dtype, or float64 where that cannot hold a NaN.
        """
        found = self._evaluated("faulty", self._outputs, block, (), hits)
        output = self._graph.output
        dtype = bits.numpy_dtype(output.dtype)
        if len(found.raised) and "int" in output.dtype:
            dtype = np.dtype(np.float64)
        shape = self._graph.shape(id(output))
        empty = np.full(shape, np.nan if len(found.raised) else 0, dtype)
        (outputs,) = found.columns((empty,))
        return outputs

    def _evaluated(
        self,
        name: Any,
        body: Callable[..., Any],
        block: GoldenBlock,
        given: tuple[Any, ...],
        hits: FaultySamples,
    ) -> Found:
        """Return what a function makes of hits.

        Args:
            name: Under which the compiled function is kept.
            body: Called on the frontier, what is given, and a batch.
            block: Golden tensors, those of the frontier first.
            given: Tensors that are the same for all batches.
            hits: What to inject.
        """
        frontier = self._frontier(block)

        def compiled(part: Part) -> tuple[Callable[..., Any], Any]:
            batch, room = self._batch(part)
            signature = tf.nest.map_structure(spec_of, (*given, batch))
            return self._function((name, room), block, body, *signature), batch

        def run(work: tuple[Callable[..., Any], Any]) -> Any:
            function, batch = work
            return function(frontier, *given, batch)

        def run_parts(parts: Iterable[Part]) -> Iterator[Any]:
            return side_by_side(guarded(run), map(compiled, parts))

        return evaluated(
            hits, run_parts, self.faultless(hits), size=self.batch, start=block.start or 0
        )

    def _see_that_the_model_raises(
        self, block: GoldenBlock, hits: Any, error: Exception | None
    ) -> None:
        """See that what raises is the model, not a judge of the user's own.

        Raises:
            tf.errors.OpError: It is the judge.
        """
        found = self._evaluated("faulty", self._outputs, block, (), hits)
        if len(found.raised) < len(hits) and error is not None:
            raise error

    def _judge(self, frontier: Any, golden: Any, labels: Any, batch: Any) -> Verdict:
        rows, _ = batch
        outputs = self._faulty(frontier, batch)
        return self.assessment.verdict(outputs, tf.gather(golden, rows), tf.gather(labels, rows))

    def _examine(self, frontier: Any, golden: Any, batch: Any) -> tuple[Any, Any, Any]:
        return judge(self._faulty(frontier, batch), tf.gather(golden, batch[0]))

    def _outputs(self, frontier: Any, batch: Any) -> tuple[Any]:
        return (self._faulty(frontier, batch),)

    def forget(self) -> None:
        """Forget the compiled functions: golden blocks will have another shape."""
        self._compiled.clear()

    def golden_outputs(self, block: GoldenBlock, expected: npt.NDArray[Any]) -> Any:
        """Compute the golden outputs of the block that is loaded, [samples or more, ...].

        Args:
            block: Golden tensors, those of the frontier first.
            expected: [samples, ...], the model's own golden outputs.

        Raises:
            EngineError: The steps behind the cut do not reproduce them from the frontier.
        """
        output = tf.TensorSpec((self.batch, *expected.shape[1:]), self._graph.output.dtype)
        beside = map(spec_of, self._beside)
        function = self._function("golden", block, self._golden, _SCALAR, output, *beside)
        room = padded_count(block.samples, self.batch)
        outputs = tf.raw_ops.Empty(shape=(room, *expected.shape[1:]), dtype=output.dtype)
        bounds = list(batches(len(expected), self.batch))

        def run(bound: tuple[int, int]) -> tuple[Any, Any]:
            rows = tf.constant(padded(expected[slice(*bound)], self.batch))
            first = tf.constant(bound[0], tf.int32)
            computed, right = function(self._frontier(block), first, rows, *self._beside)
            return computed, right

        results = side_by_side(run, bounds)
        for (first, last), (computed, right) in zip(bounds, results, strict=True):
            wrong = np.count_nonzero(~right.numpy()[: last - first])
            if wrong:
                raise EngineError(
                    f"the part of the model behind {self.layer!r} does not reproduce the golden "
                    f"outputs of {wrong} of {last - first} samples from the layer's golden "
                    "output, so the model cannot be cut there"
                )
            write_rows([outputs], first, [computed])
        return outputs

    def _frontier(self, block: GoldenBlock) -> tuple[Any, ...]:
        return block.tensors[: len(self.cut.frontier)]

    def _function(
        self, name: Any, block: GoldenBlock, body: Callable[..., Any], *signature: Any
    ) -> Callable[..., Any]:
        """Return one of the compiled functions, tracing it when it is first asked for."""
        if name not in self._compiled:
            frontier = block.signature()[: len(self.cut.frontier)]
            function = tf.function(body, autograph=False)
            compiled = function.get_concrete_function(frontier, *signature)
            self._check_compiled(compiled)
            self._compiled[name] = compiled
        found: Callable[..., Any] = self._compiled[name]
        return found

    def _check_compiled(self, function: Any) -> None:
        """See that a function does what it is to do, once it is traced."""
        del function  # outputs of layers are part of whatever was traced

    @property
    def _beside(self) -> tuple[Any, ...]:
        """What the steps need beside the frontier."""
        return ()

    def _golden(self, frontier: Any, first: Any, expected: Any, *beside: Any) -> tuple[Any, Any]:
        outputs = self._run(self._gather(frontier, self._rows(frontier, first)), *beside)
        # At a tie the class may differ by rounding alone, as low precision may within the class.
        found, expected = widened(outputs), widened(expected)
        decided = ~self.assessment.judge.differs(found, expected)
        return outputs, (is_finite(found) & decided) | equal_up_to_rounding(found, expected)

    def _rows(self, frontier: Any, first: Any) -> Any:
        """Return the rows of the batch that begins at a row of the block."""
        rows = first + tf.range(self.batch, dtype=tf.int32)
        return tf.minimum(rows, frontier[0].shape[0] - 1)

    def _gather(self, frontier: Any, rows: Any) -> Values:
        keys_and_tensors = zip(self.cut.frontier, frontier, strict=True)
        return {key: tf.gather(tensor, rows) for key, tensor in keys_and_tensors}

    def _run(self, values: Values) -> Any:
        return self._graph.run(self.cut.suffix, values)[id(self._graph.output)]


_SCALAR = tf.TensorSpec((), tf.int32)


class OutputsSuffix(DenseSuffix):
    """The same with a fault in the tensor that is cut at.

    Args:
        graph: The model.
        layer: Address of the layer.
        assessment: What is asked of outputs.
    """

    def __init__(self, graph: Graph, layer: str, assessment: Assessment) -> None:
        super().__init__(graph, layer, graph.cut(layer), assessment)

    @property
    def key(self) -> str:
        """The address of the layer."""
        return self.layer

    def path(self, sparse: int | None) -> Path:
        """Return the steps behind the cut."""
        return Path(self._graph, self.layer, sparse)

    def random_faults(self, count: int, samples: int) -> list[Packed]:
        """Return ``count`` words of which a bit flips."""
        return [random_sites(self._graph, self.cut.frontier[0], count, samples)]

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtype of each layer that is hit."""
        return (self._graph.dtypes[self.cut.frontier[0]],)

    def faultless(self, hits: Packed) -> Packed:
        """Return the first sample without what is wrong in it."""
        return Packed(hits.rows[:1], tuple(map(Words.none, self.dtypes)))

    def values(
        self, block: GoldenBlock, hits: Packed, layer: int, hit: Index, element: Index
    ) -> tuple[npt.NDArray[Any], Index]:
        """Return values of a layer before its words change.

        Args:
            block: Golden tensors.
            hits: What to inject; what it says of this and later layers does not matter.
            layer: Which of the layers that are hit.
            hit: int64 [sites], which of the hits, ascending.
            element: int64 [sites].

        Returns:
            [sites], and which of the hits make an operation raise before, so that theirs mean
            nothing, int64.
        """
        del layer  # there is one, and what it gives out is golden
        target = block.tensors[0]
        size = target.shape.num_elements() // target.shape[0]
        index = hits.rows[hit].astype(np.int64) * size + element
        values: npt.NDArray[Any] = tf.gather(tf.reshape(target, (-1,)), index).numpy()
        return values, np.empty(0, np.int64)

    def _batch(self, part: Part) -> tuple[Batch, tuple[int, ...]]:
        batch = placed(part.hits, part.place, self.batch)
        return batch, capacities(batch)

    def _faulty(self, frontier: Any, batch: Batch) -> Any:
        rows, (words,) = batch
        values = self._gather(frontier, rows)
        target = self.cut.frontier[0]
        values[target] = change_words(values[target], words, fresh=True)
        return self._run(values)


def spec_of(tensor: Any) -> tf.TensorSpec:
    """Return shape and dtype of a tensor: how compiled functions take it."""
    return tf.TensorSpec(tensor.shape, tensor.dtype)
