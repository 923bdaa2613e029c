"""Where a model is cut into a chain."""

from __future__ import annotations

import itertools
import math
from typing import Any

import keras
import pytest
from keras import layers

from injecttf2.graph import segments
from injecttf2.graph.functions import Segment
from injecttf2.graph.model_graph import ModelGraph
from tests import networks


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    keras.utils.clear_session(free_memory=False)
    monkeypatch.setattr(segments, "HANDING", 0.0)  # small models are cut too
    monkeypatch.setattr(segments, "ELEMENT", 0.0)


def chain(graph: ModelGraph, row_bytes: float = math.inf) -> tuple[Segment, ...]:
    return segments.chain_of(graph.flow, graph.shapes, graph.samples, graph.trace.reads, row_bytes)


def bytes_of(graph: ModelGraph, names: tuple[str, ...]) -> int:
    """Bytes of tensors for a sample; all are float32."""
    shapes = [graph.shapes[name] or () for name in names]
    return sum(4 * math.prod(size or 0 for size in shape[1:]) for shape in shapes)


def bytes_between(graph: ModelGraph, found: tuple[Segment, ...]) -> int:
    """Bytes of a sample before, between and behind segments."""
    inputs = sum(bytes_of(graph, one.inputs) for one in found)
    return inputs + bytes_of(graph, found[-1].outputs)


def unet() -> keras.Model:
    """Skips around all that is inside, so that no place within needs a single tensor only."""
    inputs = keras.Input((16, 16, 1), name="image")

    def conv(name: str, x: Any, filters: int) -> Any:
        return layers.Conv2D(filters, 3, padding="same", activation="relu", name=name)(x)

    first = conv("first", inputs, 4)
    second = conv("second", layers.MaxPooling2D(name="down1")(first), 8)
    bottom = conv("bottom", layers.MaxPooling2D(name="down2")(second), 8)
    x = layers.Concatenate(name="join2")([layers.UpSampling2D(name="up2")(bottom), second])
    x = layers.UpSampling2D(name="up1")(conv("third", x, 4))
    x = conv("fourth", layers.Concatenate(name="join1")([x, first]), 4)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(3, name="classes")(x))


MODELS = {"cnn": networks.cnn, "residual": networks.residual, "unet": unet}


@pytest.mark.parametrize("name", MODELS)
def test_segments_follow_one_another_from_the_first_operation_to_the_last(name: str) -> None:
    graph = ModelGraph.of(MODELS[name]())
    found = chain(graph)
    assert len(found) >= 3
    assert (found[0].start, found[-1].stop) == (0, len(graph.flow.path))
    assert (found[0].inputs, found[-1].outputs) == (graph.flow.inputs, graph.flow.outputs)
    for one, following in itertools.pairwise(found):
        assert (one.stop, one.outputs) == (following.start, following.inputs)
        assert one.start < one.stop
    read = [name for one in found for name in one.reads]
    used = {name for names in graph.reading.read.values() for name in names}
    assert set(read) == used


def test_a_model_is_cut_where_a_single_tensor_is_needed_if_it_has_such_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(segments, "SEGMENTS", 4)
    graph = ModelGraph.of(networks.residual())
    found = chain(graph)
    held = {point.name: point.layer for point in graph.points}
    assert {len(one.inputs) for one in found} == {1}
    cuts = {held.get(one.inputs[0]) for one in found[1:]}
    assert cuts <= {"stem", "block1_add", "block2_add", "pool"}
    assert "block1_add" in cuts


def test_where_no_such_place_comes_it_is_cut_where_several_tensors_are_needed() -> None:
    graph = ModelGraph.of(unet())
    found = chain(graph)
    assert max(len(one.inputs) for one in found) > 1
    held = {point.name: point.layer for point in graph.points}
    assert "first" in {
        held.get(name) for one in found if len(one.inputs) > 1 for name in one.inputs
    }


@pytest.mark.parametrize("name", MODELS)
def test_tensors_between_segments_take_no_more_than_they_may(name: str) -> None:
    graph = ModelGraph.of(MODELS[name]())
    most = chain(graph)
    held = bytes_between(graph, most)
    assert chain(graph, held) == most
    for allowed in (held - 1, held // 2):
        assert bytes_between(graph, chain(graph, allowed)) <= allowed
    assert len(chain(graph, 0)) == 1


def test_a_model_of_little_work_is_cut_at_its_first_layer_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = ModelGraph.of(networks.cnn())
    monkeypatch.setattr(segments, "HANDING", 1e9)
    found = chain(graph)
    first = graph.flow.position[graph.point("conv").name] + 1
    assert found[-1].start == first  # up to there, there is nothing to hand on
