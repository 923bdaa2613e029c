"""Every level gives the outcomes of level dense, for every injected sample."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from injecttf2 import batches, datasets, injected, models
from injecttf2 import engine as engine_module
from injecttf2.bits import numpy_dtype
from injecttf2.datasets import Dataset, ModelInput, Preparation
from injecttf2.engine import Engine
from injecttf2.errors import CampaignError, EngineError
from injecttf2.evaluation import Injections
from injecttf2.faults import BitFlip
from injecttf2.graph import Graph
from injecttf2.levels import parse_levels
from injecttf2.rates import Probability
from injecttf2.routes import Route, Routes, Way
from injecttf2.shortcut import Shortcut
from injecttf2.trials import Cell, Identity, Repetitions, Trial
from injecttf2.tuning import Tuner, suits_levels
from tests import networks

IDENTITY = Identity(model="m", data="d", seed=7)

MODELS = {
    "cnn": (networks.cnn, (8, 8, 1), 5),
    "residual": (networks.residual, (8, 8, 3), 6),
    "branches": (networks.branches, (12,), 4),
}


def trials_of(cell: Cell, repetitions: int) -> list[Trial]:
    return list(Repetitions(cell, 0, repetitions).trials(IDENTITY))


def routes_of(layer: str, *routes: Route, bound: float = 2.0**-18) -> Routes:
    found = Routes()
    found.keep(layer, tuple(Way(route, bound) for route in routes))
    return found


def recorded(engine: Engine, trials: Sequence[Trial], *, tune: bool = True) -> Injections:
    engine.prepare(trials[0].cell.layer, tune=tune)
    injections = engine.evaluate(trials, record=True).injections
    assert injections is not None
    return injections


def assert_same(one: Injections, other: Injections) -> None:
    for field in ("trial", "sample", "element", "bit", "outcome", "faulty_class", "golden_class"):
        assert getattr(one, field).tolist() == getattr(other, field).tolist(), field
    np.testing.assert_array_equal(one.original, other.original)
    np.testing.assert_array_equal(one.corrupted, other.corrupted)


ROUTES = {
    "difference": Route(3, 0, 64, 64, head_jit=False, tail_jit=False),
    "difference_by_xla": Route(3, 0, 64, 64, head_jit=False, tail_jit=True),
    "drop": Route(0, 2, 32, 64, head_jit=False, tail_jit=False),
    "both": Route(2, 1, 128, 32, head_jit=True, tail_jit=False),
    "both_by_xla": Route(1, 2, 64, 64, head_jit=True, tail_jit=True),
}


@pytest.mark.parametrize(
    ("name", "layer", "route"),
    [
        *(("cnn", "conv", route) for route in ("difference", "drop", "both")),
        ("residual", "block1_conv1", "difference"),
        ("branches", "right1", "difference"),
        pytest.param("cnn", "conv", "difference_by_xla", marks=pytest.mark.full),
        pytest.param("cnn", "conv", "both_by_xla", marks=pytest.mark.full),
        pytest.param("residual", "block1_conv1", "both_by_xla", marks=pytest.mark.full),
        pytest.param("branches", "right1", "both_by_xla", marks=pytest.mark.full),
    ],
)
def test_every_route_gives_the_outcomes_of_level_dense(name: str, layer: str, route: str) -> None:
    build, shape, classes = MODELS[name]
    chosen = ROUTES[route]
    if name == "branches":  # its second step would have to follow 12 elements
        chosen = replace(chosen, sparse=min(1, chosen.sparse))
    dataset = Dataset(*networks.data(shape, classes))
    model = build()
    trials = trials_of(Cell(layer, BitFlip(bit_field="any"), Probability(0.9)), 20)
    trials += trials_of(Cell(layer, BitFlip(bit=30), Probability(0.9)), 10)
    dense = recorded(Engine(model, dataset, levels=()), trials)
    engine = Engine(model, dataset, routes=routes_of(layer, chosen))
    assert_same(recorded(engine, trials), dense)
    assert engine.prepare(layer).routes == [chosen]
    if name == "cnn":
        assert (engine.prepare(layer).dropped > 0) == (chosen.check > 0)


def test_a_level_left_out_is_not_used() -> None:
    trials = trials_of(Cell("conv", BitFlip(bit_field="any"), Probability(1.0)), 30)
    dataset = Dataset(*networks.data((8, 8, 1), 5))
    ways = {}
    for levels in ((), ("drop",), ("difference",)):
        routes = Routes()
        engine = Engine(networks.cnn(), dataset, levels=levels, routes=routes)
        engine.prepare("conv", tune=True)
        engine.evaluate(trials)
        ways[levels] = [way.route for way in routes.find("conv") or ()]
    assert ways[()] == []
    assert all(route.sparse == 0 for route in ways["drop",])
    assert all(route.check == 0 for route in ways["difference",])


def test_the_search_for_a_way_waits_until_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(networks.cnn(), Dataset(*networks.data((8, 8, 1), 5)))
    trials = trials_of(Cell("conv", BitFlip(bit=30), Probability(1.0)), 2)
    engine.evaluate(trials)
    assert not engine.prepare("conv").tuned
    monkeypatch.setattr(injected, "PATIENCE_SECONDS", 0.0)
    engine.evaluate(trials)
    assert engine.prepare("conv").tuned


def test_the_search_waits_as_long_as_an_earlier_one_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(injected, "PATIENCE_SECONDS", 0.0)
    routes = Routes()
    routes.keep("pool", (), seconds=1e6)
    engine = Engine(networks.cnn(), Dataset(*networks.data((8, 8, 1), 5)), routes=routes)
    for layer, searched in (("conv", False), ("pool", True)):  # what is known takes no search
        engine.evaluate(trials_of(Cell(layer, BitFlip(bit=30), Probability(1.0)), 2))
        assert engine.prepare(layer).tuned == searched


def test_layers_used_long_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "KEPT_LAYERS", 2)
    engine = Engine(networks.cnn(), Dataset(*networks.data((8, 8, 1), 5)), levels=())
    first, second = engine.prepare("conv"), engine.prepare("pool")
    engine.prepare("logits")
    assert engine.prepare("pool") is second
    assert engine.prepare("conv") is not first


def test_a_sample_that_is_not_finite_is_evaluated_densely() -> None:
    route = Route(3, 0, 64, 64, head_jit=False, tail_jit=False)
    engine = Engine(
        networks.cnn(), Dataset(*networks.data((8, 8, 1), 5)), routes=routes_of("conv", route)
    )
    injections = recorded(engine, trials_of(Cell("conv", BitFlip(bit=30), Probability(1.0)), 20))
    not_finite = np.count_nonzero(~np.isfinite(injections.corrupted))
    assert not_finite > 20
    assert engine.prepare("conv").reevaluated >= not_finite


def test_a_second_way_takes_what_the_first_leaves_open() -> None:
    first = Route(3, 0, 64, 64, head_jit=False, tail_jit=True)
    second = Route(3, 0, 32, 32, head_jit=False, tail_jit=False)
    dataset = Dataset(*networks.data((8, 8, 1), 5))
    trials = trials_of(Cell("conv", BitFlip(bit_field="any"), Probability(1.0)), 60)
    left = []
    for ways in ((Way(first, 2.0**-16),), (Way(first, 2.0**-16), Way(second, 2.0**-22))):
        routes = Routes()
        routes.keep("conv", ways)
        engine = Engine(networks.cnn(), dataset, routes=routes)
        injections = recorded(engine, trials)
        left.append(engine.prepare("conv").reevaluated)
    assert left[1] < left[0] / 2
    assert_same(injections, recorded(Engine(networks.cnn(), dataset, levels=()), trials))


def test_several_blocks_give_the_same_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "LARGEST_BATCH", 48)
    dataset = Dataset(*networks.data((8, 8, 1), 5, samples=200))
    trials = trials_of(Cell("conv", BitFlip(bit_field="any"), Probability(1.0)), 6)
    route = Route(2, 1, 32, 32, head_jit=False, tail_jit=False)
    engine = Engine(networks.cnn(), dataset, routes=routes_of("conv", route), memory=1)
    assert engine.prepare("conv", tune=True).block < 200
    whole = recorded(Engine(networks.cnn(), dataset, levels=()), trials)
    assert_same(recorded(engine, trials), whole)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_levels_hold_in_every_dtype(dtype: str) -> None:
    inputs, labels = networks.data((8, 8, 1), 5)
    dataset = Dataset(inputs.astype(numpy_dtype(dtype)), labels)
    trials = trials_of(Cell("conv", BitFlip(bit_field="any"), Probability(1.0)), 20)
    routes = Routes()
    engine = Engine(networks.cnn(dtype), dataset, routes=routes)
    found = recorded(engine, trials)
    assert_same(found, recorded(Engine(networks.cnn(dtype), dataset, levels=()), trials))
    assert bool(engine.prepare("conv").routes) == (dtype == "float64")  # 16 bits round too much


def test_a_model_with_masks_and_whole_numbers_stays_at_level_dense() -> None:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((6, 3), name="steps")
    masked = keras.layers.Masking(name="masked")(inputs)
    x = keras.layers.LSTM(4, name="lstm")(masked)
    model = keras.Model(inputs, keras.layers.Dense(3, name="classes")(x))
    graph = Graph(model)
    assert not suits_levels(graph, graph.cut("steps"))
    assert suits_levels(graph, graph.cut("lstm"))


def test_where_no_way_is_found_level_dense_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no memory")

    caplog.set_level(logging.WARNING, "injecttf2")
    dataset = Dataset(*networks.data((8, 8, 1), 5))
    trials = trials_of(Cell("conv", BitFlip(bit_field="any"), Probability(1.0)), 3)
    dense = recorded(Engine(networks.cnn(), dataset, levels=()), trials)
    for name in ("golden_keys", "shortcuts"):
        monkeypatch.setattr(Tuner, name, fail)
        assert_same(recorded(Engine(networks.cnn(), dataset), trials), dense)
        assert "conv: no faster way than level dense: RuntimeError: no memory" in caplog.text
        monkeypatch.undo()
        caplog.clear()


def test_a_way_that_fails_in_use_leaves_all_to_level_dense(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    caplog.set_level(logging.WARNING, "injecttf2")
    dataset = Dataset(*networks.data((8, 8, 1), 5))
    trials = trials_of(Cell("conv", BitFlip(bit_field="any"), Probability(1.0)), 3)
    dense = recorded(Engine(networks.cnn(), dataset, levels=()), trials)
    monkeypatch.setattr(Shortcut, "evaluate", fail)
    route = Route(3, 0, 64, 64, head_jit=False, tail_jit=False)
    assert_same(
        recorded(Engine(networks.cnn(), dataset, routes=routes_of("conv", route)), trials), dense
    )
    assert "conv: no faster way than level dense: RuntimeError: out of memory" in caplog.text


def test_golden_data_that_nothing_reads_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    route = Route(3, 0, 64, 64, head_jit=False, tail_jit=False)
    dataset = Dataset(*networks.data((8, 8, 1), 5))
    engine = Engine(networks.cnn(), dataset, routes=routes_of("conv", route))
    frontier = engine.prepare("conv").needed_bytes
    assert engine.prepare("conv", tune=True).needed_bytes > frontier
    monkeypatch.setattr(Tuner, "shortcuts", lambda *_: [])  # as where nothing beats level dense
    engine = Engine(networks.cnn(), dataset, routes=routes_of("conv", route))
    assert engine.prepare("conv", tune=True).needed_bytes == frontier


@pytest.mark.parametrize("middle", ["softmax", "argmax", "subclassed"])
def test_steps_that_may_jump_stay_at_level_dense(middle: str) -> None:
    class Subclassed(keras.Model):
        def call(self, inputs: Any) -> Any:
            return inputs

    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((8,), name="input")
    x = keras.layers.Dense(8, name="hidden")(inputs)
    if middle == "softmax":
        x = keras.layers.Softmax()(x)
    elif middle == "argmax":
        x = keras.ops.one_hot(keras.ops.argmax(x, axis=-1), 8)
    else:
        x = Subclassed()(x)
    graph = Graph(keras.Model(inputs, keras.layers.Dense(3, name="last")(x)), (8,))
    assert not suits_levels(graph, graph.cut("hidden"))


def test_a_route_that_no_longer_fits_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "injecttf2")
    dataset = Dataset(*networks.data((12,), 4))
    trials = trials_of(Cell("right1", BitFlip(bit=30), Probability(1.0)), 3)
    dense = recorded(Engine(networks.branches(), dataset, levels=()), trials)
    stale = routes_of("right1", Route(3, 1, 8, 8, head_jit=False, tail_jit=False))
    assert_same(recorded(Engine(networks.branches(), dataset, routes=stale), trials), dense)
    assert "right1: no faster way than level dense: NoRule" in caplog.text


def test_a_cut_that_is_refused_is_refused_again() -> None:
    engine = Engine(networks.cnn(), Dataset(*networks.data((8, 8, 1), 5)))
    kernel = engine.graph.step("logits").operation.kernel
    kernel.assign(-kernel)
    for _ in range(2):
        with pytest.raises(EngineError, match="does not reproduce the golden outputs"):
            engine.prepare("pool")


def test_levels_are_named_one_by_one_or_none_of_them() -> None:
    assert parse_levels("drop", place="x") == ("drop",)
    assert parse_levels(" difference , drop", place="x") == ("difference", "drop")
    assert parse_levels("dense", place="x") == ()
    with pytest.raises(CampaignError, match="x: unknown level 'dorp'; did you mean 'drop'"):
        parse_levels("dorp", place="x")


def spread_over(engine: Engine, injections: int, bits: Sequence[Any]) -> dict[str, list[Trial]]:
    """Trials with about as many injections, over all layers and the given bits."""
    layers = [info.layer for info in engine.graph.layers if not info.is_input]
    each = -(-injections // (len(layers) * len(bits) * len(engine.dataset)))
    return {
        layer: [t for bit in bits for t in trials_of(Cell(layer, bit, Probability(1.0)), each)]
        for layer in layers
    }


def compare(
    model: Any, dataset: Dataset, trials: dict[str, list[Trial]], routes: Routes
) -> tuple[int, int, set[str]]:
    """Compare all levels with level dense; ways that are not among ``routes`` are searched.

    Returns:
        Injections, those evaluated twice, and the layers at which a faster way was used.
    """
    dense = Engine(model, dataset, levels=())
    fast = Engine(model, dataset, routes=routes)
    count = twice = 0
    faster = set()
    for layer, chosen in trials.items():
        found = recorded(fast, chosen)
        assert_same(found, recorded(dense, chosen))
        count += len(found.outcome)
        twice += fast.prepare(layer).reevaluated
        faster |= {layer} if fast.prepare(layer).routes else set()
        fast.prepare(layer).release()
        dense.prepare(layer).release()
    return count, twice, faster


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Whether the tests have all the injections that they are named after, and search for ways."""
    return bool(request.config.getoption("--full"))


