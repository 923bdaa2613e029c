"""A fault that makes an operation raise is detected: its sample is due, the others are judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.evaluation import batching
from injecttf2.faults.bit_faults import BitFlip
from injecttf2.faults.value_faults import Constant, Scale
from injecttf2.judging import Assessment
from injecttf2.judging.criteria import LeftTop
from injecttf2.judging.metrics import Confidence
from injecttf2.judging.outcomes import DUE, OUTCOMES
from injecttf2.judging.top_k import Top1, TopK
from injecttf2.sampling.rates import Count, Probability
from injecttf2.trial import WEIGHTS
from tests import families
from tests.builders import cell_of
from tests.comparing import assert_equal, assert_same, chain_of, trials_of
from tests.families import Checked
from tests.reference import Reference

SAMPLES = 60
FLIP = BitFlip(bit=30)


def case() -> keras.Model:
    """A network that checks what it computes for NaN and Inf."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(2)
    inputs = keras.Input((6,), name="features")
    x = layers.Dense(12, activation="relu", name="hidden")(inputs)
    x = layers.Rescaling(1e30, name="large")(x)
    x = Checked(lambda t: tf.debugging.check_numerics(t, "bad"), name="checked")(x)
    x = layers.Rescaling(1e-30, name="small")(x)
    return keras.Model(inputs, layers.Dense(4, activation="softmax", name="scores")(x))


def data() -> Dataset:
    inputs = np.random.default_rng(0).normal(size=(SAMPLES, 6)).astype("float32")
    return Dataset(inputs, np.zeros(SAMPLES, np.int64))


def hidden_by_hand(model: keras.Model) -> np.ndarray:
    kernel, bias = model.get_layer("hidden").get_weights()
    return np.maximum(data().inputs @ kernel + bias, np.float32(0))


def flipped(values: np.ndarray, bit: int = 30) -> np.ndarray:
    return (values.view(np.uint32) ^ np.uint32(1 << bit)).view(np.float32)


def scores_by_hand(model: keras.Model, hidden: np.ndarray) -> np.ndarray:
    kernel, bias = model.get_layer("scores").get_weights()
    sums = hidden.astype(np.float64) @ kernel + bias
    exponents = np.exp(sums - sums.max(axis=1, keepdims=True))
    result: np.ndarray = exponents / exponents.sum(axis=1, keepdims=True)
    return result


def test_which_samples_are_due_is_as_by_hand_and_the_others_are_judged() -> None:
    model = case()
    engine = Engine(model, data())
    golden = hidden_by_hand(model)
    found = engine.evaluate(trials_of(cell_of("hidden", FLIP, Probability(1.0)), 3), record=True)
    rows = found.injections
    assert rows is not None
    with np.errstate(over="ignore"):
        raises = ~np.isfinite(rows.corrupted.astype(np.float32) * np.float32(1e30))
    assert 0 < np.count_nonzero(raises) < len(raises)
    values = golden[rows.sample, rows.element]
    np.testing.assert_allclose(rows.original, values, rtol=1e-5, atol=1e-6)
    assert ((rows.outcome == DUE) == raises).all()
    assert (rows.faulty_class[raises] == -1).all()
    faulty = golden[rows.sample]
    faulty[np.arange(len(rows.sample)), rows.element] = rows.corrupted
    classes = scores_by_hand(model, faulty[~raises]).argmax(axis=1)
    np.testing.assert_array_equal(rows.faulty_class[~raises], classes)
    tallies = found.tallies
    assert tallies.injected.tolist() == [SAMPLES] * 3
    for trial in range(3):
        mine = rows.trial == trial
        assert tallies.due[trial] == np.count_nonzero(raises[mine])
        right = np.count_nonzero(rows.faulty_class[mine] == 0)
        assert tallies.correct[trial] == right


def test_rows_do_not_depend_on_the_company_of_what_raises() -> None:
    engine = Engine(case(), data())
    trials = trials_of(cell_of("hidden", FLIP, Count(7)), 12)
    whole = engine.evaluate(trials, record=True)
    assert 0 < whole.tallies.due.sum() < whole.tallies.injected.sum()
    for place in (11, 4, 0):
        assert_same(engine.evaluate([trials[place]], record=True), whole, [place])
    assert_same(Engine(case(), data(), memory=1).evaluate(trials, record=True), whole)


def test_a_model_that_checks_itself_has_small_batches() -> None:
    assert set(chain_of(Engine(case(), data())).batch) == {batching.ALIKE}


def test_weights_that_raise_make_just_those_samples_due_that_they_are_for() -> None:
    model = case()
    engine = Engine(model, data())
    for trial in trials_of(cell_of("hidden", Constant(1e10), Count(1), WEIGHTS, "kernel"), 4):
        found = engine.evaluate([trial], record=True)
        assert found.injections is not None
        kernel, bias = model.get_layer("hidden").get_weights()
        kernel.reshape(-1)[found.injections.element[0]] = 1e10
        with np.errstate(over="ignore"):
            large = np.maximum(data().inputs @ kernel + bias, np.float32(0)) * np.float32(1e30)
        due = ~np.isfinite(large).all(axis=1)
        assert 0 < np.count_nonzero(due) < SAMPLES
        np.testing.assert_array_equal(found.injections.outcome == DUE, due)


