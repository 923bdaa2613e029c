"""Every level gives the outcomes of level dense, for every trial."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from injecttf2.acceleration import difference, stages
from injecttf2.acceleration.difference import Difference
from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.errors import CampaignError
from injecttf2.faults.bit_faults import BitFlip, StuckAt
from injecttf2.faults.value_faults import Scale
from injecttf2.graph import segments
from injecttf2.graph.weights import reason_of, weights_of
from injecttf2.judging.outcomes import OutcomeCounts
from injecttf2.levels import parse_levels
from injecttf2.sampling.rates import Count, Probability
from injecttf2.trial import OUTPUTS, WEIGHTS
from tests import networks
from tests.builders import cell_of, in_short
from tests.comparing import COUNTS, assert_same, trials_of
from tests.families import CLASSES, FAMILIES

FAULTS = (BitFlip(bit_field="any"), BitFlip(bit=30), StuckAt(bit_field="exponent", value=1))


@pytest.fixture(autouse=True)
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut small models too, and take boxes for few samples."""
    monkeypatch.setattr(segments, "HANDING", 0.0)
    monkeypatch.setattr(segments, "ELEMENT", 0.0)
    monkeypatch.setattr(difference, "COMPILING", 1e-9)
    monkeypatch.setattr(stages, "HANDING", 0.0)  # a stage for each segment
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)


def image_model(*behind: Any, size: int = 9, channels: int = 3) -> keras.Model:
    """A convolution, some layers, and classes."""
    inputs = keras.Input((size, size, channels), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="first")(inputs)
    for layer in behind:
        x = layer(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x) if len(x.shape) == 4 else x
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax", name="classes")(x))


def joined() -> keras.Model:
    """Two branches of which one is strided, side by side and added."""
    inputs = keras.Input((8, 8, 2), name="image")
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(inputs)
    one = layers.Conv2D(3, 3, padding="same", name="one")(x)
    x = layers.Concatenate(name="beside")([one, layers.ReLU(name="relu")(x)])
    x = layers.Add(name="added")(
        [
            layers.Conv2D(5, 3, strides=2, padding="same", name="wide")(x),
            layers.Conv2D(5, 1, strides=2, padding="same", name="narrow")(x),
        ]
    )
    return keras.Model(inputs, layers.Dense(CLASSES, name="classes")(layers.Flatten()(x)))


def convolved(**options: Any) -> Callable[[], keras.Model]:
    return lambda: image_model(layers.Conv2D(5, **{"kernel_size": 3, "name": "second", **options}))


def followed(*kinds: Callable[[], Any]) -> Callable[[], keras.Model]:
    return lambda: image_model(*(kind() for kind in kinds))


IMAGES: dict[str, Callable[[], keras.Model]] = {
    "valid": convolved(padding="valid"),
    "strided": convolved(strides=2, padding="same"),
    "strided_valid": convolved(strides=3, padding="valid"),
    "dilated": convolved(dilation_rate=2, padding="same", activation="tanh"),
    "pointwise": convolved(kernel_size=1, activation="relu"),
    "wide": convolved(kernel_size=(1, 5), padding="same", strides=(1, 2)),
    "grouped": followed(lambda: layers.Conv2D(4, 3, groups=2, padding="same", name="second")),
    "depthwise": followed(lambda: layers.DepthwiseConv2D(3, padding="same", name="second")),
    "normalised": followed(
        lambda: layers.BatchNormalization(name="bn"), lambda: layers.ReLU(name="relu")
    ),
    "max_pool": followed(lambda: layers.MaxPooling2D(2, name="down"), lambda: layers.Flatten()),
    "max_pool_same": followed(lambda: layers.MaxPooling2D(3, 2, padding="same", name="down")),
    "mean_pool": followed(lambda: layers.AveragePooling2D(3, 2, name="down")),
    "mean_pool_same": followed(lambda: layers.AveragePooling2D(3, 2, padding="same", name="down")),
    "padded": followed(
        lambda: layers.ZeroPadding2D(((1, 2), (0, 3)), name="pad"),
        lambda: layers.Conv2D(3, 3, name="second"),
    ),
    "flattened": followed(
        lambda: layers.Flatten(name="flatten"),
        lambda: layers.Dense(7, activation="relu", name="hidden"),
    ),
    "scaled": followed(
        lambda: layers.Rescaling(0.5, offset=0.1, name="scaled"),
        lambda: layers.LeakyReLU(negative_slope=0.3, name="leaky"),
        lambda: layers.Activation("sigmoid", name="sigmoid"),
    ),
    "swish": followed(
        lambda: layers.Activation("silu", name="swish"),
        lambda: layers.Conv2D(3, 3, activation="silu", name="second"),
    ),
    "joined": joined,
}