def known(ways: dict[str, tuple[Route, ...]]) -> Routes:
    """Return ways as a search might find them, which takes longer than a short comparison."""
    routes = Routes()
    for layer, found in ways.items():
        routes.keep(layer, tuple(Way(route, 2.0**-20) for route in found))
    return routes


CNN_WAYS = {
    "conv2d": (
        Route(3, 1, 4096, 4096, head_jit=True, tail_jit=True),
        Route(3, 0, 128, 128, head_jit=False, tail_jit=False),
    ),
    "max_pooling2d": (
        Route(2, 0, 4096, 4096, head_jit=False, tail_jit=True),
        Route(2, 0, 128, 128, head_jit=False, tail_jit=False),
    ),
    "flatten": (Route(1, 0, 4096, 4096, head_jit=False, tail_jit=True),),
    "dense": (Route(2, 0, 4096, 4096, head_jit=False, tail_jit=True),),
    "dropout": (),
    "dense_1": (),
    "softmax": (),
}


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_a_million_injections_into_the_examples_cnn(shared_data: Path, full: bool) -> None:
    samples = 4500 if full else 225  # with one trial for each layer and bit
    model = models.load_file(shared_data / "models" / "mnist_model.h5")
    inputs = [ModelInput("image", (28, 28, 1))]
    dataset = datasets.prepare(
        datasets.load(str(shared_data / "data" / "mnist.npz"), inputs),
        Preparation(samples=samples),
        inputs,
    )
    bits = [BitFlip(bit) for bit in range(32)]
    trials = spread_over(Engine(model, dataset, levels=()), 7 * 32 * samples, bits)
    routes = Routes() if full else known(CNN_WAYS)
    count, twice, faster = compare(model, dataset, trials, routes)
    assert faster >= {"conv2d", "max_pooling2d", "flatten", "dense"}
    assert count == 7 * 32 * samples
    assert twice < 0.05 * count