def test_outputs_of_samples_that_raise_are_not_a_number() -> None:
    engine = Engine(case(), data())
    for cell in (
        cell_of("hidden", FLIP, Probability(1.0)),
        cell_of("hidden", Constant(1e10), Count(1), WEIGHTS, "kernel"),
    ):
        (trial,) = trials_of(cell)
        found = engine.evaluate([trial], record=True).injections
        assert found is not None
        _, outputs = engine.outputs(trial)
        due = found.outcome == DUE
        assert outputs.dtype == np.float32
        np.testing.assert_array_equal(np.isnan(outputs).all(axis=1), due)
        np.testing.assert_array_equal(outputs[~due].argmax(axis=1), found.faulty_class[~due])


def asserted(t: Any) -> Any:
    tf.debugging.assert_less(t, 1e3)
    return t


def asserted_in_a_branch(t: Any) -> Any:
    limit = tf.constant(1e3)

    def large() -> Any:
        with tf.control_dependencies([tf.debugging.Assert(False, ["too large"])]):
            return tf.identity(t)

    return tf.cond(tf.reduce_any(t > limit), large, lambda: t)


def raising(error: BaseException) -> Callable[[Any], Any]:
    def check(values: Any) -> Any:
        if (values > 1e3).any():
            raise error
        return values

    return check


def called(error: BaseException) -> Callable[[Any], Any]:
    return lambda t: tf.numpy_function(raising(error), [t], t.dtype)


def solved(t: Any) -> Any:
    """What goes in, from a system of equations that has no solution where it is too large."""
    return tf.linalg.solve(tf.where(t > 1e3, 0.0, 1.0)[..., None, None], t[..., None, None])[
        ..., 0, 0
    ]


CHECKS: dict[str, Callable[[Any], Any]] = {
    "check_numerics": lambda t: tf.debugging.check_numerics(t * 1e36, "bad") * 1e-36,
    "assertion": asserted,
    "assertion_in_a_branch": asserted_in_a_branch,
    "function": called(RuntimeError("RuntimeError is UnknownError")),
    "function_of_values": called(ValueError("ValueError is InvalidArgumentError")),
    "function_that_ends": called(StopIteration("StopIteration is OutOfRangeError")),
    "function_not_written": called(NotImplementedError("UnimplementedError")),
    "solution": solved,
}


@pytest.mark.parametrize("name", CHECKS)
def test_whatever_a_fault_makes_raise_is_due(name: str) -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(2)
    inputs = keras.Input((6,), name="features")
    x = layers.Dense(12, activation="relu", name="hidden")(inputs)
    x = Checked(CHECKS[name], name="checked")(x)
    model = keras.Model(inputs, layers.Dense(4, name="scores")(x))
    engine = Engine(model, data())
    found = engine.evaluate(trials_of(cell_of("hidden", FLIP, Probability(1.0))), record=True)
    rows = found.injections
    assert rows is not None
    np.testing.assert_array_equal(rows.outcome == DUE, ~(rows.corrupted <= 1e3))  # NaN is due too
    assert np.count_nonzero(rows.corrupted > 1e3)
    assert 0 < found.tallies.due[0] < SAMPLES


def test_what_tells_of_the_machine_is_no_outcome() -> None:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((6,), name="features")
    x = layers.Dense(12, activation="relu", name="hidden")(inputs)
    x = Checked(called(MemoryError("full")), name="checked")(x)
    engine = Engine(keras.Model(inputs, layers.Dense(4, name="scores")(x)), data())
    with pytest.raises(tf.errors.ResourceExhaustedError, match="MemoryError: full"):
        engine.evaluate(trials_of(cell_of("hidden", FLIP, Probability(1.0))))


def test_what_also_happens_without_a_fault_is_no_outcome() -> None:
    broken: list[bool] = []

    def connection(values: Any) -> Any:
        if broken:
            raise ConnectionError("the server is gone")
        return values

    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((6,), name="features")
    x = layers.Dense(12, activation="relu", name="hidden")(inputs)
    x = Checked(lambda t: tf.numpy_function(connection, [t], t.dtype), name="asked")(x)
    engine = Engine(keras.Model(inputs, layers.Dense(4, name="scores")(x)), data())
    engine.prepare("hidden")
    broken.append(True)
    with pytest.raises(tf.errors.UnknownError, match="the server is gone"):
        engine.evaluate(trials_of(cell_of("hidden", FLIP, Count(1))))


@dataclass(frozen=True)
class Strict(Top1):
    """Top-1 that does not take scores above a limit."""

    limit: float = 1.5

    @property
    def name(self) -> str:
        return "strict"

    def differs(self, outputs: Any, golden: Any) -> Any:
        small = tf.reduce_all(outputs < self.limit)
        with tf.control_dependencies([tf.debugging.Assert(small, [outputs])]):
            return super().differs(tf.identity(outputs), golden)


