"""Fault lists of SFI: layers and elements of its own model, found in the one that is injected.

A row of such a list names a layer and an index into its weight tensor, in the order of the axes of
the framework that the list was made with: PyTorch has outputs first (out, in, height, width), Keras
last (height, width, in, out). Which order a list has is told by the sizes of the weights that it
has to fit; where both fit, it is asked for. SFI is the injector of Ruospo et al., "Assessing
convolutional neural networks reliability through statistical fault injections", DATE 2023; its
lists are published in cad-polito-it/dnn-benchmarks.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from injecttf2.config.spelling import nearest
from injecttf2.errors import CampaignError
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.graph.weights import weights_of
from orchestrator.campaign.grid import FaultListSpec
from orchestrator.planning.fault_list_columns import NONE
from orchestrator.planning.fault_list_files import INDEX, FaultListFile, read_sites
from orchestrator.planning.sfi_weights import (
    Index,
    Part,
    Place,
    by_number,
    first_fit,
    place_of,
    weights_in_order,
)
from results.analysis.published_outcomes import fault_label

ORDERS = ("torch", "keras")

_LIST = "`injecttf2 layers MODEL` lists them"
_SAY = (
    "say which is which: sites: {file: ..., format: sfi, layers: {NAME: LAYER}}, or a CSV file "
    "with the two columns in place of the mapping"
)
_INDEX = re.compile(r"[(\[]?\s*\d+(?:\s*,\s*\d+)*\s*,?\s*[)\]]?")


def read_fault_list(spec: FaultListSpec, graph: ModelGraph) -> FaultListFile:
    """Read a fault list; the layers, variables and elements of one of SFI are the model's then.

    Args:
        spec: The list, as the campaign names it.
        graph: The model.

    Raises:
        CampaignError: It cannot be read, is of another format than is said, or its layers or
            indices do not fit the model.
    """
    read = read_sites(Path(spec.file))
    if read.is_sfi:
        return _Translation(read, graph, spec).result()
    if spec.format is not None:
        raise CampaignError(
            "the fault list has no column TensorIndex, as lists of SFI have",
            place=spec.file,
            hint="leave `format` out for a list with the columns layer, element and bit",
        )
    return read


class _Translation:
    """A list of SFI in the words of a model.

    Args:
        read: The list.
        graph: The model.
        spec: How the campaign names it.
    """

    def __init__(self, read: FaultListFile, graph: ModelGraph, spec: FaultListSpec) -> None:
        self._read = read
        self._graph = graph
        self._spec = spec
        self._layers = self._layers_of(read.rows["layer"].dropna().unique())

    def result(self) -> FaultListFile:
        """Return the list with the model's layers, variables and elements."""
        rows = self._read.rows.assign(layer=self._read.rows["layer"].str.strip())
        self._refuse_missing(rows)
        layers = {
            str(name): mine.index for name, mine in rows.groupby("layer", sort=False, observed=True)
        }
        parts = [
            Part(name, mine, self._index(name, rows.loc[mine])) for name, mine in layers.items()
        ]
        places, order = self._found(parts)
        texts = [
            fault_label(*row) for row in zip(rows["layer"], rows[INDEX], rows["bit"], strict=True)
        ]
        rows["trial"] = texts
        for part, place in zip(parts, places, strict=True):
            if order == "torch" and not place.is_alike:
                raise self._laid_out_otherwise(part, place)
            element = np.ravel_multi_index(tuple(place.index(part, order).T), place.shape)
            rows.loc[part.rows, "element"] = element
            rows.loc[part.rows, "layer"] = place.weight.layer
            rows.loc[part.rows, "variable"] = place.weight.name
        told = self._told(parts, places, order)
        return replace(self._read, rows=rows.drop_duplicates("trial"), told=told)

    def _told(self, parts: Sequence[Part], places: Sequence[Place], order: str) -> str:
        """Return how the list was found in the model, in a line."""
        pairs = [
            f"{part.name} is {place.weight.layer}"
            for part, place in zip(parts, places, strict=True)
        ]
        how = "by their order and shape; `layers` of `sites` can say otherwise"
        if self._layers is not None:
            how = "by their names" if self._spec.layers is None else "as `layers` says"
        found = {place.weight.variable.key for place in places}
        rest = (one.weight for one in weights_in_order(self._graph))
        left = [one.layer for one in rest if one.variable.key not in found]
        return (
            f"{Path(self._spec.file).name}: axes in the order of {order}; layers {how}: "
            f"{', '.join(pairs)}"
            + (f"; without faults: {', '.join(dict.fromkeys(left))}" if left else "")
        )

    def _laid_out_otherwise(self, part: Part, place: Place) -> CampaignError:
        """Return the error of weights that differ in PyTorch by more than the order of axes."""
        layer = place.weight.layer
        what = f"{layer!r} is a {place.type}, whose weights PyTorch lays out otherwise"
        if place.flattens:
            what = (
                f"the inputs of {layer!r} are a flattened image, channels last; PyTorch's are first"
            )
        return self._error(
            part,
            f"{part.name!r} of the list: {what}, so an index tells another weight",
            hint="leave its rows out, or write them as a list with layer, variable and element",
        )

    def _refuse_missing(self, rows: pd.DataFrame) -> None:
        for name, shown in (("layer", "Layer"), (INDEX, "TensorIndex"), ("bit", "Bit")):
            missing = (rows[name].isna() | (rows[name] == NONE)).to_numpy()
            if missing.any():
                row = int(rows.index[int(missing.argmax())])
                raise self._read.error(row, f"received no {shown}; expected one in every row")

    def _index(self, name: str, rows: pd.DataFrame) -> Index:
        """Return the indices of the rows of a layer, int64 [rows, axes]."""
        axes = 0
        found = []
        for row, text in zip(rows.index.tolist(), rows[INDEX].tolist(), strict=True):
            numbers = re.findall(r"\d+", text)
            axes = axes or len(numbers)
            if not _INDEX.fullmatch(text.strip()) or len(numbers) != axes or axes < 2:
                raise self._read.error(
                    row,
                    f"received the TensorIndex {text!r} of {name!r}; expected "
                    f"{max(axes, 2)} whole numbers from 0, such as (3, 0, 2, 1)",
                    hint="vectors, such as biases, are not taken: leave them out"
                    if axes == 1
                    else None,
                )
            found.append([int(number) for number in numbers])
        return np.array(found, np.int64)

    def _layers_of(self, names: Iterable[str]) -> Mapping[str, str] | None:
        """Return the model's layers by the list's names; None where their order has to tell."""
        given = self._spec.layers
        if given is not None:
            return _names(given) if isinstance(given, str) else given
        own = {name: name.removesuffix(".weight") for name in names}  # as PyTorch calls its tensor
        known = {info.layer for info in self._graph.layers}
        return own if known >= {*own.values()} else None

    def _found(self, parts: Sequence[Part]) -> tuple[list[Place], str]:
        """Return which weights each of the list's layers stands for, and the order of axes."""
        orders = ORDERS if self._spec.order is None else (self._spec.order,)
        if self._layers is None:
            found = {order: self._in_order(parts, order) for order in orders}
        else:
            named = [self._named(part, self._layers) for part in parts]
            for one, other in combinations(range(len(parts)), 2):
                if named[one].weight.variable.key == named[other].weight.variable.key:
                    raise self._error(
                        parts[other],
                        f"{parts[one].name!r} and {parts[other].name!r} of the list are both "
                        f"{named[one].weight.layer!r}",
                    )
            fits = {
                order: not any(
                    one.wrong(part, order).any() for part, one in zip(parts, named, strict=True)
                )
                for order in orders
            }
            found = {order: named if fits[order] else None for order in orders}
            if not any(fits.values()):
                raise self._outside(parts, named, orders)
        fitting = [(places, order) for order, places in found.items() if places is not None]
        if len(fitting) > 1:
            raise CampaignError(
                "the indices of the list fit the model in PyTorch's order of axes and in Keras'",
                place=self._spec.file,
                hint="say which it is: sites: {file: ..., format: sfi, order: torch}, or keras",
            )
        if not fitting:
            raise self._no_match(parts, orders)
        return fitting[0]

    def _named(self, part: Part, layers: Mapping[str, str]) -> Place:
        """Return the weights that a layer of the list stands for by its name."""
        address = layers.get(part.name)
        if address is None:
            raise self._error(
                part, f"`layers` of `sites` has no layer for {part.name!r} of the list"
            )
        known = [info.layer for info in self._graph.layers]
        layer, variable = address, None
        if address not in known and address.rpartition(" ")[0] in known:
            layer, _, variable = address.rpartition(" ")
        if layer not in known:
            told = f"the model has no layer {layer!r}{nearest(layer, known)}"
            raise self._error(part, f"the layer {part.name!r} of the list: {told}")
        axes = part.listed.shape[1]
        fitting = [
            one
            for one in weights_of(self._graph, layer)
            if len(one.variable.shape) == axes and variable in (None, one.name)
        ]
        if len(fitting) != 1:
            several = f"several weights: {', '.join(one.name for one in fitting)}"
            named = f"{layer} {fitting[0].name}" if fitting else ""
            raise self._error(
                part,
                f"the layer {layer!r} has {several if fitting else 'no weights'} with {axes} axes, "
                f"as {part.name!r} of the list; expected one",
                hint=f"say which in `layers`: {part.name}: {named}" if fitting else _LIST,
            )
        return place_of(self._graph, fitting[0])

    def _in_order(self, parts: Sequence[Part], order: str) -> list[Place] | None:
        """Return the weights of the list's layers by their order; None where they do not fit.

        The list's layers keep their order, and weights may be left out between them. Each layer
        takes the first weights that its indices fit, and again from the end, the last: if these are
        the same, there is no other way.

        Raises:
            CampaignError: There are several ways.
        """
        names = [part.name for part in parts]
        if names == sorted(names) != sorted(names, key=by_number):
            raise self._error(
                parts[0],
                "the layers of the list are in the order of their letters, which is not that of a "
                "model",
                hint=_SAY,
            )
        every = weights_in_order(self._graph)
        first = first_fit(parts, every, order)
        last = first_fit(parts[::-1], every[::-1], order)
        if first is None or last is None:
            return None
        for part, one, other in zip(parts, first, last[::-1], strict=True):
            if one is not other:
                raise self._error(
                    part,
                    f"the layer {part.name!r} of the list may be {one.weight.layer!r} or "
                    f"{other.weight.layer!r} of the model by the order and shape of layers",
                    hint=_SAY,
                )
        return first

    def _no_match(self, parts: Sequence[Part], orders: Sequence[str]) -> CampaignError:
        """Return the error of layers that do not match by their order."""
        every = weights_in_order(self._graph)
        # Of the orders the one in which most layers fit is meant.
        part = max(
            (
                next(
                    part
                    for count, part in enumerate(parts, 1)
                    if first_fit(parts[:count], every, order) is None
                )
                for order in orders
            ),
            key=parts.index,
        )
        there = ", ".join(f"{one.weight.layer} {one.shape}" for one in every)
        highest = ", ".join(map(str, part.listed.max(axis=0).tolist()))
        return self._error(
            part,
            f"the list's layers have other names than the model's, and by order and shape "
            f"{part.name!r}, with indices up to ({highest}), fits none that is left of: {there}",
            hint=_SAY,
        )

    def _outside(
        self, parts: Sequence[Part], places: Sequence[Place], orders: Sequence[str]
    ) -> CampaignError:
        """Return the error of indices that are outside the weights of a layer's name."""
        pairs = list(zip(parts, places, strict=True))
        order = min(
            orders, key=lambda one: sum(place.wrong(part, one).any() for part, place in pairs)
        )
        part, place = next(pair for pair in pairs if pair[1].wrong(pair[0], order).any())
        row = int(part.rows[int(place.wrong(part, order).argmax())])
        return self._read.error(
            row,
            f"the TensorIndex {self._read.rows[INDEX][row]!s} of {part.name!r} is outside "
            f"{place.weight.name} of {place.weight.layer!r}, {place.shape}, in the order of "
            f"{' and of '.join(orders)}",
            hint="is it the list of another model, or does `layers` of `sites` mix layers up?",
        )

    def _error(self, part: Part, message: str, *, hint: str = _LIST) -> CampaignError:
        return self._read.error(int(part.rows[0]), message, hint=hint)


def _names(file: str) -> dict[str, str]:
    """Read a CSV file of two columns, the list's names of layers and the model's."""
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise CampaignError(
            f"the names of layers cannot be read: {error}",
            place=file,
            hint="expected a CSV file with two columns: the list's names, and the model's",
        ) from error
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    rows: list[list[str]] = [
        [cell.strip() for cell in row]
        for row in csv.reader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
        if any(cell.strip() for cell in row)
    ]
    for number, row in enumerate(rows, start=1):
        if len(row) != 2 or not all(row):
            raise CampaignError(
                f"received {row}; expected two cells: the list's name of a layer, and the model's",
                place=f"{file}: row {number}",
            )
        if row[0] in (name for name, _ in rows[: number - 1]):
            raise CampaignError(f"{row[0]!r} is there twice", place=f"{file}: row {number}")
    return dict(rows)
