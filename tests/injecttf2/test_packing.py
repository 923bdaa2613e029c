"""Packing survivors: every sample once, in order, at a fixed shape."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from injecttf2.packing import HOST_BYTES, Packing


@pytest.mark.parametrize("width", [1, HOST_BYTES])  # rows that NumPy packs, and larger ones
@pytest.mark.parametrize("alive", [[4, 0, 1, 3, 4, 2], [4, 4, 4], [1, 1, 1], [0, 0]])
def test_survivors_come_in_order_at_a_fixed_shape(width: int, alive: list[int]) -> None:
    packing = Packing(3)
    found: list[int] = []
    values: list[float] = []
    shapes = set()

    def take(index: np.ndarray, state: list[object]) -> None:
        (rows,) = (np.asarray(part) for part in state)
        shapes.add(rows.shape)
        found.extend(index.tolist())
        values.extend(rows[: len(index), 0].tolist())

    expected = []
    for number, count in enumerate(alive):
        places = np.arange(4)[4 - count :]
        rows = tf.range(4.0 * number, 4.0 * number + 4)[:, tf.newaxis]
        packing.add(4 * number + places, [tf.repeat(rows, width, axis=1)], places)
        expected.extend((4 * number + places).tolist())
        for batch in packing.full():
            take(*batch)
    for batch in packing.rest():
        take(*batch)
    assert found == expected
    assert values == expected
    assert shapes <= {(3, width)}
