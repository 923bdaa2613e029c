"""A model as an ordered list of steps, and its cuts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from injecttf2.errors import ModelError
from injecttf2.graph import Graph, LayerInfo
from tests import networks

MODELS = {
    "cnn": (networks.cnn, (8, 8, 1), 5),
    "residual": (networks.residual, (8, 8, 3), 6),
    "branches": (networks.branches, (12,), 4),
}

IN_A_LOOP = "it runs inside a loop or function of TensorFlow's, where one call stands for many"

RESIDUAL_LAYERS = [
    "image",
    "stem",
    *[f"block1_{name}" for name in ("conv1", "bn", "relu", "conv2", "add")],
    *[f"block2_{name}" for name in ("conv1", "bn", "relu", "conv2", "add")],
    "pool",
    "logits",
]


def names(graph: Graph, keys: tuple[int, ...]) -> list[str]:
    """The layers that give out the tensors of a frontier."""
    makers = {key: step.layer for step in graph.steps for key in step.outputs}
    return [makers[key] for key in keys]


def suffix_of(graph: Graph, layer: str) -> list[str]:
    return [step.layer for step in graph.cut(layer).suffix]


def frontier_of(graph: Graph, layer: str) -> list[str]:
    return names(graph, graph.cut(layer).frontier)


def run(graph: Graph, steps: Any, values: dict[int, Any]) -> bytes:
    outputs: Any = graph.run(steps, values)[id(graph.output)]
    return bytes(outputs.numpy().tobytes())


@pytest.mark.parametrize("name", MODELS)
def test_prefix_then_suffix_equals_the_whole_model_bit_for_bit_at_every_cut(name: str) -> None:
    build, shape, classes = MODELS[name]
    model = build()
    graph = Graph(model)
    inputs = tf.constant(networks.data(shape, classes, samples=5)[0])
    expected = model(inputs, training=False).numpy().tobytes()
    assert run(graph, graph.steps, {id(graph.input): inputs}) == expected
    for info in graph.layers:
        cut = graph.cut(info.layer)
        made = graph.run(cut.prefix, {id(graph.input): inputs})
        frontier = {key: made[key] for key in cut.frontier}
        assert run(graph, cut.suffix, frontier) == expected, info.layer
        # Nothing in a cut is idle.
        read = {key for step in cut.suffix for key in step.inputs}
        assert set(cut.frontier[1:]) <= read
        assert {*cut.frontier} & {key for step in cut.suffix for key in step.outputs} == set()


def test_steps_come_in_the_order_of_execution_inputs_first() -> None:
    graph = Graph(networks.residual())
    assert [step.layer for step in graph.steps] == RESIDUAL_LAYERS
    assert [step.index for step in graph.steps] == list(range(14))
    seen: set[int] = set()
    for step in graph.steps:
        assert set(step.inputs) <= seen
        seen.update(step.outputs)


def test_a_skip_connection_that_by_passes_the_cut_is_in_the_frontier() -> None:
    graph = Graph(networks.residual())
    frontiers = {layer: frontier_of(graph, layer) for layer in RESIDUAL_LAYERS}
    assert frontiers == {
        "image": ["image"],
        "stem": ["stem"],
        "block1_conv1": ["block1_conv1", "stem"],
        "block1_bn": ["block1_bn", "stem"],
        "block1_relu": ["block1_relu", "stem"],
        "block1_conv2": ["block1_conv2", "stem"],
        "block1_add": ["block1_add"],
        "block2_conv1": ["block2_conv1", "block1_add"],
        "block2_bn": ["block2_bn", "block1_add"],
        "block2_relu": ["block2_relu", "block1_add"],
        "block2_conv2": ["block2_conv2", "block1_add"],
        "block2_add": ["block2_add"],
        "pool": ["pool"],
        "logits": ["logits"],
    }
    for position, layer in enumerate(RESIDUAL_LAYERS):
        assert suffix_of(graph, layer) == RESIDUAL_LAYERS[position + 1 :]


def test_a_branch_beside_the_cut_is_in_the_frontier_where_it_joins() -> None:
    graph = Graph(networks.branches())
    assert frontier_of(graph, "left") == ["left", "shared#2"]
    assert suffix_of(graph, "left") == ["shared", "sin", "join", "classes"]
    assert frontier_of(graph, "right2") == ["right2", "shared", "sin"]
    assert suffix_of(graph, "right2") == ["shared#2", "join", "classes"]
    assert frontier_of(graph, "sin") == ["sin", "shared", "shared#2"]
    assert suffix_of(graph, "sin") == ["join", "classes"]
    prefix = [step.layer for step in graph.cut("right2").prefix]
    assert sorted(prefix) == ["features", "left", "right1", "right2", "shared", "sin"]


def test_the_cut_at_the_last_layer_has_no_suffix() -> None:
    graph = Graph(networks.cnn())
    cut = graph.cut("softmax")
    assert cut.suffix == ()
    assert cut.frontier == (id(graph.output),)
    assert cut.prefix == graph.steps


def test_each_call_of_a_shared_layer_has_an_address() -> None:
    graph = Graph(networks.branches())
    assert sorted(step.layer for step in graph.steps) == [
        "classes",
        "features",
        "join",
        "left",
        "right1",
        "right2",
        "shared",
        "shared#2",
        "sin",
    ]
    first, second = graph.step("shared"), graph.step("shared#2")
    assert first.operation is second.operation
    assert first.outputs != second.outputs
    assert suffix_of(graph, "shared") == suffix_of(graph, "shared#2") == ["join", "classes"]
    assert frontier_of(graph, "shared#2") == ["shared#2", "shared", "sin"]


def test_a_layer_is_described_for_a_user_who_writes_a_grid() -> None:
    graph = Graph(networks.branches())
    described = {info.layer: info for info in graph.layers}
    assert described["features"] == LayerInfo(
        layer="features",
        index=0,
        type="InputLayer",
        shape=(12,),
        dtype="float32",
        parameters=0,
        is_input=True,
        in_all=False,
    )
    assert described["shared#2"] == LayerInfo(
        layer="shared#2",
        index=graph.step("shared#2").index,
        type="Dense",
        shape=(8,),
        dtype="float32",
        parameters=104,
        is_input=False,
    )
    assert described["sin"].type == "Sin"
    assert [info.index for info in graph.layers] == list(range(9))
    assert {info.reason for info in graph.layers} == {None}


def test_a_normalisation_counts_its_statistics_as_parameters() -> None:
    (info,) = (one for one in Graph(networks.residual()).layers if one.layer == "block1_bn")
    assert (info.parameters, info.shape, info.elements) == (16, (8, 8, 4), 256)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_sequential_from_disk_is_walked_like_the_original(suffix: str, tmp_path: Path) -> None:
    model = networks.cnn()
    inputs = tf.constant(networks.data((8, 8, 1), 5, samples=3)[0])
    expected = model(inputs, training=False).numpy().tobytes()
    original = [step.layer for step in Graph(model).steps]
    model.save(tmp_path / f"model{suffix}")
    loaded = keras.models.load_model(tmp_path / f"model{suffix}", compile=False)
    loaded.build((None, 8, 8, 1))  # another build leaves stale nodes in the layers
    graph = Graph(loaded)
    assert [step.layer for step in graph.steps] == original
    for layer in original:
        cut = graph.cut(layer)
        frontier = graph.run(cut.prefix, {id(graph.input): inputs})
        assert run(graph, cut.suffix, {key: frontier[key] for key in cut.frontier}) == expected


def test_a_sequential_inside_a_model_is_walked() -> None:
    keras.utils.clear_session(free_memory=False)
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="dense"), layers.Dropout(0.5)], name="inner"
    )
    inputs = keras.Input((4,), name="features")
    model = keras.Model(inputs, layers.Dense(2, name="classes")(inner(inputs)))
    graph = Graph(model)
    layers_in_order = ["features", "inner/dense", "inner/dropout", "classes"]
    assert [step.layer for step in graph.steps] == layers_in_order
    assert [info.parameters for info in graph.layers] == [0, 15, 0, 8]
    assert graph.step("classes").inputs == graph.step("inner/dropout").outputs
    data = tf.constant(networks.data((4,), 2, samples=3)[0])
    expected = model(data, training=False).numpy().tobytes()
    assert run(graph, graph.steps, {id(graph.input): data}) == expected


def test_operations_of_keras_ops_are_addressed_by_their_names() -> None:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((4,), name="features")
    halves = keras.ops.relu(inputs * 2.0)[:, :2] + 1.0
    graph = Graph(keras.Model(inputs, layers.Dense(2, name="classes")(halves)))
    assert [(info.layer, info.type) for info in graph.layers] == [
        ("features", "InputLayer"),
        ("multiply", "Multiply"),
        ("relu", "Relu"),
        ("get_item", "GetItem"),
        ("add", "Add"),
        ("classes", "Dense"),
    ]
    assert suffix_of(graph, "relu") == ["get_item", "add", "classes"]
    values = {graph.cut("relu").frontier[0]: tf.constant([[1.0, 2.0, 3.0, 4.0]])}
    computed = graph.run(graph.cut("relu").suffix, values)
    assert computed[graph.step("add").outputs[0]].numpy().tolist() == [[2.0, 3.0]]


def test_the_product_of_a_dense_tensor_and_a_constant_can_be_injected() -> None:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((4,), name="features")
    graph = Graph(keras.Model(inputs, layers.Dense(2)(inputs * 2.0 * 0.5) * 3.0))
    assert [info.reason for info in graph.layers] == [None] * 5


def test_sparse_tensors_cannot_be_injected() -> None:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((4,), sparse=True, name="features")
    graph = Graph(keras.Model(inputs, layers.Dense(2, name="classes")(inputs * 2.0)))
    reason = "its output is sparse or ragged"
    assert [info.reason for info in graph.layers] == [reason, reason, None]


def test_a_layer_that_cannot_be_injected_says_why() -> None:
    keras.utils.clear_session(free_memory=False)
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    embedded = layers.Embedding(10, 4, name="embedding")(tokens)
    whole, last, _ = layers.LSTM(3, return_sequences=True, return_state=True, name="lstm")(embedded)
    total = keras.ops.sum(whole, axis=(0, 1), keepdims=True)
    flat = layers.Dense(2, name="classes")(last + total[0])
    described = {info.layer: info.reason for info in Graph(keras.Model(tokens, flat)).layers}
    assert described == {
        "tokens": "its values are used as indices, and what one out of range does depends on the "
        "device",
        "embedding": None,
        "lstm/lstm_cell": IN_A_LOOP,
        "lstm:0": None,
        "lstm:1": "a tensor that by-passes it is not one row a sample",
        "lstm:2": None,
        "sum": "its output (1, 1, 3) is not one value or array a sample",
        "get_item": "its output (1, 3) is not one value or array a sample",
        "add": None,
        "classes": None,
    }


NOT_THE_SAMPLE = "its first axis is not the sample"


def reasons(model: keras.Model, *shape: int) -> dict[str, str | None]:
    return {info.layer: info.reason for info in Graph(model, shape or None).layers}


def windows(size: int | None) -> keras.Model:
    """A model that looks at windows of two rows, as a vision transformer does."""
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((size, 4), name="image")
    x = layers.Dense(4, name="before")(inputs)
    parts = keras.ops.reshape(x, (-1, 2, 4))
    parts = layers.Dense(4, name="inside")(parts)
    joined = keras.ops.reshape(parts, (-1, 8, 4))
    x = layers.Add(name="after")([joined, x])
    return keras.Model(inputs, layers.GlobalMaxPooling1D(name="pool")(x))


def test_layers_between_two_changes_of_the_first_axis_cannot_be_injected() -> None:
    assert reasons(windows(8)) == {
        "image": None,
        "before": None,
        "reshape": NOT_THE_SAMPLE,
        "inside": NOT_THE_SAMPLE,
        "reshape_1": None,
        "after": None,
        "pool": None,
    }


def test_open_sizes_are_traced_for_the_first_axis_when_they_are_known() -> None:
    assert set(reasons(windows(None)).values()) == {None}
    assert reasons(windows(None), 8, 4) == reasons(windows(8))


def test_a_layer_that_a_tensor_without_samples_by_passes_cannot_be_injected() -> None:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((8, 4), name="image")
    parts = keras.ops.reshape(inputs, (-1, 2, 4))
    left = layers.Dense(4, name="left")(inputs)
    halves = keras.ops.reshape(keras.ops.reshape(left, (-1, 2, 4)) + parts, (-1, 8, 4))
    found = reasons(keras.Model(inputs, layers.Flatten(name="flatten")(halves)))
    assert found["left"] == "a tensor that by-passes it is not one row a sample"
    assert (found["image"], found["flatten"]) == (None, None)


def test_a_layer_of_the_users_own_is_traced_for_the_first_axis() -> None:
    class Parts(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return keras.ops.reshape(inputs, (-1, 2))

    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((4,), name="features")
    outputs = keras.ops.reshape(Parts(name="parts")(inputs), (-1, 4))
    assert reasons(keras.Model(inputs, outputs))["parts"] == NOT_THE_SAMPLE


def test_recurrent_layers_beside_operations_keep_their_samples() -> None:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((5, 4), name="series")
    x = layers.LSTM(3, return_sequences=True, name="lstm")(inputs * 2.0)
    x = layers.Bidirectional(layers.GRU(3), name="gru")(x)
    assert reasons(keras.Model(inputs, x)) == {
        "series": None,
        "multiply": None,
        "lstm/lstm_cell": IN_A_LOOP,
        "lstm": None,
        "gru/forward_gru/gru_cell": IN_A_LOOP,
        "gru/forward_gru": None,
        "gru/backward_gru/gru_cell": IN_A_LOOP,
        "gru/backward_gru": None,
        "gru": None,
    }


def test_a_model_that_takes_an_even_number_of_samples_only_is_refused() -> None:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((3,), name="features")
    graph = Graph(keras.Model(inputs, keras.ops.reshape(inputs, (-1, 2))))
    with pytest.raises(ModelError, match=r"cannot be run on 13 samples, inputs of shape \(13, 3\)"):
        _ = graph.layers


def test_a_layer_that_is_named_like_a_second_call_keeps_its_address() -> None:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((4,), name="features")
    shared = layers.Dense(4, name="x")
    x = shared(shared(shared(inputs)))
    graph = Graph(keras.Model(inputs, layers.Dense(4, name="x#2")(x)))
    assert [step.layer for step in graph.steps] == ["features", "x", "x#3", "x#4", "x#2"]
    assert graph.step("x#2").operation.name == "x#2"


def test_sizes_that_depend_on_the_data_are_traced_with_its_shape() -> None:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((None, None, 1), name="image")
    x = layers.Conv2D(3, 3, name="conv")(inputs)
    model = keras.Model(inputs, layers.GlobalMaxPooling2D(name="pool")(x))
    unknown = Graph(model)
    assert [(info.shape, info.elements) for info in unknown.layers] == [
        ((None, None, 1), None),
        ((None, None, 3), None),
        ((3,), 3),
    ]
    with pytest.raises(ModelError, match=r"inputs of any size, \(None, None, 1\); the size must"):
        unknown.row_bytes(id(unknown.input))
    known = Graph(model, (9, 7, 1))
    assert [info.shape for info in known.layers] == [(9, 7, 1), (7, 5, 3), (3,)]
    assert known.row_bytes(known.step("conv").outputs[0]) == 7 * 5 * 3 * 4


@pytest.mark.parametrize(
    ("dtype", "size"), [("float16", 2), ("bfloat16", 2), ("float32", 4), ("float64", 8)]
)
def test_a_rows_bytes_follow_the_layers_dtype(dtype: str, size: int) -> None:
    graph = Graph(networks.cnn(dtype))
    assert graph.row_bytes(graph.step("conv").outputs[0]) == 8 * 8 * 4 * size
    assert {info.dtype for info in graph.layers} == {dtype}


def error_of(model: keras.Model) -> str:
    with pytest.raises(ModelError) as caught:
        Graph(model)
    return str(caught.value)


def test_a_sequential_without_an_input_is_refused() -> None:
    assert error_of(keras.Sequential([layers.Dense(2)], name="open")) == (
        "the model 'open' (Sequential) has not been built, so it cannot be walked\n"
        "  give it an Input, e.g. keras.Sequential([keras.Input(shape), ...])"
    )


def test_a_sequential_that_was_built_later_is_walked() -> None:
    keras.utils.clear_session(free_memory=False)
    model = keras.Sequential([layers.Dense(2, name="classes")])
    model.build((None, 3))
    assert [step.layer for step in Graph(model).steps][1:] == ["classes"]


def test_a_subclassed_model_that_was_never_called_is_refused() -> None:
    class Custom(keras.Model):
        def call(self, inputs: Any) -> Any:
            return inputs

    assert error_of(Custom(name="custom")) == (
        "the model 'custom' (Custom) is subclassed and has not been called, "
        "so it is not known what it takes\n"
        "  call it once on an array of the right shape, or give a data set"
    )


def test_a_subclassed_model_that_cannot_be_called_on_the_data_says_so() -> None:
    class Custom(keras.Model):
        def call(self, inputs: Any) -> Any:
            return keras.ops.matmul(inputs, np.ones((5, 2), np.float32))

    with pytest.raises(ModelError) as caught:
        Graph(Custom(name="custom"), (4,), dtypes=["float32"])
    message = str(caught.value)
    assert message.startswith(
        "the model 'custom' (Custom) cannot be called on inputs of (4,) float32: "
    )


def test_a_model_is_given_one_array_for_each_input() -> None:
    left, right = keras.Input((2,), name="left"), keras.Input((2,), name="right")
    two = keras.Model([left, right], layers.Add()([left, right]), name="two")
    assert [tensor.name for tensor in Graph(two).inputs] == ["left", "right"]
    with pytest.raises(ModelError) as caught:
        Graph(two, (2,))
    assert str(caught.value) == (
        "the model 'two' has 2 inputs, left, right; received 1\n"
        "  the data set gives one array for each input, in that order"
    )
    with pytest.raises(ModelError, match="the model 'two' has 2 inputs; expected one"):
        _ = Graph(two).input


def test_of_several_outputs_one_is_chosen_by_its_layer() -> None:
    inputs = keras.Input((2,))
    a, b = layers.Dense(1, name="box")(inputs), layers.Dense(3, name="classes")(inputs)
    model = keras.Model(inputs, [a, b], name="two")
    graph = Graph(model)
    assert [one.called for one in graph.output_slots] == ["box", "classes"]
    with pytest.raises(ModelError) as caught:
        _ = graph.output
    assert str(caught.value) == (
        "the model 'two' has 2 outputs, box, classes, and it is not said which of them is judged\n"
        "  say it, for example judge: {type: top1, output: box}"
    )
    assert Graph(model, output="classes").output.shape == (None, 3)
    with pytest.raises(ModelError, match=r"no output 'class'; did you mean 'classes'\?"):
        Graph(model, output="class")


def test_an_unknown_layer_names_the_nearest() -> None:
    graph = Graph(networks.cnn())
    with pytest.raises(ModelError) as caught:
        graph.step("conv2")
    assert str(caught.value) == (
        "the model has no layer 'conv2'; did you mean 'conv'?\n"
        "  `injecttf2 layers MODEL` lists what can be injected"
    )
    with pytest.raises(ModelError, match=r"^the model has no layer 'zzz'\n"):
        graph.cut("zzz")
    with pytest.raises(ModelError, match=r"did you mean 'shared' or 'shared#2'\?"):
        Graph(networks.branches()).step("share")


def test_a_layer_that_is_called_in_training_mode_is_run_in_inference_mode() -> None:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dropout(0.9, name="dropout")(inputs, training=True))
    graph = Graph(model)
    ones = tf.ones((2, 4))
    computed = graph.run(graph.steps, {id(graph.input): ones})
    assert np.array_equal(computed[id(graph.output)], ones)
