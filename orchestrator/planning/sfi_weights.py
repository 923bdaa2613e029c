"""The weights of a model that the layers of a list of SFI may stand for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from injecttf2.graph.model_graph import ModelGraph
from injecttf2.graph.weights import Weight, counted_at, weights_of

Index = npt.NDArray[np.int64]

UNLIKELY = 1e-6
"""Chance below which uniform draws do not leave an axis' end out: the weights are others."""

ALIKE = ("Conv", "DepthwiseConv", "SeparableConv", "Dense")
"""Begins of the types of layers whose weights PyTorch has in another order of axes only."""

_PLAIN = ("Dropout", "Activation", "ReLU", "BatchNormalization")
"""Begins of the types of layers that may stand between a Flatten and a Dense."""


@dataclass(frozen=True, eq=False)
class Part:
    """A layer of the list.

    Args:
        name: What the list calls it.
        rows: Its rows: the index of ``FaultListFile.rows``.
        listed: int64 [rows, axes], the indices as they stand there.
    """

    name: str
    rows: pd.Index[int]
    listed: Index


@dataclass(frozen=True, eq=False)
class Place:
    """Weights of the model.

    Args:
        weight: These.
        type: Of their layer.
        flattens: Whether images were flattened before, channels last, which PyTorch does otherwise.
    """

    weight: Weight
    type: str
    flattens: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Their sizes, in Keras' order of axes."""
        return self.weight.variable.shape

    @property
    def is_depthwise(self) -> bool:
        """Whether they are a depthwise convolution's, which have other axes."""
        return "depthwise" in self.type.lower() or "depthwise" in self.weight.name

    @property
    def is_alike(self) -> bool:
        """Whether PyTorch has the same weights, in another order of axes."""
        return self.type.startswith(ALIKE) and not self.flattens

    def index(self, part: Part, order: str) -> Index:
        """Return a layer's indices in Keras' order of axes, int64 [rows, axes]."""
        if order == "keras":
            return part.listed
        outputs, inputs, *places = part.listed.T
        if self.is_depthwise:  # PyTorch: (channels x multiplier, 1, ...), the multiplier inside
            channels, multiplier = np.divmod(outputs, self.shape[-1])
            # An index of an input other than the only one is made one that fits nowhere.
            return np.stack([*places, np.where(inputs == 0, channels, -1), multiplier], axis=1)
        return np.stack([*places, inputs, outputs], axis=1)

    def wrong(self, part: Part, order: str) -> npt.NDArray[np.bool_]:
        """Return which rows of a layer cannot be these weights in an order, bool [rows]."""
        if part.listed.shape[1] != len(self.shape):
            return np.ones(len(part.rows), np.bool_)
        index = self.index(part, order)
        return np.asarray(((index < 0) | (index >= np.array(self.shape))).any(axis=1))

    def fits(self, part: Part, order: str) -> bool:
        """Return whether a layer may be these weights, as its order and its indices tell.

        Draws that are uniform, as SFI's, reach the end of every axis sooner or later.
        """
        if self.wrong(part, order).any() or (order == "torch" and not self.type.startswith(ALIKE)):
            return False
        highest = self.index(part, order).max(axis=0) + 1
        chance = (highest / np.array(self.shape)) ** len(part.rows)
        return bool((chance >= UNLIKELY).all())


def weights_in_order(graph: ModelGraph) -> list[Place]:
    """Return all weights of two and more axes, in the order of the model, each once."""
    infos = [info for info in graph.layers if info.in_all]
    counted = counted_at(graph, infos)
    return [
        place_of(graph, one)
        for info in infos
        for one in weights_of(graph, info.layer)
        if len(one.variable.shape) > 1 and counted[one.variable.key].layer == info.layer
    ]


def place_of(graph: ModelGraph, weight: Weight) -> Place:
    """Return weights with what is before their layer."""
    at = next(at for at, info in enumerate(graph.layers) if info.layer == weight.layer)
    info, before = graph.layers[at], [*graph.layers[:at]]
    while before and before[-1].type.startswith(_PLAIN):
        before.pop()
    flattens = len(before) > 1 and before[-1].type == "Flatten" and _is_image(before[-2].shape)
    return Place(weight, info.type, flattens=flattens and info.type == "Dense")


def _is_image(shape: Sequence[int | None]) -> bool:
    """Return whether a sample of a shape has several places and several channels."""
    return len(shape) > 1 and shape[-1] != 1 and any(size != 1 for size in shape[:-1])


def by_number(name: str) -> list[str]:
    """Return what names are sorted by so that 10 stands behind 9."""
    return [part.zfill(9) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def first_fit(parts: Sequence[Part], places: Sequence[Place], order: str) -> list[Place] | None:
    """Return for each part the first place behind the last one's that it fits, if there is one."""
    left = iter(places)
    found = []
    for part in parts:
        place = next((one for one in left if one.fits(part, order)), None)
        if place is None:
            return None
        found.append(place)
    return found
