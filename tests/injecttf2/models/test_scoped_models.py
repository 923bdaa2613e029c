"""Modules, functions and SavedModels: layers are scopes, and faults do what they do in them."""

from __future__ import annotations

import gc
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from injecttf2.engine import Engine
from injecttf2.errors import ModelError
from injecttf2.evaluation import dependence
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.graph.weights import weights_of
from injecttf2.models import loading
from injecttf2.models.digest import model_digest
from injecttf2.models.inputs import model_inputs
from injecttf2.models.portable import FolderModel, as_model
from injecttf2.models.scoped_model import ScopedModel
from tests import networks
from tests.builders import in_short
from tests.keras_2 import KINDS
from tests.splitting import check_outputs, check_weights, dataset, halves
from tests.tensorflow_models import SIGNATURE, Branching, Decorated, Named, Plain, data, signatures

ROOT = Path(__file__).parents[3]


def concrete(module: Plain) -> Any:
    function = tf.function(module.__call__).get_concrete_function(*SIGNATURE)
    function.module = module  # which nothing else holds
    return function


FORMS: dict[str, Callable[[], Any]] = {
    "module": Plain,
    "decorated": Decorated,
    "named": Named,
    "concrete": lambda: concrete(Plain()),
}


def graph_of(returned: Any, inputs: Any = None) -> ModelGraph:
    return ModelGraph.of(as_model(returned, "mine"), inputs)


@pytest.mark.parametrize("form", FORMS)
def test_layers_are_scopes_and_operations_that_are_in_none(form: str) -> None:
    graph = graph_of(FORMS[form](), tuple(data()))
    assert [(one.layer, one.type, one.shape) for one in graph.layers] == [
        ("features", "InputLayer", (4,)),
        ("first", "Tanh", (6,)),
        ("mul", "Mul", (6,)),
        ("second", "Tanh", (3,)),
        ("scaled", "Mul", (3,)),
    ]
    assert {one.reason for one in graph.layers} == {None}
    held = {
        one.layer: [weight.name for weight in weights_of(graph, one.layer)] for one in graph.layers
    }
    assert held == {
        "features": [],
        "first": ["w", "b"],
        "mul": [],
        "second": ["w", "b"],
        "scaled": ["scale"],
    }


@pytest.mark.parametrize("form", FORMS)
def test_faults_do_what_they_do_in_the_module(form: str) -> None:
    returned, inputs = FORMS[form](), data()
    module: Plain = getattr(returned, "module", returned)
    engine = Engine(graph_of(returned, tuple(inputs)), dataset(inputs))
    seen: set[str] = set()

    def scaled(hidden: np.ndarray) -> np.ndarray:
        return np.array(module.second(tf.constant(hidden) * 1.5) * module.scale)

    seen |= check_outputs(engine, "first", (lambda: module.first(inputs[0]).numpy(), scaled))
    ends = lambda values: np.array(tf.constant(values) * module.scale)  # noqa: E731
    made = lambda: module.second(module.first(inputs[0]) * 1.5).numpy()  # noqa: E731
    seen |= check_outputs(engine, "second", (made, ends))

    def whole() -> np.ndarray:
        return np.array(Plain.__call__(module, inputs[0]))

    first = {"w": module.first.w, "b": module.first.b}
    seen |= check_weights(engine, "first", first, whole)
    seen |= check_weights(engine, "scaled", {"scale": module.scale}, whole)
    assert {"sdc", "benign"} <= seen


def test_a_model_lives_as_long_as_it_is_asked_for() -> None:
    model = as_model(tf_module_of_nobody(), "mine")
    gc.collect()
    assert len(ModelGraph.of(model, tuple(data())).layers) == 5


def tf_module_of_nobody() -> tf.Module:
    class Mine(Plain):
        @tf.function
        def __call__(self, features: Any) -> Any:
            return super().__call__(features)

    return Mine()


def test_loops_stay_single_operations() -> None:
    graph = graph_of(Branching())
    assert [(one.layer, one.type) for one in graph.layers] == [
        ("features", "InputLayer"),
        ("dense", "Tanh"),
        ("looping", "StatelessWhile"),
    ]


def refusal(returned: Any, inputs: Any = None) -> str:
    with pytest.raises(ModelError) as caught:
        graph_of(returned, inputs)
    return str(caught.value)


