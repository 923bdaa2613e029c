"""Judges by name and of the user's own: made, refused, told apart and sent to other processes."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from injecttf2.errors import CampaignError, DatasetError, ModelError, UserError
from injecttf2.judging import Assessment, Output
from injecttf2.judging.criteria import ByCriterion, ConfidenceMoved, LeftTop
from injecttf2.judging.metrics import Confidence, MeanAbsoluteError, TopKAccuracy
from injecttf2.judging.names import Named
from injecttf2.judging.per_position import PerPosition
from injecttf2.judging.probabilities import gives_logits
from injecttf2.judging.registry import resolve
from injecttf2.judging.regression import Regression
from injecttf2.judging.threshold import Threshold
from injecttf2.judging.top_k import Top1, TopK
from tests.builders import install_package

MODULE = '''
from dataclasses import dataclass

import tensorflow as tf

from injecttf2.judging import Criterion, Judge, Metric
from margins_of_mine import MARGIN


@dataclass(frozen=True)
class Lead(Judge):
    """The decision is whether class 0 leads by a margin."""

    margin: float = MARGIN

    def differs(self, outputs, golden):
        return self.leads(outputs) != self.leads(golden)

    def score(self, outputs, labels):
        return tf.cast(self.leads(outputs) == (labels == 0), tf.float32)

    def leads(self, outputs):
        return outputs[:, 0] - outputs[:, 1] > self.margin


class Grave(Criterion):
    name = "grave"

    def met(self, outputs, golden):
        return outputs[:, 0] > 2 * golden[:, 0]


@dataclass(frozen=True)
class Largest(Metric):
    logits: bool
    name = "largest"
    worst = -1.0

    def values(self, outputs, golden, labels):
        return tf.reduce_max(outputs, axis=1)


class Fell(Criterion):
    def met(self, outputs, golden):
        return outputs[:, 0] < golden[:, 0]


class Raises(Criterion):
    def met(self, outputs, golden):
        return outputs.nothing


class Scalar(Metric):
    def values(self, outputs, golden, labels):
        return tf.reduce_max(outputs)


class Counts(Metric):
    def values(self, outputs, golden, labels):
        return tf.argmax(outputs, axis=1)


class Texts(Lead):
    def labels(self, labels, output):
        return labels.astype(str)


class BadName(Fell):
    name = "bad name"


class NeedsMore(Metric):
    pass


class NoPart:
    pass


def function():
    return Lead()
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "judges_of_mine.py").write_text(MODULE)
    (tmp_path / "margins_of_mine.py").write_text("MARGIN = 0.5\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in ("judges_of_mine", "margins_of_mine"):
        sys.modules.pop(name, None)


def made(
    judge: str = "top1",
    metrics: tuple[str, ...] = (),
    criteria: tuple[str, ...] = (),
    *,
    logits: bool = False,
    folder: Path | None = None,
    **parameters: Any,
) -> Assessment:
    named = [Named(judge, parameters), *map(Named, metrics), *map(Named, criteria)]
    end = 1 + len(metrics)
    return resolve(named[0], named[1:end], named[end:], logits=logits, folder=folder)[1]


def test_judges_by_name() -> None:
    assert made() == Assessment()
    assert made("topk", k=5).judge == TopK(5)
    assert made("threshold", threshold=0.3).judge == Threshold(0.3, logits=False)
    assert made("per_position", ignore=255, tolerance=0.1).judge == PerPosition(255, 0.1)
    assert made("regression", absolute=1, relative=0.1).judge == Regression(1, 0.1)
    assert made("confidence_10").judge == ByCriterion(ConfidenceMoved(10))


def test_logits_are_filled_in_where_they_are_not_given() -> None:
    made_of_logits = made("threshold", ("confidence",), ("confidence_20",), logits=True)
    assert made_of_logits == Assessment(
        Threshold(logits=True), (Confidence(logits=True),), (ConfidenceMoved(20, logits=True),)
    )
    assert made("threshold", logits=True, folder=None).judge == Threshold(logits=True)
    named = Named("confidence", {"logits": False})
    _, assessment = resolve(Named("top1"), [named], logits=True)
    assert assessment.metrics == (Confidence(logits=False),)


def test_metrics_and_criteria_are_columns_in_their_order() -> None:
    assessment = made(
        metrics=("top5_accuracy", "mean_absolute_error", "confidence"),
        criteria=("confidence_0.5", "top5", "confidence_10.0"),
    )
    assert assessment.metrics == (TopKAccuracy(5), MeanAbsoluteError(), Confidence())
    assert assessment.criteria == (ConfidenceMoved(0.5), LeftTop(5), ConfidenceMoved(10))
    assert assessment.columns == (
        "metric_top5_accuracy",
        "metric_mean_absolute_error",
        "metric_confidence",
        "sdc_confidence_0.5",
        "sdc_top5",
        "sdc_confidence_10",
    )


def test_those_of_installed_packages_are_entry_points(folder: Path) -> None:
    install_package(
        folder,
        "[injecttf2.judges]\nleads = judges_of_mine:Lead\n"
        "[injecttf2.metrics]\nbiggest = judges_of_mine:Largest\n"
        "[injecttf2.criteria]\ngrave = judges_of_mine:Grave\n",
    )
    sys.path.insert(0, str(folder))
    assessment = made("leads", ("biggest",), margin=0.25, logits=True)
    assert (type(assessment.judge).__name__, assessment.columns) == ("Lead", ("metric_largest",))
    own = made("judges_of_mine:Lead", ("judges_of_mine:Largest",), margin=0.25, logits=True)
    assert assessment.identity() == own.identity()
    assert made(criteria=("grave",)).columns == ("sdc_grave",)
    assert made("grave").judge.name == "by_criterion"
    with pytest.raises(CampaignError, match="did you mean 'biggest'") as caught:
        made(metrics=("bigest",))
    assert "mean_squared_error, biggest, or package.module:Class" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"judge": "top"}, "unknown judge 'top'; did you mean"),
        ({"judge": "topk"}, "topk: it needs the parameter 'k'"),
        ({"judge": "topk", "k": 0}, "topk: k is a whole number of 1 or more; received 0"),
        ({"judge": "topk", "kk": 5}, "topk: unknown parameter 'kk'; did you mean 'k'?"),
        ({"metrics": ("top5",)}, "unknown metric 'top5'"),
        ({"criteria": ("confidenc_10",)}, "unknown criterion 'confidenc_10'; did you mean"),
        ({"metrics": ("confidence",) * 2}, "the column 'metric_confidence' is asked for twice"),
        (
            {"criteria": ("confidence_10", "confidence_10.0")},
            "the column 'sdc_confidence_10' is asked for twice",
        ),
        ({"judge": "judges_of_mine:Nothing"}, "has no class 'Nothing'"),
        (
            {"judge": "judges_of_mine:function"},
            "it is no subclass of injecttf2.judging.judge.Judge",
        ),
        ({"judge": "judges_of_mine:NoPart"}, "it is no subclass of injecttf2.judging.judge.Judge"),
        ({"metrics": ("judges_of_mine:Lead",)}, "it is no subclass of injecttf2.judging.metrics."),
        ({"metrics": ("judges_of_mine:NeedsMore",)}, "it raised TypeError: Can't instantiate"),
        ({"criteria": ("judges_of_mine:BadName",)}, "its name is 'bad name'; expected letters"),
        ({"judge": "judges_of_mine:Lead", "x": 1}, "unknown parameter 'x'"),
    ],
)
def test_what_cannot_be_made_is_refused(folder: Path, arguments: Any, text: str) -> None:
    with pytest.raises(CampaignError) as error:
        made(**arguments, folder=folder)
    assert text in str(error.value)


def test_what_cannot_be_made_is_refused_with_the_place_of_its_name(folder: Path) -> None:
    bad = Named("judges_of_mine:Nothing", place="c.yaml:7:3")
    with pytest.raises(CampaignError) as error:
        resolve(Named("top1"), [Named("confidence"), bad], logits=True, folder=folder)
    assert str(error.value).startswith("c.yaml:7:3: judges_of_mine:Nothing: the module")


def labels_and_verdict(assessment: Assessment) -> list[Any]:
    labels = assessment.labels(np.asarray([0, 1, 0]), Output((2,), "float32"))
    golden = tf.constant([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0]])
    faulty = tf.constant([[1.0, 0.75], [0.0, 3.0], [float("nan"), 0.0]])
    verdict = assessment.verdict(faulty, golden, tf.constant(labels))
    return [column.numpy().tolist() for column in verdict]


def test_classes_of_the_users_own_judge(folder: Path) -> None:
    assessment = made(
        "judges_of_mine:Lead",
        ("judges_of_mine:Largest",),
        ("judges_of_mine:Fell",),
        logits=True,
        folder=folder,
    )
    assert assessment.columns == ("metric_largest", "sdc_Fell")
    assert vars(assessment.metrics[0]) == {"logits": True}
    assert labels_and_verdict(assessment) == [
        [2, 1, 3],
        [-1, -1, -1],
        [0.0, 1.0, 0.0],
        [[1.0], [3.0], [-1.0]],
        [[True], [False], [False]],
        [False, False, False],
    ]
    criterion = made("judges_of_mine:Fell", folder=folder)
    assert labels_and_verdict(criterion)[:3] == [[2, 1, 3], [0, 1, -1], [1.0, 1.0, 0.0]]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"criteria": ("judges_of_mine:Raises",)}, "judges_of_mine:Raises.met raised "),
        (
            {"metrics": ("judges_of_mine:Scalar",)},
            "judges_of_mine:Scalar.values returned float32 () for 2 samples; "
            "expected a number for each",
        ),
        (
            {"metrics": ("judges_of_mine:Counts",)},
            "judges_of_mine:Counts.values returned int64 (2,) for 2 samples; "
            "expected a number for each",
        ),
        (
            {"judge": "judges_of_mine:Texts"},
            "the judge judges_of_mine:Texts made labels of shape (3,) and dtype <U21; "
            "expected numbers, one row for each of 3 samples",
        ),
    ],
)
def test_the_users_own_mistakes_are_told_before_anything_is_evaluated(
    folder: Path, arguments: Any, text: str
) -> None:
    assessment = made(**arguments, folder=folder)
    with pytest.raises(UserError) as error:
        assessment.labels(np.asarray([0, 1, 0]), Output((2,), "float32"))
    assert isinstance(error.value, ModelError | DatasetError)
    assert error.value.message.startswith(text)


def test_labels_are_converted_by_the_judge_once() -> None:
    class OneHot(Top1):
        def labels(self, labels: Any, output: Output) -> Any:
            return labels.argmax(axis=1)

    assessment = Assessment(judge=OneHot())
    output = Output((2,), "float32")
    taken = assessment.labels(np.eye(2)[[0, 1, 1]], output)
    assert taken.tolist() == [0, 1, 1]
    assessment.check(taken, output)


def test_an_assessment_travels_to_where_its_modules_are_not(folder: Path) -> None:
    named = Named("judges_of_mine:Lead", {"margin": 0.25})
    portable, assessment = resolve(named, [Named("top1_accuracy")], logits=False, folder=folder)
    code = (
        "import pickle, sys; assessment = pickle.load(sys.stdin.buffer).build();"
        "print(type(assessment.judge).__module__, assessment.judge.margin, assessment.columns)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(portable), capture_output=True, check=True
    )
    assert done.stdout.decode() == "judges_of_mine 0.25 ('metric_top1_accuracy',)\n"
    assert portable.build().columns == assessment.columns


def test_top1_alone_adds_nothing_to_the_identity() -> None:
    assert made().identity() == {}


def test_all_that_decides_a_verdict_is_in_the_identity(folder: Path) -> None:
    def identity(**arguments: Any) -> dict[str, Any]:
        return made(**arguments, folder=folder).identity()

    variants = [
        identity(judge="topk", k=2),
        identity(judge="topk", k=3),
        identity(judge="threshold"),
        identity(judge="threshold", logits=True),
        identity(judge="confidence_10"),
        identity(judge="confidence_20"),
        identity(metrics=("confidence",)),
        identity(criteria=("confidence_10",)),
        identity(judge="judges_of_mine:Lead"),
        identity(judge="judges_of_mine:Lead", margin=0.25),
    ]
    assert all(variants.count(one) == 1 for one in variants)
    assert variants[0] == {
        "judge": {"type": "injecttf2.judges.top:TopK", "parameters": {"k": 2}},
        "metrics": [],
        "criteria": [],
    }
    own = variants[-1]["judge"]
    assert (own["type"], own["parameters"]) == ("judges_of_mine:Lead", {"margin": 0.25})
    assert identity(judge="judges_of_mine:Lead", margin=0.25) == variants[-1]


def test_changed_code_of_the_users_own_changes_the_identity(folder: Path) -> None:
    def code() -> str:
        for name in ("judges_of_mine", "margins_of_mine"):
            sys.modules.pop(name, None)
        return str(made("judges_of_mine:Lead", folder=folder).identity()["judge"]["code"])

    path = folder / "judges_of_mine.py"
    before = code()
    path.write_text("# a comment moves all lines\n" + MODULE)
    assert code() == before
    path.write_text(
        MODULE.replace("outputs[:, 0] - outputs[:, 1]", "outputs[:, 1] - outputs[:, 0]")
    )
    assert code() != before


def test_the_order_of_metrics_is_not_in_the_identity() -> None:
    one, other = (
        made(metrics=("confidence", "top1_accuracy")),
        made(metrics=("top1_accuracy", "confidence")),
    )
    assert one.identity() == other.identity()


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Dense(3), True),
        (layers.Dense(3, activation="softmax"), False),
        (layers.Dense(1, activation="sigmoid"), False),
        (layers.Dense(3, activation="log_softmax"), True),
        (layers.Softmax(), False),
        (layers.Activation("sigmoid"), False),
        (layers.Conv2D(2, 1, activation="softmax"), False),
        (layers.TimeDistributed(layers.Dense(3, activation="softmax")), False),
        (layers.TimeDistributed(layers.Dense(3)), True),
        (layers.Flatten(), True),
    ],
)
def test_logits_are_told_by_the_last_layer(layer: Any, expected: bool) -> None:
    assert gives_logits(layer) is expected


@pytest.mark.parametrize("function", [keras.ops.softmax, keras.ops.sigmoid])
def test_logits_are_told_by_the_last_operation(function: Any) -> None:
    assert not gives_logits(function(keras.Input((3,)))._keras_history.operation)
    assert gives_logits(keras.ops.relu(keras.Input((3,)))._keras_history.operation)
