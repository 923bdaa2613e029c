"""The work of steps: what the choice of a route goes by."""

from __future__ import annotations

import keras
from keras import layers

from injecttf2.graph import Graph
from injecttf2.path import Path
from injecttf2.work import ELEMENT, WINDOW, dense_work, golden_bytes, least, products, window_work


def example() -> Graph:
    keras.utils.clear_session(free_memory=False)
    return Graph(
        keras.Sequential(
            [
                keras.Input((8, 8, 1), name="image"),
                layers.Conv2D(4, 3, padding="same", name="conv"),
                layers.MaxPooling2D(2, name="pool"),
                layers.Flatten(name="flatten"),
                layers.Dense(5, activation="relu", name="dense"),
                layers.LayerNormalization(name="norm"),
            ]
        )
    )


def test_products_are_counted() -> None:
    graph = example()
    assert products(graph.step("conv")) == 8 * 8 * 4 * 9
    assert products(graph.step("dense")) == 64 * 5
    assert products(graph.step("pool")) == 0


def test_dense_work_moves_what_goes_in_and_what_comes_out() -> None:
    graph = example()
    assert dense_work(graph, graph.step("pool")) == ELEMENT * (256 + 64)
    assert dense_work(graph, graph.step("dense")) == 320 + ELEMENT * (64 + 5)


def test_windows_grow_until_a_layer_has_no_rule() -> None:
    graph = example()
    work = window_work(Path(graph, "image"))
    assert work.live == (1, 9 * 4, 4 * 4)  # 3x3 of 4 channels, then 2x2; those have no place flat
    assert work.widening == (ELEMENT * 64, ELEMENT * 256, ELEMENT * 64)
    assert work.steps[0] == WINDOW * (9 / 64 * products(graph.step("conv")) + ELEMENT * (1 + 36))


def test_one_element_is_followed_through_a_dense_layer() -> None:
    graph = example()
    work = window_work(Path(graph, "conv"))
    assert work.live == (1, 1, 1, 5)
    assert work.widening[-1] == 0
    assert work.steps[-1] == WINDOW * (1 / 64 * 320 + ELEMENT * (1 + 5))
    sizes = [golden_bytes(graph, keys) for keys in work.golden]
    assert sizes == [4 * 256, 4 * (256 + 64), 4 * (256 + 64), 4 * (256 + 5)]
    assert work.windows[1] == {graph.step("pool").outputs[0]}


def test_the_first_of_equals_is_least() -> None:
    assert least([3, 1, 2, 1]) == 1
