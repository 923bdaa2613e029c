"""Batches that run side by side."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import tensorflow as tf

from injecttf2.evaluation.batching import side_by_side


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """As many threads as ``device.configure`` was told; TensorFlow's own are as before."""
    count: int = request.param
    name = "get_inter_op_parallelism_threads"
    monkeypatch.setattr(tf.config.threading, name, lambda: count)
    return count


def test_as_many_run_at_a_time_as_there_are_threads(threads: int) -> None:
    together = threading.Barrier(threads, timeout=60)

    def run(batch: int) -> int:
        together.wait()  # breaks where fewer run at a time
        return 10 * batch

    batches = range(4 * threads)
    assert list(side_by_side(run, batches)) == [10 * batch for batch in batches]


def test_few_are_made_before_the_first_result_is_used(threads: int) -> None:
    made: list[int] = []

    def batches() -> Iterator[int]:
        for batch in range(100):
            made.append(batch)
            yield batch

    results = side_by_side(lambda batch: batch, batches())
    assert next(results) == 0
    assert made == list(range(threads + 1))


def test_none_give_none(threads: int) -> None:
    assert list(side_by_side(lambda batch: batch, [])) == []


def test_an_error_is_the_callers(threads: int) -> None:
    def run(batch: int) -> int:
        if batch == 3:
            raise ValueError("of the third")
        return batch

    with pytest.raises(ValueError, match="of the third"):
        list(side_by_side(run, range(10)))