def test_a_judge_that_raises_is_not_the_models_detection() -> None:
    plain = Engine(case(), data())
    trials = trials_of(cell_of("hidden", FLIP, Probability(1.0)), 2)
    expected = plain.evaluate(trials).tallies
    found = Engine(case(), data(), assessment=Assessment(Strict())).evaluate(trials).tallies
    assert found.due.tolist() == expected.due.tolist()
    assert found.sdc.tolist() == expected.sdc.tolist()
    strict = Strict(limit=float(plain.golden.outputs.max()) + 0.01)
    assert strict.limit < 1
    engine = Engine(case(), data(), assessment=Assessment(strict))
    wild = [cell_of("hidden", fault, Count(20)) for fault in (FLIP, Constant(1e3))]
    with pytest.raises(tf.errors.InvalidArgumentError, match="assertion failed"):
        engine.evaluate([trial for cell in wild for trial in trials_of(cell)])


def test_metrics_and_criteria_of_samples_that_raise_are_the_worst() -> None:
    assessment = Assessment(TopK(2), (Confidence(),), (LeftTop(2),))
    engine = Engine(case(), data(), assessment=assessment)
    (trial,) = trials_of(cell_of("hidden", FLIP, Probability(1.0)))
    found = engine.evaluate([trial], record=True)
    _, outputs = engine.outputs(trial)
    due = np.isnan(outputs).any(axis=1)
    assert found.tallies.due.tolist() == [np.count_nonzero(due)]
    assert found.tallies.correct[0] == sum(0 in np.argsort(-one)[:2] for one in outputs[~due])
    golden = engine.golden.outputs
    assert found.tallies.criteria[0][0] == sum(
        one.argmax() not in np.argsort(-other)[:2]
        for one, other in zip(golden[~due], outputs[~due], strict=True)
    )
    still = np.take_along_axis(outputs, golden.argmax(axis=1)[:, np.newaxis], axis=1)
    expected = still[~due].sum() / SAMPLES
    assert found.tallies.metrics[0][0] == pytest.approx(expected, rel=1e-4)


def test_layers_behind_one_that_raises_have_no_values() -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(2)
    inputs = keras.Input((6,), name="features")
    x = layers.Dense(5, activation="relu", name="first")(inputs)
    x = Checked(asserted, name="checked")(x)
    x = layers.Dense(5, name="second")(x)
    model = keras.Model(inputs, layers.Dense(4, name="scores")(x))
    engine, reference = Engine(model, data()), Reference(model, data().inputs, data().labels)
    for fault in (FLIP, Scale(-3.0)):
        trials = trials_of(cell_of("first + second", fault, Count(80)), 2)
        seen = assert_equal(engine, reference, trials)
        found = engine.evaluate(trials, record=True).injections
        assert found is not None
        behind = (found.layer == 1) & np.isnan(found.original)
        assert behind.any() == (fault is FLIP)
        assert (found.outcome[behind] == DUE).all()
        assert np.isnan(found.corrupted[behind]).all()
        assert np.isfinite(found.original[found.layer == 0]).all()
        assert seen <= set(OUTCOMES)


def test_a_later_layers_value_does_not_matter_where_the_faults_before_it_raise() -> None:
    """Its values are asked for to scale them, and what asks for them raises in a later check."""
    family = families.FAMILIES["checked"]
    model, inputs = family.model(), family.data(40)
    labels = np.random.default_rng(3).integers(families.CLASSES, size=40)
    engine = Engine(model, Dataset(inputs, labels))
    cell = cell_of("features + first + second + third", Scale(-20.0), Probability(0.9))
    trials = trials_of(cell, 2)
    assert "due" in assert_equal(engine, Reference(model, inputs, labels), trials)
    found = engine.evaluate(trials, record=True).injections
    assert found is not None
    eleventh = (found.trial == 1) & (found.sample == 11)
    assert np.count_nonzero(eleventh) > 0
    assert set(found.outcome[eleventh]) == {DUE}


def test_weights_that_are_used_as_indices_are_due_where_one_is_out_of_range() -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            layers.Input((64,), name="features"),
            layers.Dense(32, activation="relu", name="hidden"),
            layers.Dense(4, name="scores"),
        ]
    )
    for layer in model.layers:
        layer.quantize(config=keras.quantizers.Int4QuantizationConfig(block_size=16))
    inputs = np.random.default_rng(0).normal(size=(40, 64)).astype("float32")
    labels = np.zeros(40, np.int64)
    engine, reference = Engine(model, Dataset(inputs, labels)), Reference(model, inputs, labels)
    groups = model.get_layer("hidden").g_idx.numpy()
    assert sorted(set(groups)) == [0, 1, 2, 3]
    cell = cell_of("hidden", BitFlip(bit=23), Count(1), WEIGHTS, "g_idx")
    trials = trials_of(cell, 6)
    seen = assert_equal(engine, reference, trials)
    found = engine.evaluate(trials, record=True)
    assert found.injections is not None
    for trial in range(6):
        (row,) = np.flatnonzero(found.injections.trial == trial)[:1]
        group = flipped(groups[found.injections.element[row]][np.newaxis], 23)[0]
        assert found.tallies.due[trial] == (40 if group >= 4 else 0)
    assert "due" in seen
