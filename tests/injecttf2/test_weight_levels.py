"""Faults in weights at faster levels: the outcomes are those of level dense, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from injecttf2 import batches, injected_weights
from injecttf2.channels import ChannelPath, channel_of, has_channels
from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.evaluation import Injections
from injecttf2.faults import BitFlip, StuckAt
from injecttf2.graph import Graph
from injecttf2.path import NoRule
from injecttf2.rates import Count
from injecttf2.routes import Route, Routes, Way
from injecttf2.shortcut import Shortcut
from injecttf2.trials import Cell, Identity, Repetitions, Trial
from tests import networks

IDENTITY = Identity(model="m", data="d", seed=7)

MODELS = {
    "cnn": (networks.cnn, (8, 8, 1), 5),
    "residual": (networks.residual, (8, 8, 3), 6),
    "branches": (networks.branches, (12,), 4),
}

ROUTES = {
    "difference": Route(9, 0, 64, 64, head_jit=False, tail_jit=False),
    "difference by XLA": Route(9, 0, 64, 64, head_jit=False, tail_jit=True),
    "drop": Route(0, 1, 32, 64, head_jit=False, tail_jit=False),
    "both": Route(2, 1, 128, 32, head_jit=False, tail_jit=False),
    "both by XLA": Route(1, 1, 64, 64, head_jit=True, tail_jit=True),
}

LAYERS = [
    ("cnn", "conv"),
    ("cnn", "logits"),
    ("residual", "stem"),
    ("residual", "block1_conv2"),
    ("residual", "block1_bn"),
    ("residual", "logits"),
    ("branches", "right1"),
]


def trials_of(layer: str, fault: Any, rate: Any = None, *, count: int = 30) -> list[Trial]:
    cell = Cell(layer, fault, rate or Count(1), target="weights")
    return list(Repetitions(cell, 0, count).trials(IDENTITY))


def recorded(engine: Engine, trials: Sequence[Trial]) -> Injections:
    engine.prepare(trials[0].cell.scope, tune=True)
    injections = engine.evaluate(trials, record=True).injections
    assert injections is not None
    return injections


def assert_same(one: Injections, other: Injections) -> None:
    for field in ("trial", "sample", "variable", "element", "bit", "outcome", "faulty_class"):
        assert getattr(one, field).tolist() == getattr(other, field).tolist(), field


def sparse_steps(graph: Graph, layer: str) -> int:
    """How many steps behind a layer can be taken on the window of one channel."""
    path = ChannelPath(graph, layer)
    taken = 0

    def trace(shared: Any, batch: Any) -> Any:
        nonlocal taken
        differences = path.differences(batch[0], Zeros(graph), xla=False)
        path.inject(differences, shared, batch[1:])
        try:
            for taken in range(len(path.steps)):
                path.run(differences, taken, taken + 1)
            taken = len(path.steps)
        except NoRule:
            pass
        return batch[0]

    specs = path.shared_specs(), path.single_specs(8)
    tf.function(trace, autograph=False).get_concrete_function(*specs)
    return taken


class Zeros:
    """Golden tensors that hold nothing."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def __call__(self, key: Any) -> Any:
        tensor = key if isinstance(key, int) else self.graph.step(key.layer).outputs[0]
        return tf.zeros((8, *self.graph.shape(tensor)), self.graph.dtypes[tensor])


IN_SHORT = [
    *(("cnn", "conv", way) for way in ("difference", "drop", "both")),
    *(("cnn", "logits", "both"), ("residual", "stem", "both"), ("branches", "right1", "both")),
]


