"""Models that take and give dicts: data, labels and the judged output by the keys of `predict`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from injecttf2 import datasets
from injecttf2.datasets import Dataset, Preparation, Raw
from injecttf2.engine import Engine
from injecttf2.errors import DatasetError, ModelError
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.models.inputs import model_inputs

FIRST, SECOND = np.random.default_rng(4).normal(size=(2, 40, 5)).astype(np.float32)
BY_KEY = {"before": FIRST, "after": SECOND}
LABELS = np.zeros(40, np.int64)


def keras_model(inputs: Any, outputs: Any) -> keras.Model:
    with warnings.catch_warnings():  # Keras warns of keys that are not the names of the layers
        warnings.simplefilter("ignore")
        return keras.Model(inputs, outputs)


def keyed(first: str = "one", second: str = "two") -> keras.Model:
    """A model in which it matters which input is which, its keys in no alphabetical order."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    a, b = keras.Input((5,), name=first), keras.Input((5,), name=second)
    both = layers.Concatenate()([a, layers.Dense(5)(b)])
    head = layers.Dense(3, "softmax", name="head")(both)
    return keras_model({"before": a, "after": b}, {"species": head, "size": layers.Dense(1)(both)})


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.second = layers.Dense(5)
        self.head = layers.Dense(3, "softmax")

    def call(self, inputs: Any) -> Any:
        both = keras.ops.concatenate([inputs["before"], self.second(inputs["after"])], axis=-1)
        return {"species": self.head(both)}


def subclassed() -> keras.Model:
    keras.utils.set_random_seed(1)
    model = Subclassed()
    model({name: array[:1] for name, array in BY_KEY.items()})
    return model


def prepare(model: keras.Model, inputs: Any, labels: Any = LABELS) -> Dataset:
    taken = model_inputs(model, inputs)
    return datasets.prepare(Raw(inputs, labels), Preparation(), taken, labels=lambda one: one)


