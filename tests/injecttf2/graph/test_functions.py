"""Functions cut from a graph, and words that change in them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from injecttf2 import bits
from injecttf2.graph.functions import change_words, read_value, segment_of
from injecttf2.graph.model_graph import ModelGraph


@pytest.mark.parametrize("dtype", sorted(bits.DTYPES))
def test_words_change_as_they_are_told_to_in_every_dtype(dtype: str) -> None:
    word = bits.layout(dtype).word
    highest = 8 * word.itemsize - 1
    words = np.random.default_rng(1).integers(0, 2**highest, (3, 2, 4), word, endpoint=True)
    words[0, 0, 0] = np.iinfo(word).max  # of a floating-point number, NaN with all bits set
    place = np.array([0, 5, 23, 9], np.int64)
    keep = np.array([~word.type(0), word.type(1), word.type(0), ~word.type(0)], word)
    flip = np.array([word.type(1) << word.type(highest), 0, 3, 0], word)
    tensor = tf.bitcast(tf.constant(words), dtype)
    changed, before = tf.function(change_words)(tensor, place, keep, flip)
    assert (changed.dtype, changed.shape) == (tensor.dtype, tensor.shape)
    np.testing.assert_array_equal(before, words.reshape(-1)[place])
    expected = words.reshape(-1).copy()
    expected[place] = (expected[place] & keep) ^ flip
    after = tf.bitcast(changed, word.name).numpy().reshape(-1)
    np.testing.assert_array_equal(after, expected)


def test_a_dtype_without_words_is_not_changed() -> None:
    no_words = np.zeros(0, np.uint32)
    tensor = tf.constant([np.nan, 1.0])
    changed, before = change_words(tensor, np.zeros(0, np.int64), no_words, no_words)
    np.testing.assert_array_equal(changed, tensor)
    assert before.shape == (0,)


@pytest.fixture(scope="module")
def graph() -> ModelGraph:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,), name="x")
    x = layers.Dense(3, name="first")(inputs)
    x = layers.ReLU(name="relu")(x)
    return ModelGraph.of(keras.Model(inputs, layers.Dense(2, name="last")(x)))


def test_a_segment_takes_tensors_and_what_is_read_and_gives_tensors(graph: ModelGraph) -> None:
    flow, reads = graph.flow, graph.trace.reads
    relu = graph.point("relu").name
    place = flow.position[relu] + 1
    segment = segment_of(flow, place, len(flow.path), reads)
    assert (segment.inputs, segment.outputs) == ((relu,), (graph.output.name,))
    kernel, bias = graph.point("last").operation.get_weights()
    assert sorted(reads[name].shape.rank or 0 for name in segment.reads) == [0, 0]
    names = (*segment.inputs, *segment.outputs, *segment.reads)
    function = graph.cutter.cut(segment, {name: graph.spec(name, 5) for name in names}, {})
    values = np.random.default_rng(2).normal(size=(5, 3)).astype(np.float32)
    held = tuple(read_value(graph.trace, name) for name in segment.reads)
    (found,), before = function((tf.constant(values),), held, ())
    np.testing.assert_allclose(found, values @ kernel + bias, rtol=1e-6)
    assert before == ()
    zeros = tuple(tf.zeros_like(one) for one in held)  # other weights, and no variable is written
    np.testing.assert_array_equal(
        function((tf.constant(values),), zeros, ())[0][0], np.zeros((5, 2))
    )
    np.testing.assert_array_equal(graph.point("last").operation.get_weights()[0], kernel)


def test_words_of_several_points_change_one_after_another(graph: ModelGraph) -> None:
    """The later one sees what the earlier one has done, and gives out what was there before."""
    flow = graph.flow
    points = graph.point("relu").name, graph.point("first").name  # in any order
    segment = segment_of(flow, 0, len(flow.path), graph.trace.reads)
    names = (*segment.inputs, *segment.outputs, *segment.reads)
    specs = {name: graph.spec(name, 2) for name in names}
    function = graph.cutter.cut(segment, specs, {}, points)
    values = np.random.default_rng(3).normal(size=(2, 4)).astype(np.float32)
    held = tuple(read_value(graph.trace, name) for name in segment.reads)
    seven, two = (np.array([value], np.float32).view(np.uint32) for value in (7.0, 2.0))
    nothing = np.zeros(1, np.uint32)
    place = np.array([4], np.int64)  # the second element of the second sample
    words = ((place, nothing, two), (place, nothing, seven))
    (found,), (relu, first) = function((tf.constant(values),), held, words)
    (one, one_bias), (last, last_bias) = (
        graph.point(layer).operation.get_weights() for layer in ("first", "last")
    )
    hidden = values @ one + one_bias
    np.testing.assert_allclose(first.numpy().view(np.float32), hidden[1, 1], rtol=1e-6)
    assert relu.numpy().view(np.float32).tolist() == [7.0]
    after = np.maximum(hidden, 0)
    after[1, 1] = 2.0
    np.testing.assert_allclose(found, after @ last + last_bias, rtol=1e-5)