@pytest.mark.parametrize(
    ("name", "layer", "way"),
    [
        pytest.param(*one, marks=[pytest.mark.full] * (one not in IN_SHORT))
        for one in ((*layer, way) for layer in LAYERS for way in ROUTES)
    ],
)
def test_every_way_gives_the_outcomes_of_level_dense(name: str, layer: str, way: str) -> None:
    build, shape, classes = MODELS[name]
    dataset = Dataset(*networks.data(shape, classes))
    model = build()
    graph = Graph.of(model, dataset.inputs)
    most = sparse_steps(graph, layer)
    wanted = ROUTES[way]
    route = Route(
        min(wanted.sparse, most),
        min(wanted.check, len(graph.cut(layer).suffix)),
        wanted.head_batch,
        wanted.tail_batch,
        wanted.head_jit,
        wanted.tail_jit,
    )
    trials = trials_of(layer, BitFlip(bit_field="any"))
    for bit in (0, 22, 29, 30, 31):
        trials += trials_of(layer, BitFlip(bit=bit), count=4)
    dense = recorded(Engine(model, dataset, levels=()), trials)
    routes = Routes()
    routes.keep(f"{layer} (weights)", (Way(route, 2.0**-18),))
    engine = Engine(model, dataset, routes=routes)
    assert_same(recorded(engine, trials), dense)
    prepared = engine.prepare(trials[0].cell.scope)
    assert prepared.routes == [route]
    assert prepared.reevaluated < 0.5 * len(trials) * len(dataset)
    if route.check and route.sparse:
        assert prepared.dropped > 0
    assert set(np.unique(dense.outcome).tolist()) >= {0, 1, 2}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] * (name != "cnn")) for name in MODELS]
)
def test_the_way_that_is_found_gives_the_outcomes_of_level_dense(
    name: str, pytestconfig: pytest.Config
) -> None:
    every = [layer for of, layer in LAYERS if of == name]
    build, shape, classes = MODELS[name]
    model, dataset = build(), Dataset(*networks.data(shape, classes))
    dense, fast = Engine(model, dataset, levels=()), Engine(model, dataset)
    for layer in every if pytestconfig.getoption("--full") else every[:1]:
        trials = trials_of(layer, BitFlip(bit_field="any"))
        assert_same(recorded(fast, trials), recorded(dense, trials))
        assert fast.prepare(trials[0].cell.scope).tuned


@pytest.mark.parametrize(
    ("layer", "fault", "rate"),
    [
        ("conv", BitFlip(bit=30), Count(2)),  # several words, of one channel or of two
        ("conv", StuckAt(value=1, bit=30), Count(3)),
    ],
)
def test_more_than_one_word_is_left_to_level_dense(layer: str, fault: Any, rate: Any) -> None:
    dataset = Dataset(*networks.data((8, 8, 1), 5))
    model = networks.cnn()
    trials = trials_of(layer, fault, rate)
    routes = Routes()
    routes.keep("conv (weights)", (Way(ROUTES["difference"], 2.0**-18),))
    engine = Engine(model, dataset, routes=routes)
    dense = recorded(Engine(model, dataset, levels=()), trials)
    assert_same(recorded(engine, trials), dense)


def test_the_channel_of_a_changed_weight() -> None:
    kernel = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    bias = np.arange(4, dtype=np.float32)
    corrupted = kernel.copy()
    corrupted[1, 2, 3] = -1
    channel, place, *columns = (one.numpy() for one in channel_of((kernel, bias), 0, corrupted))
    assert (channel, place) == (3, 5)
    assert [column.tolist() for column in columns] == [
        [[3, 7, 11], [15, 19, -1]],
        3,
        [[3, 7, 11], [15, 19, 23]],
        3,
    ]
    corrupted = bias.copy()
    corrupted[0] = -0.0  # another word, though equal
    channel, place, *columns = (one.numpy() for one in channel_of((kernel, bias), 1, corrupted))
    assert (channel, place) == (0, 0)
    assert np.signbit(columns[1])
    assert not np.signbit(columns[3])


def test_several_changed_weights_have_no_channel() -> None:
    kernel = np.zeros((2, 2), np.float32)
    assert channel_of((kernel,), 0, kernel.copy()) is None
    assert channel_of((kernel,), 0, np.array([[1, 0], [1, 0]], np.float32)) is None


