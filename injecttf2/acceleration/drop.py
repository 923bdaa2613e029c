"""Level ``drop``: a sample that is golden again, bit for bit, needs no further look."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from injecttf2.bits import LAYOUTS
from injecttf2.evaluation.chain import Tensors
from injecttf2.evaluation.golden_cache import GoldenCache


class Drop:
    """Tells which samples hold golden bits at a boundary of the chain.

    What is behind is the same compiled function for both, so their outputs would be equal too.

    Args:
        golden: The golden tensors.
    """

    def __init__(self, golden: GoldenCache) -> None:
        self._golden = golden
        self._compiled: dict[int, Any] = {}

    def __call__(self, place: int, tensors: Tensors, rows: Any) -> Any:
        """Return for each sample of a batch whether it is golden, bool [batch].

        Args:
            place: The boundary.
            tensors: Those of the batch there.
            rows: int32 [batch], the rows of its samples in the golden block.
        """
        golden = self._golden.tensors(place)
        if place not in self._compiled:
            specs = tuple(tf.TensorSpec((None, *one.shape[1:]), one.dtype) for one in golden)
            batch = tuple(tf.TensorSpec(one.shape, one.dtype) for one in tensors)
            row = tf.TensorSpec(rows.shape, rows.dtype)
            function = tf.function(_same, autograph=False)
            self._compiled[place] = function.get_concrete_function(batch, specs, row)
        return self._compiled[place](tensors, golden, rows)


def _same(tensors: Tensors, golden: Tensors, rows: Any) -> Any:
    same = tf.ones(rows.shape, tf.bool)
    for one, other in zip(tensors, golden, strict=True):
        same &= equal_bits(one, tf.gather(other, rows))
    return same


def equal_bits(values: Any, others: Any) -> Any:
    """Return for each row of two tensors [rows, ...] whether they hold the same bits."""
    if (layout := LAYOUTS.get(values.dtype.name)) is not None:  # NaN equals no NaN
        values, others = (tf.bitcast(one, layout.word.name) for one in (values, others))
    return tf.reduce_all(values == others, axis=list(range(1, values.shape.rank)))
