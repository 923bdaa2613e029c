"""What the layers of an engine share: samples with faults in, verdicts out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2 import bits
from injecttf2.datasets import Dataset
from injecttf2.evaluation.batching import batches
from injecttf2.evaluation.chain import Chain, Tensors
from injecttf2.evaluation.faults import Faults
from injecttf2.evaluation.golden_cache import GoldenCache
from injecttf2.evaluation.golden_run import GoldenRun
from injecttf2.evaluation.travel import Leave, Traveller, Travelling, joined
from injecttf2.judging import Assessment, Verdict
from injecttf2.judging.outcomes import OutcomeCounts
from injecttf2.judging.tallies import count_outcomes

Index = npt.NDArray[np.int64]

GROUP_BYTES = 2**28
"""Bytes of the samples that travel together."""

MOST_SAMPLES = 2**17
"""Samples that travel together at most."""


@dataclass(frozen=True, eq=False)
class Judged:
    """What became of samples.

    Args:
        verdict: On each, NumPy arrays.
        raised: int64, ascending: which of them make an operation raise.
        dropped: How many left early, golden again.
        reevaluated: How many a faster level left to level ``dense``.
    """

    verdict: Verdict
    raised: Index
    dropped: int
    reevaluated: int = 0


Judge = Callable[[Sequence[Faults]], Judged]
"""Evaluates samples of the loaded block; see :meth:`Evaluator.verdict`."""


@dataclass(frozen=True, eq=False)
class Evaluator:
    """Evaluates samples with faults.

    Args:
        chain: The model.
        dataset: Inputs and labels.
        golden: The model's golden run on that data set.
        cache: Golden tensors of the block that is loaded.
        assessment: What is asked of outputs.
        leave: Tells which samples may leave early; None at level ``dense``.
    """

    chain: Chain
    dataset: Dataset
    golden: GoldenRun
    cache: GoldenCache
    assessment: Assessment
    leave: Leave | None = None
    _compiled: dict[str, Any] = field(default_factory=dict, repr=False)

    def blocks(self, first: int) -> list[tuple[int, int]]:
        """Return first and one past the last sample of each block; the loaded one comes first.

        Args:
            first: The first boundary that is needed.
        """
        samples, size = len(self.dataset), self.cache.block(first)
        starts = sorted(range(0, samples, size), key=lambda start: start != self.cache.start)
        return [(start, min(start + size, samples)) for start in starts]

    def load(self, start: int, first: int) -> None:
        """Have golden tensors of a block in place, from a boundary on."""
        self.cache.load(start, first)

    def group(self, place: int) -> int:
        """Return how many samples may travel together behind a boundary."""
        chain = self.chain
        widest = max(chain.row_bytes(one) for one in range(place, len(chain) + 1))
        fitting = min(MOST_SAMPLES, GROUP_BYTES // max(1, widest))
        whole = max(chain.batch)
        if 2 * fitting >= whole:  # rather somewhat more than batches that are filled in part
            return int(max(1, fitting // whole) * whole)
        return int(max(chain.unit, fitting // chain.unit * chain.unit))

    def verdict(self, faults: Sequence[Faults]) -> Judged:
        """Evaluate samples of the loaded block, as many at a time as there is room for.

        Args:
            faults: What is wrong with them, all in the same segments.

        Returns:
            What became of all samples, one after another.
        """
        found = [self._verdict(part) for part in self._together(faults)]
        if len(found) == 1:
            return found[0]
        offsets = np.cumsum([0, *(len(one.verdict.outcome) for one in found)])
        raised = [one.raised + start for one, start in zip(found, offsets, strict=False)]
        return Judged(
            Verdict.joined([one.verdict for one in found]),
            np.concatenate(raised),
            sum(one.dropped for one in found),
        )

    def golden_verdict(self, samples: Index) -> Verdict:
        """Return the golden run's verdict on some samples of the data set, as arrays to change."""
        return Verdict(*(column[samples] for column in self.golden.verdict))

    def stop(self, verdict: Verdict, samples: npt.NDArray[Any]) -> None:
        """Write into a verdict that some samples have no outputs.

        Args:
            verdict: NumPy arrays.
            samples: Which, int64 or bool.
        """
        for column, value in zip(verdict, self.assessment.due, strict=True):
            column[samples] = value

    def _together(self, faults: Sequence[Faults]) -> Iterator[list[Faults]]:
        """Yield samples that travel together, in parts where they are too many."""
        most = self.group(min(faults[0].last + 1, len(self.chain)))
        parts: list[Faults] = []
        count = 0
        for one in faults:
            for start, stop in batches(len(one), most):
                if count + stop - start > most:
                    yield parts
                    parts, count = [], 0
                parts.append(one.part(start, stop))
                count += stop - start
        yield parts

    def _verdict(self, faults: Sequence[Faults]) -> Judged:
        rows, traveller, travelling = self._through(faults)
        verdict = self.golden_verdict(rows.astype(np.int64) + (self.cache.start or 0))
        labels = self._labels()
        for batch, tensors in travelling.samples:
            found = self._judged(tensors[0], rows[batch.filled(int(tensors[0].shape[0]))], labels)
            for column, values in zip(verdict, found, strict=True):
                column[batch.index] = values.numpy()[batch.place]
        raised = _sorted(traveller.fates.raised)
        self.stop(verdict, raised)
        return Judged(verdict, raised, sum(map(len, traveller.fates.golden)))

    def ends(self, faults: Sequence[Faults]) -> Iterator[tuple[Index, Index, Tensors]]:
        """Yield samples at the end: which they are, where in a batch, and the batch's tensors."""
        _, _, travelling = self._through(faults)
        for batch, tensors in travelling.samples:
            yield batch.index, batch.place, tensors

    def enter(self, faults: Faults) -> None:
        """Take samples of the loaded block through the segments that something is wrong in."""
        for (part,) in self._together([faults]):
            Traveller(self.chain, self.cache, part.rows).enter(part)

    def outputs(self, faults: Sequence[Faults]) -> npt.NDArray[Any]:
        """Return the model's outputs for samples of the loaded block, [samples, ...].

        NaN where an operation raises; they are in the model's output dtype, or float64 where that
        cannot hold a NaN.
        """
        return np.concatenate([self._outputs(part) for part in self._together(faults)])

    def _outputs(self, faults: Sequence[Faults]) -> npt.NDArray[Any]:
        rows, traveller, travelling = self._through(faults)
        raised = _sorted(traveller.fates.raised)
        dtype = bits.numpy_dtype(self.chain.graph.output.dtype.name)
        if len(raised) and dtype.kind in "iu":
            dtype = np.dtype(np.float64)
        golden = self.golden.outputs[rows.astype(np.int64) + (self.cache.start or 0)]
        found = golden.astype(dtype)
        for batch, tensors in travelling.samples:
            found[batch.index] = tensors[0].numpy()[batch.place]
        found[raised] = np.nan if len(raised) else 0
        return found

    def tallies(
        self, trial: Index, sample: Index, verdict: Verdict, *, trials: int
    ) -> OutcomeCounts:
        """Count verdicts on injected samples per trial.

        Args:
            trial: int64 [injected], which of the trials the sample belongs to.
            sample: int64 [injected], into the data set, ascending in each trial.
            verdict: Of the injected samples.
            trials: Number of trials.
        """
        return count_outcomes(trial, sample, verdict, golden=self.golden.verdict, trials=trials)

    def _through(
        self, faults: Sequence[Faults]
    ) -> tuple[npt.NDArray[np.int32], Traveller, Travelling]:
        rows = np.concatenate([one.rows for one in faults])
        traveller = Traveller(self.chain, self.cache, rows, self.leave)
        offsets = np.cumsum([0, *map(len, faults[:-1])])
        parts = [
            traveller.enter(one, int(offset)) for one, offset in zip(faults, offsets, strict=True)
        ]
        return rows, traveller, traveller.go_on(joined(parts), faults[0].last + 1)

    def _judged(self, outputs: Any, rows: Any, labels: Any) -> Verdict:
        golden = self.cache.tensors(len(self.chain))[0]
        given = (outputs, golden, labels, tf.constant(rows))
        if "judge" not in self._compiled:
            specs = [
                tf.TensorSpec(outputs.shape, outputs.dtype),
                *(tf.TensorSpec((None, *one.shape[1:]), one.dtype) for one in (golden, labels)),
                tf.TensorSpec(rows.shape, tf.int32),
            ]
            judge = tf.function(self._judge, autograph=False)
            self._compiled["judge"] = judge.get_concrete_function(*specs)
        return Verdict(*self._compiled["judge"](*given))

    def _judge(self, outputs: Any, golden: Any, labels: Any, rows: Any) -> Verdict:
        return self.assessment.verdict(outputs, tf.gather(golden, rows), tf.gather(labels, rows))

    def _labels(self) -> Any:
        start = self.cache.start or 0
        key = f"labels {start} {self.cache.samples}"
        if key not in self._compiled:
            for other in [name for name in self._compiled if name.startswith("labels")]:
                del self._compiled[other]
            labels = self.dataset.labels[start : start + self.cache.samples]
            self._compiled[key] = tf.constant(labels)
        return self._compiled[key]


def _sorted(parts: Sequence[Index]) -> Index:
    return np.sort(np.concatenate(parts)) if parts else np.empty(0, np.int64)
