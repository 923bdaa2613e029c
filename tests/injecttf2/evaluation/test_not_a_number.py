"""NaN behind a fault: what comes of it does not depend on which kernels there are."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.faults.bit_faults import BitFlip
from injecttf2.levels import LEVELS
from injecttf2.sampling.rates import Exhaustive
from injecttf2.trial import WEIGHTS, CellTrials, Identity
from tests.builders import cell_of
from tests.injecttf2.test_device import python

SAMPLES = 90


def network(second: str) -> keras.Model:
    """A batch normalisation and, behind it, a layer with a ReLU that TensorFlow can fuse."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    behind = {
        "conv": [keras.layers.Conv2D(4, 3, activation="relu", name="behind")],
        "depthwise": [keras.layers.DepthwiseConv2D(3, activation="relu6", name="behind")],
        "dense": [keras.layers.Flatten(), keras.layers.Dense(8, activation="relu", name="behind")],
        "elu": [keras.layers.Conv2D(4, 3, activation="elu", name="behind")],
    }[second]
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.BatchNormalization(name="bn"),
            *behind,
            keras.layers.Flatten(),
            keras.layers.Dense(3, name="classes"),
        ]
    )


@pytest.mark.parametrize("levels", [(), LEVELS], ids=["dense", "all"])
@pytest.mark.parametrize("second", ["conv", "depthwise", "dense", "elu"])
def test_nan_of_a_batch_normalisation_is_due_whatever_follows(
    second: str, levels: tuple[str, ...]
) -> None:
    """A variance of 1 whose sign is flipped has no root: every sample is NaN in one channel."""
    inputs = np.random.default_rng(1).normal(size=(SAMPLES, 6, 6, 2)).astype(np.float32)
    engine = Engine(network(second), Dataset(inputs, np.zeros(SAMPLES, np.int64)), levels=levels)
    cell = cell_of("bn", BitFlip(bit=31), Exhaustive(), WEIGHTS, variable="moving_variance")
    trials = list(CellTrials(cell, 0, 2).trials(Identity("model", "data", seed=1)))
    assert engine.evaluate(trials).tallies.due.tolist() == [SAMPLES, SAMPLES]


@pytest.mark.parametrize("onednn", ["0", "1"])
def test_graphs_give_the_nan_that_operations_give(onednn: str) -> None:
    code = """
from injecttf2 import device
device.configure(gpu=False)
import numpy as np
import tensorflow as tf
rows, kernel = np.ones((10, 16), np.float32), np.ones((16, 8), np.float32)
rows[4, 3] = np.nan
@tf.function(autograph=False)
def fused(x):
    return tf.nn.relu(tf.nn.bias_add(tf.matmul(x, kernel), np.ones(8, np.float32)))
print(np.isnan(fused(tf.constant(rows))).sum(axis=1).tolist())
"""
    done = python(code, TF_ENABLE_ONEDNN_OPTS=onednn)
    assert done.stdout == f"{[0, 0, 0, 0, 8, 0, 0, 0, 0, 0]}\n", done.stderr
