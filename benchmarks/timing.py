"""Times of calls, and trials to time."""

import statistics
import time
from collections.abc import Callable
from typing import Any

FORWARD_BATCHES = (64, 128, 256)
"""Batch sizes of the plain forward pass; the best counts."""

Clock = Callable[[], float]

CLOCKS: tuple[Clock, Clock] = (time.perf_counter, time.process_time)
"""The clock on the wall, and the CPU time of this process, which others' work changes little."""


def seconds(call: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    """How long a call takes, by the clock on the wall or by another."""
    begin = clock()
    call()
    return clock() - begin


def median_seconds(call: Callable[[], object], rounds: int) -> float:
    """Median time of a call, one before it left out, which may compile."""
    call()
    return statistics.median(seconds(call) for _ in range(rounds))


def forward_rate(model: Any, inputs: Any, clock: Clock = time.perf_counter) -> float:
    """Images/s of the whole compiled model at its best batch size; a CPU clock gives those a CPU s.

    Args:
        model: A Keras model.
        inputs: At least as many images as the smallest of ``FORWARD_BATCHES``.
        clock: What tells seconds.
    """
    import tensorflow as tf

    forward = tf.function(lambda images: model(images, training=False), autograph=False)
    rates = []
    for batch in FORWARD_BATCHES:
        if batch > len(inputs):
            break
        images = tf.constant(inputs[:batch])
        forward(images)
        times = [seconds(lambda i=images: forward(i).numpy(), clock) for _ in range(5)]
        rates.append(batch / statistics.median(times))
    return max(rates)


def trials(layer: str, count: int, *, start: int = 0, bit: int | None = None) -> list[Any]:
    """Trials with a hit in every sample, at a bit or at random ones."""
    from injecttf2.faults.bit_faults import BitFlip
    from injecttf2.sampling.rates import Probability
    from injecttf2.trial import Cell, CellTrials, Identity, Scope

    fault = BitFlip(bit_field="any") if bit is None else BitFlip(bit=bit)
    identity = Identity("model", "data", seed=2026)
    return list(
        CellTrials(Cell(Scope((layer,)), fault, Probability(1.0)), start, start + count).trials(
            identity
        )
    )