RESNET_TRIALS = {
    "stem_conv": 3,
    "stage2_block3_conv2": 9,
    "stage3_block2_add": 36,
    "pool": 75,
}
"""Trials of 850 injections: more where they cost less."""

SHORT_RESNET_TRIALS = {"stage3_block2_add": 12}

RESNET_WAYS = {
    "stage2_block3_conv2": (Route(12, 3, 4096, 1024, head_jit=False, tail_jit=False),),
    "stage3_block2_add": (Route(9, 1, 4096, 256, head_jit=False, tail_jit=False),),
}


@pytest.mark.timeout(1200)
def test_a_hundred_thousand_injections_into_resnet20(shared_data: Path, full: bool) -> None:
    model = models.load_file(shared_data / "models" / "resnet20_cifar10.keras")
    inputs = [ModelInput("image", (32, 32, 3))]
    dataset = datasets.prepare(
        datasets.load(str(shared_data / "data" / "cifar10_jpeg_test.npz"), inputs),
        Preparation(samples=850, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        inputs,
    )
    trials = {
        layer: trials_of(Cell(layer, BitFlip(bit_field="any"), Probability(1.0)), count)
        for layer, count in (RESNET_TRIALS if full else SHORT_RESNET_TRIALS).items()
    }
    routes = Routes() if full else known(RESNET_WAYS)
    count, twice, faster = compare(model, dataset, trials, routes)
    assert faster >= trials.keys() - {"pool"}
    assert count == 850 * sum(map(len, trials.values()))
    assert twice < 0.05 * count