def rows(engine: Engine, layer: str, target: str = OUTPUTS, trials: int = 4) -> list[OutcomeCounts]:
    rate = Probability(0.9) if target == OUTPUTS else Count(1)
    return [
        engine.evaluate(trials_of(cell_of(layer, fault, rate, target), trials)).tallies
        for fault in FAULTS
    ]


def assert_alike(model: keras.Model, dataset: Dataset, output: str | None = None) -> set[str]:
    """See that all layers have the same rows, and return what was taken on boxes."""
    dense = Engine(model, dataset, levels=(), output=output)
    faster = Engine(model, dataset, output=output)
    on_boxes = set()
    for info in dense.graph.layers:
        if info.reason is not None:
            continue
        with_weights = weights_of(dense.graph, info.layer) and not reason_of(
            dense.graph, info.layer
        )
        for target in (OUTPUTS, WEIGHTS) if with_weights else (OUTPUTS,):
            one, other = (rows(engine, info.layer, target) for engine in (dense, faster))
            for mine, theirs in zip(one, other, strict=True):
                for name in (*COUNTS, "correct"):
                    where = f"{info.layer}, {target}: {name}"
                    np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name), where)
        prepared = faster.prepare(info.layer)
        judge = getattr(prepared.judge, "__self__", None)  # type: ignore[union-attr]
        if isinstance(judge, Difference) and judge.stages:
            on_boxes.add(info.layer)
            assert prepared.reevaluated < 3 * 4 * len(dataset) / 2
    judges = [getattr(judge, "__self__", None) for judge in faster._of_weights.values()]
    if any(isinstance(judge, Difference) and judge.stages for judge in judges):
        on_boxes.add(WEIGHTS)
    assert faster._stages.bound <= difference.MOST_APART
    return on_boxes


@pytest.mark.parametrize("name", IMAGES)
def test_each_kind_of_operation_on_boxes_gives_the_outcomes_of_level_dense(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "HANDING", 3e5)  # all of a small model in one stage
    model = IMAGES[name]()
    shape = model.input_shape[1:]
    generator = np.random.default_rng(4)
    data = generator.normal(size=(40, *shape)).astype(np.float32)
    on_boxes = assert_alike(model, Dataset(data, generator.integers(CLASSES, size=40)))
    assert WEIGHTS in on_boxes
    assert len(on_boxes) > 1


