"""Whether outputs are probabilities: decided once, by the driver, told, and the same for all."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from injecttf2.errors import CampaignError
from injecttf2.evaluation import golden_run
from injecttf2.judging import Output
from orchestrator.campaign.campaign import load_campaign
from orchestrator.planning.plan import Plan, make_plan
from results import open_run
from tests.orchestrator.conftest import Command, Run

MODULE = """
import keras
import numpy as np
import tensorflow as tf
from keras import layers

x = np.random.default_rng(0).normal(size=(200, 6)).astype("float32")


def ending(*ends, units=1, head=None):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6,))
    hidden = layers.Dense(8, "relu", name="h")(inputs)
    outputs = layers.Dense(units, name="last", kernel_initializer="he_normal")(hidden)
    for end in ends:
        outputs = end(outputs)
    return keras.Model(inputs, outputs)


class Clip(layers.Layer):
    def call(self, inputs):
        return tf.clip_by_value(inputs, 1e-7, 1 - 1e-7)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = ending(units=3)

    def call(self, inputs):
        return tf.nn.softmax(self.inner(inputs))


def named():
    return ending(layers.Activation("sigmoid"))


def function():
    return ending(layers.Activation(tf.nn.sigmoid))


def hard():
    return ending(layers.Activation("hard_sigmoid"))


def linear():
    return ending()


def labels():
    return x, (x[:, 0] > 0).astype(int)


def few():
    return x[:20], (x[:20, 0] > 0).astype(int)


def softmax():
    return ending(layers.Softmax(), units=3)


def reshaped():
    return ending(layers.Softmax(), layers.Reshape((3,)), units=3)


def identity():
    return ending(layers.Softmax(), layers.Identity(), units=3)


def dropout():
    return ending(layers.Softmax(), layers.Dropout(0.5), units=3)


def clipped():
    return ending(layers.Softmax(), Clip(), units=3)


def averaged():
    def twice(logits):
        return layers.Average()([layers.Softmax()(logits), layers.Softmax()(-logits)])

    return ending(twice, units=3)


def subclassed():
    keras.utils.set_random_seed(1)
    model = Subclassed()
    model(x[:2])
    return model


def half():
    return ending(layers.Activation(tf.nn.softmax, dtype="bfloat16"), units=3)


def logits():
    return ending(units=3)


def flags():
    return ending(layers.Activation(tf.nn.sigmoid), units=3)


def named_flags():
    return ending(layers.Activation("sigmoid"), units=3)


def sequence():
    keras.utils.set_random_seed(1)
    ends = layers.TimeDistributed(layers.Dense(1, tf.nn.sigmoid))
    return keras.Sequential([keras.Input((5, 6)), layers.Dense(8, name="h"), ends])


def classes():
    return x, np.arange(200) % 3


def several():
    return x, (x[:, :3] > 0).astype(int)


def steps():
    inputs = np.random.default_rng(0).normal(size=(40, 5, 6)).astype("float32")
    return inputs, (inputs[..., 0] > 0).astype(int)