def test_it_is_said_what_is_needed_where_it_is_unclear_what_is_called_with_what() -> None:
    assert "it is not known which shape the model 'mine' takes for features" in refusal(Plain())
    assert (
        "has no __call__, and of functions with an input signature none; expected one"
        in refusal(tf.Module(name="empty"))
    )

    class Two(Named):
        @tf.function(input_signature=SIGNATURE)
        def again(self, features: Any) -> Any:
            return features

    assert "several functions that say what they take: again, predict" in refusal(Two())

    class Anything(tf.Module):
        def __call__(self, *given: Any) -> Any:
            return given[0]

    assert "takes: its call has the parameters (given)" in refusal(Anything())
    single = tf.function(lambda x: x * 2.0).get_concrete_function(tf.TensorSpec(()))
    assert "is a single value; expected tensors whose first axis is the sample" in refusal(single)


def test_what_is_no_variable_is_told() -> None:
    rows = tf.lookup.KeyValueTensorInitializer(tf.constant([1, 2]), tf.constant([3, 4]))
    table = tf.lookup.StaticHashTable(rows, 0)
    function = tf.function(table.lookup).get_concrete_function(tf.TensorSpec((None, 2), tf.int32))
    assert "holds a resource that is no variable, such as a table" in refusal(function)


def test_a_function_that_hands_on_what_it_is_given_has_an_input_alone() -> None:
    graph = graph_of(tf.function(lambda x: x).get_concrete_function(*SIGNATURE))
    assert [info.type for info in graph.layers] == ["InputLayer"]


def test_variables_that_nothing_holds_are_told() -> None:
    function = tf.function(Plain().__call__).get_concrete_function(*SIGNATURE)
    gc.collect()
    assert "the variables of the concrete function no longer exist" in refusal(function)


def test_text_is_no_input() -> None:
    function = tf.function(tf.strings.length).get_concrete_function(
        tf.TensorSpec((None, 2), tf.string, name="words")
    )
    with pytest.raises(ModelError, match="the input 'words' takes string values; expected numbers"):
        model_inputs(as_model(function, "mine"))


def test_state_and_chance_are_told_of_as_of_other_models() -> None:
    class Counting(Plain):
        def __call__(self, features: Any) -> Any:
            self.scale.assign_add(tf.ones(3))
            return super().__call__(features)

    class Drawing(Plain):
        def __call__(self, features: Any) -> Any:
            with tf.name_scope("noise"):
                features = features + tf.random.normal(tf.shape(features))
            return super().__call__(features)

    inputs = data()
    for kind in (Counting, Drawing):
        graph = graph_of(kind(), tuple(inputs))
        with pytest.raises(ModelError, match="gives out other values the second time"):
            dependence.check(graph, dataset(inputs))


def digest(returned: Any) -> str:
    return model_digest(as_model(returned, "mine"), graph_of(returned, tuple(data())))


@pytest.mark.parametrize("form", FORMS)
def test_digests_tell_weights_operations_and_constants_apart(form: str) -> None:
    first = digest(FORMS[form]())
    assert digest(FORMS[form]()) == first
    changed = FORMS[form]()
    module: Plain = getattr(changed, "module", changed)
    module.first.b.assign_add([0, 0, 0, 0, 0, 1e-6])
    assert digest(changed) != first


def test_digests_tell_constants_and_operations_apart() -> None:
    class Other(Plain):
        def __call__(self, features: Any) -> Any:
            return tf.nn.relu(super().__call__(features))

    digests = {digest(Plain()), digest(Plain(factor=1.25)), digest(Other()), digest(Plain(seed=4))}
    assert len(digests) == 4


PROGRAM = """
import sys
from injecttf2.models import loading
from injecttf2.models.digest import model_digest
for _ in range(2):
    print(model_digest(loading.resolve(sys.argv[1])[1]))
"""


def exported_by_keras_2(folder: Path) -> Any:
    tf_keras.backend.clear_session()
    model = KINDS["convolutions"].model()
    model.save(folder, save_format="tf")
    return model


def exported_by_keras_3(folder: Path) -> Any:
    keras.utils.clear_session(free_memory=False)
    model = networks.cnn()
    model.export(folder, verbose=False)
    return model


def exported_by_tensorflow(folder: Path) -> Any:
    module = Decorated()
    tf.saved_model.save(module, str(folder))
    return module


EXPORTS = {
    "Keras 2": exported_by_keras_2,
    "Keras 3": exported_by_keras_3,
    "TensorFlow": exported_by_tensorflow,
}


@pytest.mark.parametrize("maker", in_short("Keras 2", of=EXPORTS))
def test_a_saved_model_has_the_same_digest_in_other_processes(maker: str, tmp_path: Path) -> None:
    EXPORTS[maker](tmp_path / "model")
    portable, model = loading.resolve(str(tmp_path / "model"))
    assert isinstance(portable, FolderModel)
    expected = model_digest(model)
    shutil.move(tmp_path / "model", tmp_path / "moved")
    sent = pickle.loads(pickle.dumps(portable)).build()  # noqa: S301 - our own
    assert model_digest(sent) == expected
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "moved")]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ended.stdout.split() == [expected, expected], ended.stderr