class Learned(layers.Layer):  # type: ignore[misc]
    """Weights that meet the data in uncommon ways."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.place = self.add_weight(shape=(shape[-1],), name="place")
        self.scale = self.add_weight(shape=shape[1:], name="scale")
        self.token = self.add_weight(shape=(shape[-1],), name="token")
        self.minus = self.add_weight(shape=(1, 1, shape[-1]), name="minus")

    def call(self, x: Any) -> Any:
        placed = x + keras.ops.broadcast_to(self.place, keras.ops.shape(x))  # an axis of samples
        alone = keras.ops.zeros((keras.ops.shape(x)[0], *x.shape[1:])) + self.token  # no data
        return self.minus - placed * self.scale + keras.ops.sum(alone, (1, 2), keepdims=True)


def split() -> keras.Model:
    """An operation of several outputs, of which a later one is hit."""
    inputs = keras.Input((7, 7, 4), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="first")(inputs)
    one, other = keras.ops.split(x, 2, axis=-1)
    x = layers.Concatenate(name="beside")([one, layers.Activation("sigmoid", name="gate")(other)])
    x = layers.Conv2D(5, 3, name="second")(x)
    return keras.Model(inputs, layers.Dense(CLASSES, name="classes")(layers.Flatten()(x)))


@pytest.mark.parametrize(
    "build", [split, followed(lambda: Learned(name="learned"))], ids=["split", "learned"]
)
def test_uncommon_operations_have_the_rows_of_level_dense(
    build: Callable[[], keras.Model],
) -> None:
    model = build()
    generator = np.random.default_rng(4)
    data = generator.normal(size=(40, *model.input_shape[1:])).astype(np.float32)
    assert_alike(model, Dataset(data, generator.integers(CLASSES, size=40)))


def test_an_axis_as_long_as_the_first_number_of_samples_tried() -> None:
    """Of 13 steps, which an LSTM puts before the samples."""
    inputs = keras.Input((13, 4), name="frames")
    x = layers.LSTM(6, return_sequences=True, name="first")(inputs)
    x = layers.LSTM(5, name="second")(x)
    model = keras.Model(inputs, layers.Dense(CLASSES, name="classes")(x))
    generator = np.random.default_rng(4)
    data = generator.normal(size=(30, 13, 4)).astype(np.float32)
    dataset = Dataset(data, generator.integers(CLASSES, size=30))
    engine = Engine(model, dataset)
    assert 13 not in engine.graph.flow.tensor(engine.graph.output.name).shape
    np.testing.assert_allclose(engine.golden.outputs, model.predict(data, verbose=0), rtol=1e-5)
    assert_alike(model, dataset)


class Heads(layers.Layer):  # type: ignore[misc]
    """Two outputs, each with weights of its own."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.one = self.add_weight(shape=(shape[-1], CLASSES), name="one")
        self.other = self.add_weight(shape=(shape[-1], CLASSES), name="other")

    def call(self, x: Any) -> Any:
        return x @ self.one, x @ self.other


def test_weights_of_another_output_than_the_one_judged_are_masked() -> None:
    inputs = keras.Input((6,), name="features")
    model = keras.Model(inputs, list(Heads(name="heads")(inputs)))
    generator = np.random.default_rng(4)
    data = generator.normal(size=(40, 6)).astype(np.float32)
    labels = generator.integers(CLASSES, size=40)
    engine = Engine(model, Dataset(data, labels), output="heads:0")
    fault = BitFlip(bit=30)
    one, other = (
        cell_of("heads:0", fault, Count(1), WEIGHTS, variable=name) for name in ("one", "other")
    )
    assert engine.evaluate(trials_of(one, 8)).tallies.masked.sum() < 8 * 40
    assert engine.evaluate(trials_of(other, 8)).tallies.masked.tolist() == [40] * 8
    _, outputs = engine.outputs(trials_of(other)[0])
    np.testing.assert_array_equal(outputs, engine.golden.outputs)


@pytest.mark.parametrize(
    "name", in_short("joined", of=("padded", "max_pool", "flattened", "swish", "joined"))
)
def test_stages_of_single_segments_have_the_rows_of_level_dense(name: str) -> None:
    model = IMAGES[name]()
    generator = np.random.default_rng(4)
    data = generator.normal(size=(40, *model.input_shape[1:])).astype(np.float32)
    dataset = Dataset(data, generator.integers(CLASSES, size=40))
    on_boxes = assert_alike(model, dataset)
    assert len(on_boxes) > 1


@pytest.mark.parametrize("name", ["cnn", "residual"])
def test_golden_blocks_have_the_rows_of_a_whole_data_set(name: str) -> None:
    """Several segments, and several blocks of as few samples as may be."""
    build, shape, classes = NETWORKS[name]
    model, dataset = build(), Dataset(*networks.data(shape, classes))
    whole, blocks = Engine(model, dataset, levels=()), Engine(model, dataset, memory=1)
    assert len(whole._cache.chain) > 3
    assert blocks._cache.block(0) < len(dataset)
    for info in whole.graph.layers:
        if info.reason is None:
            for one, other in zip(rows(whole, info.layer), rows(blocks, info.layer), strict=True):
                for count in (*COUNTS, "correct"):
                    np.testing.assert_array_equal(getattr(one, count), getattr(other, count))