def refusal(model: keras.Model, inputs: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        prepare(model, inputs)
    return str(caught.value)


def outputs(model: keras.Model, inputs: Any, output: str) -> Any:
    """What the engine's golden run gives out."""
    dataset = Dataset(prepare(model, inputs).inputs, LABELS)
    return Engine(model, dataset, output=output).golden.outputs


@pytest.mark.parametrize("build", [keyed, subclassed])
@pytest.mark.parametrize("output", ["species", "head"])
def test_the_golden_run_is_what_predict_gives(build: Any, output: str) -> None:
    model = build()
    expected = model.predict(BY_KEY, verbose=0)["species"]
    if build is subclassed:
        output = "species"  # the model is its only layer
    for order in (BY_KEY, dict(reversed(BY_KEY.items()))):
        np.testing.assert_allclose(outputs(model, order, output), expected, rtol=0, atol=1e-6)


def test_the_names_of_the_input_layers_keep_working() -> None:
    model = keyed()
    by_name = {"one": FIRST, "two": SECOND}
    assert prepare(model, by_name).digest == prepare(model, BY_KEY).digest
    mixed = {"before": FIRST, "two": SECOND}
    assert prepare(model, mixed).digest == prepare(model, BY_KEY).digest


def test_a_key_comes_before_the_name_of_another_layer() -> None:
    model = keyed(first="after", second="before")
    expected = model.predict(BY_KEY, verbose=0)["species"]
    assert np.allclose(outputs(model, BY_KEY, "species"), expected, rtol=0, atol=1e-6)


def test_the_name_of_a_layer_that_is_the_key_of_another_input_is_no_name() -> None:
    model = keyed(first="after", second="two")
    assert refusal(model, {"after": FIRST, "two": SECOND}) == (
        "the model takes 2 inputs, after, before; the data have no 'before'\n"
        "  received the inputs after, two"
    )


@pytest.mark.parametrize("build", [keyed, subclassed])
def test_a_tuple_is_refused_where_keras_sorts_the_keys(build: Any) -> None:
    assert refusal(build(), (FIRST, SECOND)) == (
        "the model takes 2 inputs, after, before, by key; the data have 2 in an order\n"
        "  give a dict of arrays by these keys, as `predict` takes it: Keras sorts the keys of the "
        "dict that the model was made from, so a tuple does not tell which is which"
    )


def test_a_tuple_follows_the_order_of_sorted_keys() -> None:
    keras.utils.clear_session(free_memory=False)
    a, b = keras.Input((5,), name="a"), keras.Input((5,), name="b")
    model = keras.Model({"a": a, "b": b}, layers.Subtract()([a, b]))
    golden = Engine(model, Dataset(prepare(model, (FIRST, SECOND)).inputs, LABELS)).golden.outputs
    assert np.array_equal(golden, FIRST - SECOND)


def nested() -> keras.Model:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    a, b, c = (keras.Input((5,), name=name) for name in "abc")
    both = layers.Concatenate()([a, b, c])
    left, right = layers.Dense(3, name="left")(both), layers.Dense(2, name="right")(both)
    return keras_model({"pair": [a, b], "more": {"one": c}}, [{"left": left}, right])


def test_what_is_nested_is_taken_by_its_path() -> None:
    model, third = nested(), FIRST * SECOND
    assert [(one.name, one.key) for one in model_inputs(model)] == [
        ("c", "more/one"),
        ("a", "pair/0"),
        ("b", "pair/1"),
    ]
    left, right = model.predict({"pair": [FIRST, SECOND], "more": {"one": third}}, verbose=0)
    given = datasets.as_arrays({"pair": (FIRST, SECOND), "more": {"one": third}})
    for output in ("0/left", "left"):
        assert np.allclose(outputs(model, given, output), left["left"], rtol=0, atol=1e-5)
    for output in ("1", "right"):
        assert np.allclose(outputs(model, given, output), right, rtol=0, atol=1e-5)


def test_nested_tuples_and_dicts_become_one_dict() -> None:
    pair = datasets.as_arrays(((FIRST, SECOND), {"x": LABELS}))
    assert isinstance(pair, dict)
    assert list(pair) == ["0/0", "0/1", "1/x"]
    flat = datasets.as_arrays(((1, 2), (3, 4)))
    assert isinstance(flat, tuple)
    assert [part.tolist() for part in flat] == [[1, 2], [3, 4]]


def test_a_file_holds_inputs_and_labels_by_key(tmp_path: Path) -> None:
    model, path = keyed(), tmp_path / "data.npz"
    np.savez(path, x_before=FIRST, x_after=SECOND, y_species=LABELS)
    raw = datasets.load(str(path), model_inputs(model))
    assert prepare(model, raw.inputs).digest == prepare(model, BY_KEY).digest
    np.savez(path, x_before=FIRST, y=LABELS)
    with pytest.raises(DatasetError, match=r"one, x_after, x_before$"):
        datasets.load(str(path), model_inputs(model))


def test_labels_are_taken_by_key_or_by_the_name_of_a_layer() -> None:
    slots = ModelGraph.of(keyed(), output="species").output_slots
    assert [(one.key, one.called) for one in slots] == [("size", "size"), ("species", "species")]
    for labels in ({"species": LABELS, "size": FIRST}, {"head": LABELS}, LABELS, (LABELS,)):
        assert datasets.labels_of(labels, 1, slots) is LABELS


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            (FIRST, LABELS),
            "there are labels for 2 outputs in an order, but the model gives its outputs by key, "
            "size, species\n  give a dict of arrays by these keys",
        ),
        (
            {"size": FIRST},
            "there are no labels for the output 'species'; did you mean 'size'?\n"
            "  received labels for size",
        ),
        (
            {"specie": LABELS},
            "there are no labels for the output 'species'; did you mean 'specie'?\n"
            "  received labels for specie",
        ),
    ],
)
def test_labels_that_may_be_of_another_output_are_refused(labels: Any, message: str) -> None:
    slots = ModelGraph.of(keyed()).output_slots
    with pytest.raises(DatasetError) as caught:
        datasets.labels_of(labels, 1, slots)
    assert str(caught.value) == message


def test_an_output_is_chosen_by_key_before_the_name_of_a_layer() -> None:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((2,))
    p, q = layers.Dense(3, name="q")(inputs), layers.Dense(4, name="p")(inputs)
    model = keras.Model(inputs, {"p": p, "q": q}, name="crossed")
    assert ModelGraph.of(model, output="p").output.shape == (None, 3)
    assert ModelGraph.of(model, output="q").output.shape == (None, 4)
    with pytest.raises(ModelError) as caught:
        ModelGraph.of(model, output="r")
    assert str(caught.value) == "the model 'crossed' has no output 'r'\n  expected one of p, q"
