"""The engine equals the reference evaluator, outcome for outcome."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from injecttf2 import datasets
from injecttf2.datasets import digits
from injecttf2.engine import Engine
from injecttf2.errors import DatasetError, ModelError
from injecttf2.evaluation import batching
from injecttf2.evaluation.output_evaluator import SITES_AT_A_TIME, OutputEvaluator
from injecttf2.faults.bit_faults import BitFlip, StuckAt
from injecttf2.faults.mixture import Mixture
from injecttf2.faults.value_faults import Scale
from injecttf2.judging import Assessment
from injecttf2.judging.criteria import ConfidenceMoved, LeftTop
from injecttf2.judging.metrics import Confidence
from injecttf2.judging.top_k import TopK
from injecttf2.models import digits_cnn
from injecttf2.models.inputs import model_inputs
from injecttf2.sampling.rates import BitErrorRate, Count, Probability
from injecttf2.trial import OUTPUTS, WEIGHTS, Cell, CellTrials, Identity, Scope, Trial
from tests import families, networks
from tests.builders import cell_of
from tests.comparing import assert_equal
from tests.reference import Reference
from tests.reference_faults import flip

IDENTITY = Identity(model="m", data="d", seed=7)

MODELS = {
    "cnn": (networks.cnn, (8, 8, 1), 5),
    "residual": (networks.residual, (8, 8, 3), 6),
    "branches": (networks.branches, (12,), 4),
}


def engine_of(name: str, **options: Any) -> Engine:
    build, shape, classes = MODELS[name]
    inputs, labels = networks.data(shape, classes)
    return Engine(build(), datasets.Dataset(inputs, labels), **options)


def trials_of(cell: Cell, repetitions: int = 1) -> list[Trial]:
    return list(CellTrials(cell, 0, repetitions).trials(IDENTITY))


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_equals_the_reference(name: str) -> None:
    build, shape, classes = MODELS[name]
    model = build()
    dataset = datasets.Dataset(*networks.data(shape, classes))
    engine, reference = Engine(model, dataset), Reference(model, dataset.inputs, dataset.labels)
    faults = {BitFlip(bit=30): 1.0, BitFlip(bit_field="any"): 0.7}
    for info in engine.graph.layers:
        cells = [
            cell_of(info.layer, fault, Probability(probability))
            for fault, probability in faults.items()
        ]
        assert_equal(engine, reference, [trial for cell in cells for trial in trials_of(cell)])


def test_the_examples_cnn_equals_the_reference() -> None:
    model = digits_cnn.trained_model()
    images, labels = digits.test_data()
    engine = Engine(model, datasets.Dataset(images[:100], labels[:100]))
    reference = Reference(model, images[:100], labels[:100])
    assert len(engine.graph.layers) == 8
    for info in engine.graph.layers:
        for fault in (BitFlip(bit=30), BitFlip(bit_field="exponent"), BitFlip(bit_field="any")):
            assert_equal(engine, reference, trials_of(cell_of(info.layer, fault, Probability(0.9))))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_every_dtype_equals_the_reference(dtype: str) -> None:
    model = networks.cnn(dtype)
    inputs, labels = networks.data((8, 8, 1), 5)
    dataset = datasets.prepare(
        datasets.Raw(inputs, labels),
        datasets.Preparation(),
        model_inputs(model),
    )
    engine, reference = Engine(model, dataset), Reference(model, dataset.inputs, labels)
    for layer in ("image", "conv", "flatten", "softmax"):
        assert engine.graph.info(layer).dtype == dtype
        for field in ("sign", "exponent", "mantissa", "any"):
            cell = cell_of(layer, BitFlip(bit_field=field), Probability(0.8))
            assert_equal(engine, reference, trials_of(cell))


def test_the_width_follows_the_layers_dtype_not_the_inputs() -> None:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((4,), name="wide", dtype="float64")
    narrow = keras.layers.Dense(3, dtype="float16", name="narrow")(inputs)
    outputs = keras.layers.Dense(3, dtype="float32", name="out")(narrow)
    model = keras.Model(inputs, outputs)
    data, labels = networks.data((4,), 3)
    engine = Engine(model, datasets.Dataset(data.astype(np.float64), labels))
    recorded = engine.evaluate(
        trials_of(cell_of("narrow", BitFlip(bit_field="any"), Probability(1.0)), 5), record=True
    ).injections
    assert recorded is not None
    assert recorded.bit.max() == 15
    assert recorded.corrupted.tolist() == [
        pytest.approx(flip(value, bit, "float16"), nan_ok=True)
        for value, bit in zip(recorded.original, recorded.bit, strict=True)
    ]
    with pytest.raises(ModelError, match="float16 has bits 0 to 15; received bit 16"):
        engine.evaluate(trials_of(cell_of("narrow", BitFlip(bit=16), Probability(1.0))))


def test_each_call_of_a_shared_layer_has_its_own_address() -> None:
    model = networks.branches()
    engine = Engine(model, datasets.Dataset(*networks.data((12,), 4)))
    first, second = (
        engine.evaluate(trials_of(cell_of(layer, BitFlip(bit=30), Probability(1.0)), 3)).tallies
        for layer in ("shared", "shared#2")
    )
    assert first.injected.tolist() == second.injected.tolist() == [70, 70, 70]
    assert first.sdc.tolist() != second.sdc.tolist()


def test_probability_zero_equals_golden() -> None:
    engine = engine_of("residual")
    tallies = engine.evaluate(
        trials_of(cell_of("stem", BitFlip(bit=30), Probability(0.0)), 4)
    ).tallies
    assert tallies.injected.tolist() == [0, 0, 0, 0]
    assert tallies.correct.tolist() == [engine.golden.correct] * 4


def test_outcomes_are_exhaustive_and_disjoint() -> None:
    engine = engine_of("cnn")
    tallies = engine.evaluate(
        trials_of(cell_of("conv", BitFlip(bit_field="any"), Probability(0.9)), 20)
    ).tallies
    total = tallies.masked + tallies.benign + tallies.sdc + tallies.due
    assert total.tolist() == tallies.injected.tolist()
    assert (tallies.sdc_critical <= tallies.sdc).all()
    assert ((tallies.correct >= 0) & (tallies.correct <= 70)).all()


def test_golden_accuracy_counts_the_short_last_batch() -> None:
    inputs, labels = networks.data((8, 8, 1), 5, samples=70)
    model = networks.cnn()
    engine = Engine(model, datasets.Dataset(inputs, labels))
    expected = float(np.mean(model.predict(inputs, verbose=0).argmax(axis=1) == labels))
    assert engine.golden.accuracy == expected
    assert len(engine.golden.classes) == 70


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("batch", [24, 48])
def test_rows_do_not_depend_on_batch_block_chunk_or_order(
    name: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = {"cnn": "conv", "residual": "block1_relu", "branches": "left"}[name]
    cells = [cell_of(layer, BitFlip(bit_field="any"), Probability(p)) for p in (0.2, 1.0)]
    trials = [trial for cell in cells for trial in trials_of(cell, 6)]
    whole = engine_of(name).evaluate(trials).tallies

    monkeypatch.setattr(batching, "LARGEST_BATCH", batch)
    small_blocks = engine_of(name, memory=1)  # one batch a block
    order = np.random.default_rng(0).permutation(len(trials))
    for part in np.array_split(order, 5):
        chunk = small_blocks.evaluate([trials[index] for index in part]).tallies
        for field in ("injected", "masked", "benign", "sdc", "sdc_critical", "due", "correct"):
            assert getattr(chunk, field).tolist() == getattr(whole, field)[part].tolist()


def test_evaluation_in_parts_equals_evaluation_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = trials_of(cell_of("conv", BitFlip(bit_field="any"), Probability(0.5)), 9)
    whole = engine_of("cnn").evaluate(trials, record=True)
    monkeypatch.setattr("injecttf2.evaluation.output_evaluator.HITS_AT_A_TIME", 100)
    parts = engine_of("cnn").evaluate(trials, record=True)
    assert parts.tallies.sdc.tolist() == whole.tallies.sdc.tolist()
    assert parts.injections is not None
    assert whole.injections is not None
    assert parts.injections.trial.tolist() == whole.injections.trial.tolist()
    assert parts.injections.outcome.tolist() == whole.injections.outcome.tolist()


def test_golden_data_that_fit_are_computed_once_for_all_layers() -> None:
    engine = engine_of("residual")
    for info in engine.graph.layers:
        engine.prepare(info.layer)
    use = engine.golden_use
    assert (use.computed, use.hits) == (1, len(engine.graph.layers))


def test_golden_data_that_do_not_fit_are_held_for_a_block_of_samples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "LARGEST_BATCH", 24)
    engine = engine_of("cnn", memory=1)
    trials = trials_of(cell_of("conv", BitFlip(bit=30), Probability(1.0)), 2)
    found = engine.evaluate(trials).tallies
    assert engine.golden_use.computed == 3  # of 24, 24 and 22 samples
    engine.evaluate(trials)
    assert engine.golden_use.computed == 5  # the block that was in place comes first
    assert found.sdc.tolist() == engine_of("cnn").evaluate(trials).tallies.sdc.tolist()


@pytest.mark.parametrize("received", ["logits + conv", "conv + conv + logits"])
def test_layers_together_are_named_once_in_the_order_of_the_model(received: str) -> None:
    with pytest.raises(ModelError) as error:
        engine_of("cnn").prepare(Scope.of(received))
    assert error.value.message == (
        "layers together are named once each, in the order of the model; received "
        f"{received!r}, expected 'conv + logits'"
    )


@pytest.mark.parametrize("layer", ["flat", "early", "late"])
def test_a_tensor_without_samples_that_by_passes_a_layer_is_no_matter(layer: str) -> None:
    """What mixes samples is refused elsewhere: here it must only be no reason to fail."""
    model = networks.crossed()
    data, labels = networks.data((5, 6), 3, samples=24)
    engine = Engine(model, datasets.Dataset(data, labels))
    if layer == "flat":
        with pytest.raises(ModelError, match="its first axis is not the sample"):
            engine.prepare(layer)
        return
    weights = trials_of(cell_of(layer, BitFlip(bit=30), Count(1), WEIGHTS), 2)
    assert_equal(engine, Reference(model, data, labels, batch=24), weights)


def test_a_model_of_whole_numbers_is_judged() -> None:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((6,), name="x")
    x = keras.layers.Dense(4, name="dense")(inputs)
    model = keras.Model(inputs, families.Rounded("int32", name="whole")(x))
    data, labels = networks.data((6,), 4)
    engine = Engine(model, datasets.Dataset(data, labels))
    reference = Reference(model, data, labels)
    assert_equal(engine, reference, trials_of(cell_of("dense", BitFlip(bit=30), Probability(0.5))))


def test_a_trial_without_hits_is_a_row_whatever_is_asked_of_outputs() -> None:
    assessment = Assessment(
        judge=TopK(2), metrics=(Confidence(),), criteria=(LeftTop(2), ConfidenceMoved(10))
    )
    engine = engine_of("cnn", assessment=assessment)
    tallies = engine.evaluate(trials_of(cell_of("conv", BitFlip(bit=30), Probability(0.0)))).tallies
    assert (tallies.injected.tolist(), tallies.criteria.tolist()) == ([0], [[0, 0]])
    assert tallies.metrics.shape == (1, 1)
    assert tallies.correct.tolist() == [engine.golden.accuracy * 70]


def test_trials_with_many_sites_are_drawn_in_parts() -> None:
    engine = engine_of("cnn", assessment=Assessment(judge=TopK(2)))
    evaluator = engine.prepare("conv")
    assert isinstance(evaluator, OutputEvaluator)
    trials = trials_of(cell_of("conv", BitFlip(bit_field="any"), BitErrorRate(0.5)), 100)
    sites = 70 * 8 * 8 * 4 * 32 * 0.5
    parts = [len(part) for part in evaluator._parts(trials)]
    assert sum(parts) == 100
    assert max(parts) == int(SITES_AT_A_TIME // sites)


class Compiled(keras.layers.Layer):
    """A layer whose call is compiled when it is first called, with its variable in it."""

    def build(self, shape: Any) -> None:
        self.scaling = self.add_weight(shape=(shape[-1],), name="scaling", initializer="ones")

    @tf.function
    def call(self, inputs: Any) -> Any:
        return inputs * self.scaling


def test_weights_that_a_compiled_function_holds_are_refused_rather_than_masked() -> None:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((6,), name="x")
    model = keras.Model(inputs, keras.layers.Dense(3)(Compiled(name="compiled")(inputs)))
    engine = Engine(model, datasets.Dataset(*networks.data((6,), 3)))
    with pytest.raises(
        ModelError, match=r"'compiled' cannot be injected: a tf\.function inside it reads"
    ):
        engine.prepare(Scope(("compiled",), WEIGHTS))


class Counting(keras.layers.Layer):
    """A layer that counts its calls, and adds what it has counted."""

    def build(self, shape: Any) -> None:
        del shape
        self.count = self.add_weight(shape=(), name="count", initializer="zeros", trainable=False)

    def call(self, inputs: Any) -> Any:
        self.count.assign_add(1.0)
        return inputs + self.count


def test_no_variable_is_changed_whatever_a_layer_assigns() -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6,), name="x")
    counted = Counting(name="counting")(keras.layers.Dense(6, name="dense")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, name="last")(counted))
    engine = Engine(model, datasets.Dataset(*networks.data((6,), 3)))
    for target in (OUTPUTS, WEIGHTS):
        trials = trials_of(cell_of("dense", BitFlip(bit=30), Count(3), target), 2)
        first = engine.evaluate(trials).tallies
        assert engine.evaluate(trials).tallies.correct.tolist() == first.correct.tolist()
    assert float(model.get_layer("counting").count.numpy()) == 0


def test_weights_of_a_low_rank_adaptation_equal_the_reference() -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(5)
    dense = keras.layers.Dense(8, activation="relu", name="dense")
    inputs = keras.Input((6,), name="x")
    model = keras.Model(inputs, keras.layers.Dense(3, name="last")(dense(inputs)))
    dense.enable_lora(2)
    dense.lora_kernel_b.assign(np.random.default_rng(1).normal(size=(2, 8)))
    data, labels = networks.data((6,), 3)
    engine = Engine(model, datasets.Dataset(data, labels))
    cell = cell_of("dense", BitFlip(bit_field="exponent"), Count(1), WEIGHTS)
    assert_equal(engine, Reference(model, data, labels), trials_of(cell, 40))


def test_a_fault_of_values_sees_what_the_faults_before_it_left() -> None:
    """NaN through a ReLU, which is another value where TensorFlow fuses it otherwise."""
    model = networks.branches()
    data, labels = networks.data((12,), 4)
    engine, reference = (
        Engine(model, datasets.Dataset(data, labels)),
        Reference(model, data, labels),
    )
    stuck, twice = StuckAt(bit_field="exponent", value=1), Scale(2)
    cell = cell_of("features + sin", Mixture(((3, stuck), (1, twice))), Count(200))
    assert_equal(engine, reference, trials_of(cell, 10))


def test_a_layer_has_the_dtype_that_it_computes_whatever_it_announces() -> None:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((3,), name="x")
    whole = keras.layers.Lambda(lambda x: keras.ops.cast(x, "int16"), name="whole")(inputs)
    halves = keras.layers.Lambda(lambda x: keras.ops.cast(x, "float32") / 2, name="halves")(whole)
    model = keras.Model(inputs, halves)
    data, labels = networks.data((3,), 3)
    engine = Engine(model, datasets.Dataset(data, labels))
    assert [info.dtype for info in engine.graph.layers] == ["float32", "int16", "float32"]
    trials = trials_of(cell_of("whole", BitFlip(bit_field="any"), Probability(0.9)), 2)
    assert_equal(engine, Reference(model, data, labels), trials)


def test_golden_outputs_that_are_not_finite_are_refused() -> None:
    inputs, labels = networks.data((12,), 4)
    inputs[3] = np.nan
    with pytest.raises(DatasetError, match=r"NaN or Inf for 1 of 70 samples.*sample 3"):
        Engine(networks.branches(), datasets.Dataset(inputs, labels))


def test_golden_outputs_that_are_not_finite_are_named_behind_the_first_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "LARGEST_BATCH", 48)
    inputs, labels = networks.data((12,), 4)
    inputs[[50, 69]] = np.nan
    with pytest.raises(DatasetError, match=r"for 2 of 70 samples.*them sample 50"):
        Engine(networks.branches(), datasets.Dataset(inputs, labels))


def test_a_label_that_is_no_class_of_the_model_is_refused() -> None:
    inputs, labels = networks.data((12,), 4)
    labels[5] = 4
    with pytest.raises(DatasetError, match="sample 5 is 4; the model has the classes 0 to 3"):
        Engine(networks.branches(), datasets.Dataset(inputs, labels))


def test_an_output_without_classes_is_refused() -> None:
    keras.utils.clear_session(free_memory=False)
    model = keras.Sequential([keras.Input((12,)), keras.layers.Dense(1)])
    with pytest.raises(ModelError, match=r"shape \(1,\) a sample; top-1 needs"):
        Engine(model, datasets.Dataset(*networks.data((12,), 4)))


def test_a_model_for_inputs_of_any_size_takes_the_datas_size() -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(9)
    inputs = keras.Input((None, None, 1), name="image")
    x = keras.layers.Conv2D(3, 3, name="conv")(inputs)
    x = keras.layers.GlobalMaxPooling2D(name="pool")(x)
    model = keras.Model(inputs, keras.layers.Dense(5, name="classes")(x))
    inputs, labels = networks.data((9, 7, 1), 5)
    engine = Engine(model, datasets.Dataset(inputs, labels))
    assert engine.graph.layers[1].shape == (7, 5, 3)
    trials = trials_of(cell_of("conv", BitFlip(bit_field="any"), Probability(1.0)))
    assert_equal(engine, Reference(model, inputs, labels), trials)


def test_trials_of_two_layers_at_once_are_refused() -> None:
    trials = [
        *trials_of(cell_of("conv", BitFlip(bit=1), Probability(1.0))),
        *trials_of(cell_of("pool", BitFlip(bit=1), Probability(1.0))),
    ]
    with pytest.raises(ValueError, match="one scope"):
        engine_of("cnn").evaluate(trials)


def test_sites_are_recorded_only_where_that_is_asked_for() -> None:
    trials = trials_of(cell_of("logits", BitFlip(bit=3), Probability(1.0)), 2)
    assert engine_of("cnn").evaluate(trials).injections is None