NETWORKS = {
    "cnn": (networks.cnn, (8, 8, 1), 5),
    "residual": (networks.residual, (8, 8, 3), 6),
    "branches": (networks.branches, (12,), 4),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_all_layers_of_networks_have_the_rows_of_level_dense(name: str) -> None:
    build, shape, classes = NETWORKS[name]
    assert_alike(build(), Dataset(*networks.data(shape, classes)))


@pytest.mark.parametrize("name", ["convolutions", "nested_twice", "shared", "two_by_two"])
def test_all_layers_of_families_have_the_rows_of_level_dense(name: str) -> None:
    family = FAMILIES[name]
    labels = np.random.default_rng(3).integers(CLASSES, size=40)
    assert_alike(family.model(), Dataset(family.data(40), labels), family.output)


def test_rounding_is_measured_anew_where_other_sums_are_taken_on_boxes() -> None:
    """Scores are small differences of large numbers, of which a convolution has no part."""
    generator = np.random.default_rng(4)
    data = generator.normal(size=(96, 9, 9, 3)).astype(np.float32)
    inputs = keras.Input((9, 9, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="first")(inputs)
    hidden = layers.Dense(64, "relu", bias_initializer=keras.initializers.Constant(30.0))
    x = hidden(layers.Flatten(name="flatten")(x))
    last = layers.Dense(CLASSES, name="classes")
    model = keras.Model(inputs, last(x))
    kernel, _ = last.get_weights()
    scores = np.array(keras.Model(inputs, x)(data)) @ kernel
    scale = np.std(scores, axis=0)
    last.set_weights([kernel / scale, -np.mean(scores, axis=0) / scale])
    dataset = Dataset(data, generator.integers(CLASSES, size=96))
    dense, faster = Engine(model, dataset, levels=()), Engine(model, dataset)
    for layer in ("image", "first", "flatten", hidden.name):
        trials = trials_of(cell_of(layer, BitFlip(bit_field="mantissa"), Probability(0.9)), 40)
        assert_same(faster.evaluate(trials), dense.evaluate(trials))


def test_a_campaign_too_short_to_gain_anything_stays_at_level_dense(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(difference, "COMPILING", 4e8)
    engine = Engine(networks.cnn(), Dataset(*networks.data((8, 8, 1), 5)))
    rows(engine, "conv")
    assert engine._stages._compiled == {}


def test_samples_that_rounding_may_decide_are_evaluated_twice_and_counted() -> None:
    """Here that is all of them: the two largest scores are always equal."""
    model = networks.cnn()
    kernel, bias = np.zeros((64, 5), np.float32), np.array([1, 1, 0, 0, 0], np.float32)
    model.get_layer("logits").set_weights([kernel, bias])
    engine = Engine(model, Dataset(*networks.data((8, 8, 1), 5)))
    found = rows(engine, "conv")
    prepared = engine.prepare("conv")
    assert prepared.reevaluated == sum(int(one.injected.sum()) for one in found) > 0


def test_faults_that_are_recorded_or_of_several_words_have_the_same_rows() -> None:
    dataset = Dataset(*networks.data((8, 8, 1), 5))
    dense, faster = (Engine(networks.cnn(), dataset, levels=one) for one in ((), ("difference",)))
    for cell in (
        cell_of("conv", Scale(-20.0), Probability(0.9)),
        cell_of("conv + pool", BitFlip(bit_field="any"), Probability(0.9)),
    ):
        one, other = (each.evaluate(trials_of(cell, 4), record=True) for each in (dense, faster))
        for name in (*COUNTS, "correct"):
            np.testing.assert_array_equal(getattr(one.tallies, name), getattr(other.tallies, name))


@pytest.mark.parametrize(
    ("text", "levels"),
    [("dense", ()), ("drop", ("drop",)), ("difference, drop", ("difference", "drop"))],
)
def test_levels_are_named_in_a_text(text: str, levels: tuple[str, ...]) -> None:
    assert parse_levels(text, place="--levels") == levels


def test_an_unknown_level_names_the_nearest() -> None:
    with pytest.raises(CampaignError, match="unknown level 'drp'; did you mean 'drop'"):
        parse_levels("drp", place="--levels")