"""

GRID = "grid: {layers: '*h', bits: 31, probabilities: 1.0}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "kinds.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("kinds", None)


def written(folder: Path, model: str, data: str, lines: str) -> Path:
    file = folder / f"{model}.yaml"
    file.write_text(f"model: 'kinds:{model}'\ndataset: 'kinds:{data}'\n{lines}\n{GRID}")
    return file


def planned(folder: Path, model: str, data: str, lines: str) -> Plan:
    return make_plan(load_campaign(written(folder, model, data, lines)))


def output(plan: Plan) -> Output:
    return Output(plan.graph.output_shape, plan.graph.output.dtype.name)


def told(plan: Plan) -> str | None:
    return None if plan.outputs is None else plan.outputs.kind


CONFIDENCE = "metrics: confidence\ncriteria: confidence_10"

DECIDED = {
    "a sigmoid by name": ("named", "labels", "judge: threshold", "probabilities"),
    "TensorFlow's sigmoid": ("function", "labels", "judge: threshold", "probabilities"),
    "hard_sigmoid": ("hard", "labels", "judge: threshold", "probabilities"),
    "no activation": ("linear", "labels", "judge: threshold", "logits"),
    "a softmax": ("softmax", "classes", CONFIDENCE, "probabilities"),
    "a softmax, reshaped": ("reshaped", "classes", CONFIDENCE, "probabilities"),
    "a softmax and Identity": ("identity", "classes", CONFIDENCE, "probabilities"),
    "a softmax and Dropout": ("dropout", "classes", CONFIDENCE, "probabilities"),
    "a softmax, clipped": ("clipped", "classes", CONFIDENCE, "probabilities"),
    "an average": ("averaged", "classes", "judge: confidence_10", "probabilities"),
    "a subclassed model": ("subclassed", "classes", CONFIDENCE, "probabilities"),
    "16 bits": ("half", "classes", CONFIDENCE, "probabilities"),
    "logits": ("logits", "classes", CONFIDENCE, "logits"),
    "several sigmoids": ("flags", "several", "judge: threshold", "probabilities"),
    "sigmoids of Keras as classes": ("named_flags", "classes", CONFIDENCE, "probabilities"),
    "sigmoids as classes, as is said": (
        "flags",
        "classes",
        f"judge: {{type: top1, outputs: probabilities}}\n{CONFIDENCE}",
        "probabilities",
    ),
    "positions": ("sequence", "steps", "judge: per_position", "probabilities"),
    "top-1 alone": ("flags", "classes", "", None),
    "a threshold of the user's own": (
        "linear",
        "labels",
        "judge: {type: threshold, threshold: 0.3}",
        None,
    ),
}


@pytest.mark.parametrize("name", DECIDED)
def test_what_outputs_are_is_decided_whatever_the_model_ends_with(name: str, folder: Path) -> None:
    model, data, lines, kind = DECIDED[name]
    plan = planned(folder, model, data, lines)
    assert told(plan) == kind
    flags = [part.logits for part in plan.assessment.reading_logits(output(plan))]  # type: ignore[attr-defined]
    assert flags == [kind == "logits"] * len(flags)
    assert bool(flags) == (kind is not None)


ASKED = {
    "few samples": ("function", "few", "judge: threshold", "the 20 values are from"),
    "no classes": ("flags", "classes", CONFIDENCE, "but do not sum to 1 in each row"),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_values_do_not_tell_is_asked_for(name: str, folder: Path) -> None:
    model, data, lines, reason = ASKED[name]
    with pytest.raises(CampaignError) as error:
        planned(folder, model, data, lines)
    assert reason in str(error.value)
    assert f"{model}.yaml:" in str(error.value)
    assert "`outputs: probabilities` or `outputs: logits`" in str(error.value)


def test_nothing_is_run_where_it_is_said_or_does_not_matter(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(golden_run, "outputs", never)
    for lines in (
        "judge: {type: threshold, outputs: probabilities}",
        "judge: {type: threshold, logits: false}",
        "judge: {type: threshold, threshold: 0.3}",
        "judge: {type: regression, absolute: 0.1}",
    ):
        planned(folder, "function", "labels", lines)
    planned(folder, "logits", "classes", "metrics: top2_accuracy")
    with pytest.raises(AssertionError):
        planned(folder, "function", "labels", "judge: threshold")


@pytest.mark.parametrize(
    "lines",
    [
        "judge: {type: top1, outputs: logits}\nmetrics: confidence",
        "metrics: {type: confidence, logits: true}",
    ],
)
def test_what_is_said_holds_for_all_that_depends_on_it(lines: str, folder: Path) -> None:
    plan = planned(folder, "flags", "classes", f"{lines}\ncriteria: confidence_20")
    assert plan.outputs is not None
    assert (plan.outputs.kind, plan.outputs.reason) == ("logits", "the campaign says so")
    parts = plan.assessment.reading_logits(output(plan))
    assert [part.logits for part in parts] == [True, True]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("model", "data", "lines", "parameters"),
    [
        ("named", "labels", "judge: threshold", {"threshold": None, "logits": False}),
        ("linear", "labels", "judge: threshold", {"threshold": None, "logits": True}),
        (
            "linear",
            "labels",
            "judge: {type: threshold, logits: true}",
            {"threshold": None, "logits": True},
        ),
        (
            "hard",
            "labels",
            "judge: {type: threshold, threshold: 0.3}",
            {"threshold": 0.3, "logits": True},
        ),
        (
            "function",
            "labels",
            "judge: {type: threshold, threshold: 0.3}\nmetrics: {type: confidence, logits: false}",
            {"threshold": 0.3, "logits": True},
        ),
        (
            "linear",
            "labels",
            "judge: {type: threshold, threshold: 0.3, outputs: probabilities}",
            {"threshold": 0.3, "logits": True},
        ),
        ("softmax", "classes", "judge: confidence_10", {"percent": 10.0, "logits": False}),
        ("logits", "classes", "judge: confidence_10", {"percent": 10.0, "logits": True}),
    ],
)
def test_identities_of_what_was_right_are_what_they_were(
    model: str, data: str, lines: str, parameters: dict[str, Any], folder: Path
) -> None:
    """As version 0.1 had them, also a flag that nothing depends on, told by the last layer."""
    judge = planned(folder, model, data, lines).identity.to_dict()["judge"]["parameters"]
    assert judge.get("criterion", {"parameters": judge})["parameters"] == parameters


def numpy_outputs(x: Any, weights: list[Any]) -> tuple[Any, Any]:
    """The hidden layer and the probabilities of the small models, in float64."""
    kernel, bias, last, last_bias = (one.astype(np.float64) for one in weights)
    hidden = np.maximum(x @ kernel + bias, 0)
    return hidden, 1 / (1 + np.exp(-(hidden @ last + last_bias)[:, 0]))


def test_a_sigmoid_is_a_sigmoid_by_whatever_name(folder: Path, run: Run) -> None:
    counts = []
    for model in ("named", "function"):
        file = written(
            folder,
            model,
            "labels",
            "judge: threshold\nmetrics: confidence\nrepetitions: 3\nrecord: injections\n",
        )
        run(file, folder / model)
        done = open_run(folder / model)
        (x, labels), weights = (
            sys.modules["kinds"].labels(),
            sys.modules["kinds"].named().get_weights(),
        )
        hidden, golden_outputs = numpy_outputs(x, weights)
        yes = golden_outputs > 0.5
        assert 20 < yes.sum() < 180
        trials, sites = done.trials(), done.injections()
        assert trials["golden_accuracy"].tolist() == [(yes == labels).mean()] * 3
        for trial in trials.to_dict("records"):
            hit = sites[sites["trial_id"] == trial["trial_id"]].sort_values("sample")
            faulty = hidden.copy()
            faulty[hit["sample"], hit["element"]] *= -1  # bit 31 is the sign
            _, *last = weights[1:]
            scores = 1 / (1 + np.exp(-(faulty @ last[0].astype(float) + last[1])[:, 0]))
            assert trial["sdc"] == ((scores > 0.5) != yes).sum() > 0
            assert trial["accuracy"] == ((scores > 0.5) == labels).mean()
            confidence = np.where(yes, scores, 1 - scores).mean()
            assert trial["metric_confidence"] == pytest.approx(confidence, abs=1e-6)
        counts.append(trials["sdc"].sum())
    assert counts[0] > 0


def test_what_was_decided_is_told_and_stays(
    folder: Path, injecttf2: Command, tmp_path: Path
) -> None:
    file = written(folder, "reshaped", "classes", f"{CONFIDENCE}\nrepetitions: 2")
    out, rest = tmp_path / "run", ("--executor", "inline", "--no-report")
    first = injecttf2("plan", file)
    assert "the model's outputs are probabilities: they are from" in first.out
    expected = injecttf2("plan", file, "--json").json["outputs"]
    assert expected["kind"] == "probabilities"
    assert expected["reason"].endswith("and sum to 1 in each row")
    done = injecttf2("run", file, "--output", out, *rest, "--json")
    assert done.json["outputs"] == expected
    assert f"the model's outputs are probabilities: {expected['reason']}" in done.err
    assert json.loads((out / "campaign.json").read_text())["golden"]["outputs"] == expected
    again = injecttf2("run", file, "--output", out, *rest, "--json")
    assert (again.json["outputs"], again.json["injections"]) == (expected, 0)
    (trial, _) = open_run(out).trials()["trial_id"]
    assert injecttf2("replay", out, trial).code == 0
    said = written(
        folder,
        "reshaped",
        "classes",
        f"judge: {{type: top1, outputs: probabilities}}\n{CONFIDENCE}\nrepetitions: 2",
    )
    again = injecttf2("run", said, "--output", out, *rest, "--json")
    assert again.json["outputs"] == {"kind": "probabilities", "reason": "the campaign says so"}
    assert again.json["injections"] == 0  # the same trials


TAKES = "confidence takes the model's outputs for"


@pytest.mark.parametrize(
    ("model", "said", "message"),
    [
        ("logits", "probabilities", f"{TAKES} probabilities; expected values from 0 to 1"),
        ("softmax", "logits", f"{TAKES} logits, but without any fault they are from"),
    ],
)
def test_a_campaign_that_is_wrong_about_outputs_is_refused(
    model: str,
    said: str,
    message: str,
    folder: Path,
    injecttf2: Command,
    tmp_path: Path,
) -> None:
    lines = f"judge: {{type: top1, outputs: {said}}}\nmetrics: confidence"
    file = written(folder, model, "classes", lines)
    rest = ("--executor", "inline", "--output", tmp_path / "run", "--no-report")
    ended = injecttf2("run", file, *rest)
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err
    written(folder, model, "classes", "metrics: confidence")
    assert injecttf2("run", file, *rest).code == 0  # the directory is free for what is right


def test_both_ways_to_say_it_and_no_third(folder: Path) -> None:
    with pytest.raises(CampaignError) as error:
        planned(folder, "linear", "labels", "judge: {type: threshold, outputs: logit}")
    assert "linear.yaml:3:35: outputs: received 'logit'" in str(error.value)
    with pytest.raises(CampaignError, match="are probabilities, and that they are logits"):
        planned(
            folder, "linear", "labels", "judge: {type: threshold, outputs: logits, logits: false}"
        )