def test_a_saved_model_of_keras_2_is_injected_as_keras_2_has_it(tmp_path: Path) -> None:
    original, inputs = exported_by_keras_2(tmp_path / "model"), KINDS["convolutions"].data()
    _, model = loading.resolve(str(tmp_path / "model"))
    assert [one.called for one in model_inputs(model)] == ["image"]
    graph = ModelGraph.of(model, tuple(inputs))
    found = {info.layer: info for info in graph.layers if info.in_all}
    # Dropout computes nothing, so it is not there.
    assert list(found) == [
        *("conv", "norm", "relu", "depthwise", "separable", "flatten", "classes")
    ]
    engine = Engine(graph, dataset(inputs))
    for name in found:
        tensor = original.get_layer(name).output
        check_outputs(engine, name, halves(tf_keras, original, inputs, tensor, original.output))
    for name in ("conv", "norm", "separable", "classes"):
        held = original.get_layer(name).weights
        variables = {one.name.rpartition("/")[2].partition(":")[0]: one for one in held}
        whole = lambda: original(inputs[0], training=False).numpy()  # noqa: E731
        check_weights(engine, name, variables, whole)


def test_a_saved_model_of_keras_3_is_injected_as_keras_3_has_it(tmp_path: Path) -> None:
    original = exported_by_keras_3(tmp_path / "model")
    _, model = loading.resolve(str(tmp_path / "model"))
    inputs = [np.random.default_rng(1).normal(size=(20, 8, 8, 1)).astype(np.float32)]
    graph = ModelGraph.of(model, tuple(inputs))
    names = {info.layer.removesuffix("_1"): info.layer for info in graph.layers if info.in_all}
    assert {"conv", "pool", "logits"} <= {*names}
    engine = Engine(graph, dataset(inputs))
    (end,) = original.outputs
    for name in ("conv", "pool", "logits"):
        tensor = original.get_layer(name).output
        check_outputs(engine, names[name], halves(keras, original, inputs, tensor, end))
    variables = {one.name: one.value for one in original.get_layer("conv").weights}
    whole = lambda: original(inputs[0], training=False).numpy()  # noqa: E731
    check_weights(engine, names["conv"], variables, whole)


EXPORTED = {
    "branches": [
        *("other", "tf.__operators__.getitem", "tf.nn.relu", "tf.math.multiply", "one", "both"),
        *("a", "b"),
    ],
    "shared": ["dense:0", "dense:1", "inner:0", "inner:1", "classes"],
    "recurrent": ["lstm", "both/forward_gru", "both/backward_gru", "both", "classes"],
    "tokens": ["embedding", "flatten", "classes"],
    "mixed": ["conv", "pool", "classes"],
}
"""Calls of a layer that is shared are one scope; one that reads nothing itself is a block."""


@pytest.mark.parametrize("kind", EXPORTED)
def test_saved_models_of_all_kinds_give_out_what_they_gave_out(kind: str, tmp_path: Path) -> None:
    tf_keras.backend.clear_session()
    original, inputs = KINDS[kind].model(), KINDS[kind].data()
    original.save(tmp_path / "model", save_format="tf")
    _, model = loading.resolve(str(tmp_path / "model"))
    names = [one.called for one in model_inputs(model)]
    given = dict(zip(original.input_names, inputs, strict=True))
    output = "b" if kind == "branches" else None
    graph = ModelGraph.of(model, tuple(given[name] for name in names), output=output)
    engine = Engine(graph, dataset([given[name] for name in names]))
    expected = original(inputs if len(inputs) > 1 else inputs[0], training=False)
    expected = expected if output is None else expected[output]
    np.testing.assert_allclose(engine.golden.outputs, expected, rtol=1e-3, atol=1e-6)
    known = [info.layer for info in graph.layers if info.reason is None and info.in_all]
    assert sorted(known) == sorted(EXPORTED[kind])  # branches have no order


def test_the_rows_of_an_embedding_are_weights(tmp_path: Path) -> None:
    tf_keras.backend.clear_session()
    original, inputs = KINDS["tokens"].model(), KINDS["tokens"].data()
    original.save(tmp_path / "model", save_format="tf")
    _, model = loading.resolve(str(tmp_path / "model"))
    engine = Engine(ModelGraph.of(model, tuple(inputs)), dataset(inputs))
    variables = {"embeddings": original.get_layer("embedding").weights[0]}
    whole = lambda: original(inputs[0], training=False).numpy()  # noqa: E731
    check_weights(engine, "embedding", variables, whole)