@pytest.mark.parametrize(
    ("layer", "known"),
    [
        (layers.Conv2D(4, 3), True),
        (layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False), True),
        (layers.Conv2D(4, 3, dilation_rate=2, activation="gelu"), True),
        (layers.BatchNormalization(), True),
        (layers.BatchNormalization(scale=False), True),
        (layers.BatchNormalization(center=False), True),
        (layers.Dense(4), True),
        (layers.Conv2D(4, 3, groups=2), False),
        (layers.Conv2D(4, 3, activation="softmax"), False),
        (layers.BatchNormalization(axis=1), False),
        (layers.Dense(4, activation="softmax"), False),
        (layers.Dense(4, dtype="mixed_float16"), False),
        (layers.DepthwiseConv2D(3), False),
        (layers.LayerNormalization(), False),
    ],
)
def test_layers_whose_weights_have_channels(layer: Any, known: bool) -> None:
    model = keras.Sequential([keras.Input((8, 8, 4)), layer, layers.GlobalAveragePooling2D()])
    scatter(model)
    graph = Graph(model)
    assert has_channels(graph, layer.name) == known
    if not known:
        return
    inputs = np.random.default_rng(1).normal(size=(48, 8, 8, 4)).astype(np.float32)
    dataset = Dataset(inputs, np.zeros(48, np.int64))
    routes = Routes()
    routes.keep(f"{layer.name} (weights)", (Way(Route(1, 0, 24, 24, False, False), 2.0**-18),))
    trials = trials_of(layer.name, BitFlip(bit_field="any"), count=60)
    engine = Engine(model, dataset, routes=routes)
    dense = recorded(Engine(model, dataset, levels=()), trials)
    assert_same(recorded(engine, trials), dense)
    assert engine.prepare(trials[0].cell.scope).reevaluated < 60 * 48 / 2


def test_a_layer_that_is_called_twice_has_no_channels() -> None:
    inputs = keras.Input((4,))
    twice = layers.Dense(4, name="twice")
    graph = Graph(keras.Model(inputs, twice(twice(inputs))))
    assert not has_channels(graph, "twice")


def test_a_way_that_fails_leaves_all_to_level_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Dataset(*networks.data((8, 8, 1), 5))
    model = networks.cnn()
    trials = trials_of("conv", BitFlip(bit=30))
    dense = recorded(Engine(model, dataset, levels=()), trials)

    def fail(*_: object) -> None:
        raise tf.errors.InternalError(None, None, "of the test")

    monkeypatch.setattr(Shortcut, "evaluate", fail)
    routes = Routes()
    routes.keep("conv (weights)", (Way(ROUTES["difference"], 2.0**-18),))
    engine = Engine(model, dataset, routes=routes)
    assert_same(recorded(engine, trials), dense)
    assert engine.prepare(trials[0].cell.scope).routes == []


def test_several_blocks_give_the_same_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BATCH_BYTES", 2**16)
    dataset = Dataset(*networks.data((8, 8, 1), 5, samples=500))
    model = networks.cnn()
    trials = trials_of("conv", BitFlip(bit_field="any"), count=6)
    routes = Routes()
    routes.keep("conv (weights)", (Way(ROUTES["drop"], 2.0**-18),))
    whole = recorded(Engine(model, dataset, routes=routes), trials)
    blocks = Engine(model, dataset, routes=routes, memory=1)
    assert_same(recorded(blocks, trials), whole)
    computed = blocks.golden_use.computed
    assert computed == len(blocks.prepare(trials[0].cell.scope).bounds) > 1  # each once for all
    monkeypatch.setattr(injected_weights, "SAMPLES_IN_BLOCKS", 2 * 500)  # two trials at a time
    assert_same(recorded(blocks, trials), whole)


def scatter(model: keras.Model) -> None:
    """Give every weight a value of its own, and variances that are positive."""
    generator = np.random.default_rng(2)
    for layer in model.layers:
        layer.set_weights([generator.uniform(0.2, 1.2, w.shape) for w in layer.get_weights()])
