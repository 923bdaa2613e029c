"""What a model's outputs are taken for: by their values, as the campaign says, or asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.errors import CampaignError, ModelError
from injecttf2.judging import Assessment, Criterion, Judge, Output
from injecttf2.judging.criteria import ByCriterion, ConfidenceMoved
from injecttf2.judging.metrics import Confidence
from injecttf2.judging.names import Named
from injecttf2.judging.output_kind import check, decide, stated
from injecttf2.judging.per_position import PerPosition
from injecttf2.judging.threshold import Threshold
from injecttf2.judging.top_k import Top1

RANDOM = np.random.default_rng(3)
LOGITS = RANDOM.normal(scale=2.0, size=(40, 4)).astype(np.float32)

NOTHING = layers.Reshape((4,))
"""A last operation whose class tells nothing."""

LINEAR = layers.Dense(4)

YES_OR_NO, CLASSES = (Threshold(),), (Confidence(),)


def softmax(logits: Any, dtype: Any = np.float32) -> Any:
    """By hand, in float64."""
    powers = np.exp(logits.astype(np.float64))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(dtype)


def sigmoid(logits: Any) -> Any:
    return (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)


def within(low: float, high: float, *shape: int) -> Any:
    """Random values of which the lowest and the highest are the bounds."""
    values = RANDOM.uniform(low, high, size=shape)
    values.flat[0], values.flat[-1] = low, high
    return values.astype(np.float32)


@dataclass(frozen=True)
class Seen:
    """What is seen, and what follows from it.

    Args:
        outputs: Golden outputs.
        kind: What they are, or words of the question.
        operation: The model's last.
        parts: What depends on it.
    """

    outputs: Any
    kind: str
    operation: Any = NOTHING
    parts: tuple[Any, ...] = CLASSES


PROBABILITIES = softmax(LOGITS)

SQUARES = np.eye(4)[RANDOM.integers(0, 4, 40)] + within(-0.2, 0.2, 40, 4)
"""What a linear model gives out that was trained on squares to tell four classes apart."""

SEEN = {
    "softmax": Seen(PROBABILITIES, "probabilities"),
    "softmax in float16": Seen(softmax(LOGITS, np.float16), "probabilities"),
    "softmax in bfloat16": Seen(softmax(LOGITS, ml_dtypes.bfloat16), "probabilities"),
    "softmax in bfloat16, then float32": Seen(
        softmax(LOGITS, ml_dtypes.bfloat16).astype(np.float32), "probabilities"
    ),
    "many classes": Seen(
        softmax(RANDOM.normal(size=(9, 1000)), ml_dtypes.bfloat16), "probabilities"
    ),
    "an average": Seen((PROBABILITIES + softmax(-LOGITS)) / 2, "probabilities"),
    "a clip": Seen(np.clip(PROBABILITIES, 1e-7, 1 - 1e-7), "probabilities"),
    "above 1 by rounding": Seen(
        np.asarray([[1 + 2.0**-7, 0]] * 4, ml_dtypes.bfloat16), "probabilities"
    ),
    "softmax behind a last layer without activation": Seen(PROBABILITIES, "probabilities", LINEAR),
    "few rows of softmax": Seen(PROBABILITIES[:4], "probabilities"),
    "too few rows of softmax": Seen(PROBABILITIES[:3], "do not sum to 1"),
    "a softmax clipped at 0.1": Seen(np.clip(PROBABILITIES, 0.1, 0.9), "do not sum to 1"),
    "sigmoids": Seen(sigmoid(LOGITS), "probabilities", parts=YES_OR_NO),
    "sigmoids as classes": Seen(sigmoid(LOGITS), "do not sum to 1"),
    "sigmoids, one of the parts takes them as classes": Seen(
        sigmoid(LOGITS), "do not sum to 1", parts=(*YES_OR_NO, *CLASSES)
    ),
    "one sigmoid": Seen(sigmoid(LOGITS[:, :1]), "probabilities", parts=YES_OR_NO),
    "one sigmoid of two classes": Seen(sigmoid(LOGITS[:, 0]), "probabilities"),
    "30 values": Seen(within(0.4, 0.6, 30), "probabilities", parts=YES_OR_NO),
    "29 values": Seen(within(0.4, 0.6, 29), "the 29 values are", parts=YES_OR_NO),
    "on one side": Seen(within(0.1, 0.49, 90), "from 0.1 to 0.49", parts=YES_OR_NO),
    "on the other side": Seen(within(0.51, 0.9, 90), "from 0.51 to 0.9", parts=YES_OR_NO),
    "zeros and ones": Seen(np.tile([0, 1], 20), "probabilities", parts=YES_OR_NO),
    "true and false": Seen(np.tile([False, True], 20), "probabilities", parts=YES_OR_NO),
    "logits in a small range": Seen(
        within(0.1, 0.9, 40, 4), "ends without an activation", LINEAR, YES_OR_NO
    ),
    "logits": Seen(LOGITS, "logits"),
    "logits of yes or no": Seen(LOGITS[:, :1], "logits", parts=YES_OR_NO),
    "small logits on both sides": Seen(within(-0.01, 0.01, 40, 4), "logits", LINEAR),
    "trained on squares": Seen(SQUARES, "trained to give out 0 and 1", LINEAR),
    "trained on squares, for yes or no": Seen(
        SQUARES[:, :1], "trained to give out 0 and 1", LINEAR, YES_OR_NO
    ),
    "trained on squares, never below 0": Seen(
        np.abs(SQUARES), "trained to give out 0 and 1", NOTHING
    ),
    "one far from 0 and 1": Seen(np.append(SQUARES, [[1.6, 0, 0, 0]], axis=0), "logits", LINEAR),
    "near 0 and 1, with sums around 2": Seen(SQUARES + 0.25, "logits", LINEAR),
    "none nearer to 1": Seen(SQUARES / 3, "logits", LINEAR, YES_OR_NO),
    "tanh": Seen(np.tanh(LOGITS), "logits", parts=YES_OR_NO),
    "logits above 0": Seen(within(0.1, 7, 40, 4), "logits", LINEAR),
    "logits below 0": Seen(within(-7, -0.1, 40, 4), "logits", LINEAR, YES_OR_NO),
    "all above 0 and who knows why": Seen(within(0, 100, 40, 4), "not on both sides of 0"),
    "bytes": Seen(np.arange(256, dtype=np.uint8), "not on both sides of 0", parts=YES_OR_NO),
    "log_softmax": Seen(np.log(PROBABILITIES), "logits"),
    "log_softmax as yes or no": Seen(
        np.log(PROBABILITIES), "not on both sides of 0", parts=(*CLASSES, *YES_OR_NO)
    ),
    "log_sigmoid": Seen(np.log(sigmoid(LOGITS[:, 0])), "not on both sides of 0", parts=YES_OR_NO),
    "a map": Seen(sigmoid(LOGITS).reshape(10, 4, 4, 1), "probabilities", parts=(PerPosition(),)),
}


@pytest.mark.parametrize("name", SEEN)
def test_outputs_are_what_their_values_say(name: str) -> None:
    one = SEEN[name]
    # Whole or in parts, what is seen is the same.
    for parts in ([one.outputs], np.array_split(one.outputs, 3)):
        if one.kind in ("probabilities", "logits"):
            found = decide(parts, one.operation, one.parts)
            assert found.kind == one.kind
            continue
        with pytest.raises(CampaignError) as error:
            decide(parts, one.operation, one.parts)
        assert error.value.message.startswith(
            "it cannot be told whether the model's outputs are probabilities or logits: "
        )
        assert one.kind in error.value.message
        assert error.value.hint == (
            "say it in `judge:`, by `outputs: probabilities` or `outputs: logits`"
        )


class OfMine(layers.Dense):
    """Its class says a sigmoid, its code does not."""

    def call(self, inputs: Any) -> Any:
        return 3 * super().call(inputs) - 1


@pytest.mark.parametrize(
    "operation",
    [
        layers.Dense(4, activation="sigmoid"),
        layers.Activation("sigmoid"),
        layers.Softmax(),
        layers.TimeDistributed(layers.Dense(1, activation="sigmoid")),
        keras.ops.sigmoid(keras.Input((3,)))._keras_history.operation,
    ],
)
def test_a_sigmoid_or_softmax_of_keras_needs_no_values(operation: Any) -> None:
    def never() -> Any:
        raise AssertionError
        yield

    assert decide(never(), operation, CLASSES).kind == "probabilities"


@pytest.mark.parametrize(
    "operation",
    [
        OfMine(4, activation="sigmoid"),
        layers.TimeDistributed(OfMine(4, activation="sigmoid")),
        layers.Activation("hard_sigmoid"),
        layers.Activation(tf.nn.sigmoid),
    ],
)
def test_what_only_looks_like_one_is_seen(operation: Any) -> None:
    assert decide([LOGITS], operation, YES_OR_NO).kind == "logits"
    assert decide([sigmoid(LOGITS)], operation, YES_OR_NO).kind == "probabilities"


def test_the_reason_names_what_was_seen() -> None:
    assert decide([LOGITS], NOTHING, CLASSES).reason == (
        f"they go from {LOGITS.min():.4g} to {LOGITS.max():.4g}"
    )
    assert decide([within(0.25, 0.75, 50)], NOTHING, YES_OR_NO).reason == (
        "they are from 0.25 to 0.75"
    )
    half = np.full((4, 2), 0.5, np.float32)
    assert decide([half], NOTHING, CLASSES).reason == (
        "they are from 0.5 to 0.5 and sum to 1 in each row"
    )


def test_no_more_is_asked_for_than_is_needed() -> None:
    def parts() -> Any:
        yield within(0.1, 0.9, 5)
        yield np.asarray([-1, 2], np.float32)
        raise AssertionError

    assert decide(parts(), LINEAR, YES_OR_NO).reason == "they go from -1 to 2"


@dataclass(frozen=True)
class Own(Judge):
    logits: bool = False

    def differs(self, outputs: Any, golden: Any) -> Any:
        return outputs[:, 0] != golden[:, 0]

    def score(self, outputs: Any, labels: Any) -> Any:
        return tf.ones_like(outputs[:, 0])


class OwnCriterion(Criterion):
    def __init__(self, logits: bool) -> None:
        self.taken = logits

    def met(self, outputs: Any, golden: Any) -> Any:
        return outputs[:, 0] != golden[:, 0]


def test_what_depends_on_it() -> None:
    row, map_of_one, map_of_two = (Output(shape, "float32") for shape in ((4,), (3, 1), (3, 2)))
    moved, own = ConfidenceMoved(10), OwnCriterion(logits=True)
    assessment = Assessment(ByCriterion(moved), (Confidence(),), (own,))
    assert assessment.reading_logits(row) == (moved, Confidence(), own)
    assert Assessment().reading_logits(row) == ()
    assert Assessment(Threshold(0.3)).reading_logits(row) == ()
    assert Assessment(Threshold()).reading_logits(row) == (Threshold(),)
    assert Assessment(Own()).reading_logits(row) == (Own(),)
    assert Assessment(PerPosition()).reading_logits(map_of_one) == (PerPosition(),)
    assert Assessment(PerPosition()).reading_logits(map_of_two) == ()
    assert Assessment(PerPosition(threshold=0.3)).reading_logits(map_of_one) == ()


def test_what_a_campaign_says() -> None:
    plain = Named("threshold")
    assert stated(None, [plain]) is None
    said = stated("logits", [plain])
    assert said is not None
    assert (said.kind, said.reason) == ("logits", "the campaign says so")
    for flag, kind in ((True, "logits"), (False, "probabilities")):
        said = stated(None, [plain, Named("confidence", {"logits": flag})])
        assert said is not None
        assert said.kind == kind
    with pytest.raises(CampaignError, match="are probabilities, and that they are logits"):
        stated("logits", [Named("threshold", {"logits": False})])
    with pytest.raises(CampaignError, match="are probabilities, and that they are logits"):
        stated(None, [Named("threshold", {"logits": False}), Named("x", {"logits": True})])


def test_outputs_that_contradict_are_refused() -> None:
    span = f"from {LOGITS.min():.4g} to {LOGITS.max():.4g}"
    with pytest.raises(ModelError) as error:
        check(LOGITS, [Confidence(logits=False)])
    assert error.value.message == (
        "confidence takes the model's outputs for probabilities; expected values from 0 to 1, but "
        f"without any fault they are {span}"
    )
    with pytest.raises(ModelError, match=r"confidence_10 takes .* for logits, but .* sum to 1"):
        check(PROBABILITIES, [ConfidenceMoved(10, logits=True)])
    with pytest.raises(ModelError, match="test_output_kind:Own takes the model's outputs for prob"):
        check(LOGITS, [Own()])


def test_outputs_that_may_be_what_they_are_taken_for_are_not_refused() -> None:
    check(LOGITS, [])
    check(LOGITS, [Confidence(logits=True), OwnCriterion(logits=False)])
    check(PROBABILITIES, [Confidence()])
    check(sigmoid(LOGITS), [Confidence(), Threshold(logits=True)])
    check(PROBABILITIES[:, :1], [Threshold(logits=True)])


def model_of(activation: str) -> keras.Model:
    keras.utils.set_random_seed(5)
    inputs = keras.Input((6,))
    return keras.Model(inputs, layers.Dense(4, activation=activation)(inputs))


@pytest.mark.parametrize(
    ("activation", "assessment"),
    [
        ("linear", Assessment(Threshold())),
        ("linear", Assessment(Top1(), (Confidence(),))),
        ("softmax", Assessment(Top1(), criteria=(ConfidenceMoved(10, logits=True),))),
        ("softmax", Assessment(ByCriterion(ConfidenceMoved(10, logits=True)))),
    ],
)
def test_an_engine_refuses_a_judge_that_takes_outputs_for_something_else(
    activation: str, assessment: Assessment
) -> None:
    inputs = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    several = isinstance(assessment.judge, Threshold)
    labels = np.zeros((40, 4) if several else 40, np.int64)
    with pytest.raises(ModelError, match="takes the model's outputs for"):
        Engine(model_of(activation), Dataset(inputs, labels), assessment=assessment)
    Engine(model_of(activation), Dataset(inputs, np.zeros(40, np.int64)))  # top-1 does not depend