def test_a_signature_is_named(tmp_path: Path) -> None:
    module = Decorated()
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=signatures(module))
    _, hidden = loading.resolve(str(tmp_path / "model"), signature="hidden")
    assert ModelGraph.of(hidden).output_shape == (6,)
    with pytest.raises(ModelError) as caught:
        loading.resolve(str(tmp_path / "model"))
    assert "it has no signature 'serving_default'; it has hidden, scores" in str(caught.value)
    with pytest.raises(ModelError, match="did you mean 'scores'"):
        loading.resolve(str(tmp_path / "model"), signature="score")


@pytest.mark.parametrize("reference", ["model.keras", "builtin:digits_cnn", "os:getcwd"])
def test_a_signature_is_for_folders_only(reference: str) -> None:
    with pytest.raises(ModelError, match="only a SavedModel folder has any"):
        loading.resolve(reference, signature="scores")


def test_python_in_a_saved_model_is_refused_before_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Calling(tf.Module):
        @tf.function(input_signature=SIGNATURE)
        def __call__(self, features: Any) -> Any:
            return tf.ensure_shape(tf.numpy_function(np.sin, [features], tf.float32), (None, 4))

    tf.saved_model.save(Calling(), str(tmp_path / "model"))
    monkeypatch.setattr(tf.saved_model, "load", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(ModelError) as caught:
        loading.resolve(str(tmp_path / "model"))
    assert "it calls functions of the program that made it (PyFunc), which are not in it" in str(
        caught.value
    )


def changed(folder: Path, old: bytes, new: bytes) -> str:
    tf.saved_model.save(Decorated(), str(folder))
    graph = folder / "saved_model.pb"
    assert old in graph.read_bytes()
    graph.write_bytes(graph.read_bytes().replace(old, new))
    with pytest.raises(ModelError) as caught:
        loading.resolve(str(folder))
    return str(caught.value)


def test_operations_that_are_not_known_and_those_that_write_are_refused(tmp_path: Path) -> None:
    message = changed(tmp_path / "custom", b"\x12\x04Tanh", b"\x12\x04Tink")
    assert "does not have: Tink" in message
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "saved_model.pb").write_bytes(b"\xff\xff\xff")
    with pytest.raises(ModelError, match=r"its saved_model\.pb is no SavedModel, or damaged"):
        loading.resolve(str(tmp_path / "broken"))


def test_a_saved_model_whose_variables_are_missing_is_told(tmp_path: Path) -> None:
    exported_by_tensorflow(tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "variables")
    with pytest.raises(ModelError, match="TensorFlow cannot load it: "):
        loading.resolve(str(tmp_path / "model"))


def test_functions_that_xla_compiles_are_put_in_their_places() -> None:
    class Compiled(Plain):
        @tf.function(input_signature=SIGNATURE)
        def __call__(self, features: Any) -> Any:
            return tf.function(super().__call__, jit_compile=True)(features)

    graph = graph_of(Compiled())
    assert [one.layer for one in graph.layers if one.in_all] == ["first", "mul", "second", "scaled"]


def test_a_function_for_one_sample_at_a_time_is_run_so() -> None:
    module, inputs = Plain(), data()
    one = tf.TensorSpec((1, 4), tf.float32)
    function = tf.function(module.__call__).get_concrete_function(one)
    graph = graph_of(function, tuple(inputs))
    assert graph.batch == 1
    dependence.check(graph, dataset(inputs))
    engine = Engine(graph, dataset(inputs))

    def scaled(hidden: np.ndarray) -> np.ndarray:
        return np.array(module.second(tf.constant(hidden) * 1.5) * module.scale)

    check_outputs(engine, "first", (lambda: module.first(inputs[0]).numpy(), scaled))


def pixels(factor: float) -> Any:
    class Seeing(tf.Module):
        def __init__(self) -> None:
            super().__init__(name="seeing")
            self.kernel = tf.Variable(np.ones((3, 3, 1, 2), np.float32), name="kernel")

        @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 1))])
        def __call__(self, image: Any) -> Any:
            return tf.reduce_mean(tf.nn.conv2d(image * factor, self.kernel, 1, "SAME"), (1, 2))

    return Seeing()


@pytest.mark.parametrize(("factor", "scales"), [(1.0, False), (1 / 255, True)])
def test_what_a_model_does_to_pixels_is_seen(factor: float, scales: bool) -> None:
    (found,) = model_inputs(as_model(pixels(factor), "mine"))
    assert found.begins((8, 8, 1)).rescales is scales


def test_an_input_that_any_shape_fits_takes_that_of_the_data() -> None:
    model = as_model(Plain(), "mine")
    assert isinstance(model, ScopedModel)
    (found,) = model_inputs(model, data()[0])
    assert (found.name, found.shape, found.dtype) == ("features", (4,), np.float32)
