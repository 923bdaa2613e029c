"""Fault lists: files that name every site, read into trials."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from injecttf2.errors import CampaignError
from injecttf2.faults.bit_faults import BitFlip, StuckAt
from injecttf2.faults.fault_model import Fault
from injecttf2.faults.listed import FromFaultList, SetValue
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.graph.weights import weights_in
from injecttf2.sampling.sites import Sites, WeightSites, word_starts
from injecttf2.trial import OUTPUTS, WEIGHTS, Cell, Scope
from orchestrator.campaign.grid import FaultListSpec
from orchestrator.planning.fault_list_columns import NONE
from orchestrator.planning.fault_list_rows import KINDS, FaultListReader

Column = npt.NDArray[Any]


class FaultList:
    """A fault list, checked against a model.

    A trial's sites are slices of columns that all trials share, so that a list of a million trials
    is read in time and memory linear in its rows.

    Args:
        spec: The list, as the campaign names it.
        graph: The model.
        samples: Samples in its data set.

    Attributes:
        told: How it was read, for one of another tool; else None.

    Raises:
        CampaignError: It cannot be read, or names what there is not.
    """

    def __init__(self, spec: FaultListSpec, graph: ModelGraph, samples: int) -> None:
        self._rows = FaultListReader(spec, graph, samples)
        self.told = self._rows.told
        self._graph = graph
        table = self._rows.table
        self._columns = {name: table[name].to_numpy() for name in table.columns}
        self._starts = word_starts(self._columns["trial"])
        self._stops = np.append(self._starts[1:], len(table))

    def trials(self) -> dict[Scope, list[Cell]]:
        """Return a cell for each trial, by what they corrupt; equal ones once.

        Raises:
            CampaignError: A trial has several faults, or sites in outputs and in weights.
        """
        found: dict[Scope, dict[Cell, None]] = {}
        scope_of = cache(self._scope)
        for trial, (fault, layers, target, start, stop) in enumerate(self._spans()):
            scope = scope_of(layers, target)
            listed = self._weights if target == WEIGHTS else self._outputs
            rate = listed(slice(start, stop), layers, self._rows.labels[trial])
            found.setdefault(scope, {}).setdefault(Cell(scope, fault, rate))
        return {scope: list(cells) for scope, cells in found.items()}

    def _scope(self, layers: tuple[int, ...], target: str) -> Scope:
        return Scope(tuple(self._graph.layers[layer].layer for layer in layers), target)

    def _spans(self) -> Iterator[tuple[Fault, tuple[int, ...], str, int, int]]:
        """Yield fault, layers, target, first row and last of each trial."""
        (kind, other), bits = self._extremes("kind"), self._extremes("bit")
        if (kind != other).any():
            trial = int((kind != other).argmax())
            names = f"{KINDS[kind[trial]]}, {KINDS[other[trial]]}"
            raise self._error(trial, f"a trial has the faults {names}; expected one")
        variables = self._extremes("variable")
        mixed = (variables[0] == NONE) & (variables[1] != NONE)
        if mixed.any():
            raise self._error(
                int(mixed.argmax()), "a trial has sites in outputs and in weights; expected one"
            )
        fault_of = cache(_fault)
        every = zip(
            kind.tolist(),
            *(column.tolist() for column in (*bits, *self._extremes("layer"), variables[0])),
            self._starts.tolist(),
            self._stops.tolist(),
            strict=True,
        )
        for kind_, low, high, first, last, variable, start, stop in every:
            layers = (first,) if first == last else self._layers(start, stop)
            target = OUTPUTS if variable == NONE else WEIGHTS
            yield fault_of(kind_, low if low == high else None), layers, target, start, stop

    def _extremes(self, name: str) -> tuple[Column, Column]:
        """Return the least and the largest of each trial, [trials]."""
        column = self._columns[name]
        least = np.minimum.reduceat(column, self._starts)
        return least, np.maximum.reduceat(column, self._starts)

    def _layers(self, start: int, stop: int) -> tuple[int, ...]:
        return tuple(np.unique(self._columns["layer"][start:stop]).tolist())

    def _error(self, trial: int, message: str) -> CampaignError:
        return self._rows.error(int(self._rows.table.index[self._starts[trial]]), message)

    def _outputs(self, rows: slice, layers: tuple[int, ...], label: str) -> FromFaultList:
        bounds = [rows.start, rows.stop]
        if len(layers) > 1:
            ends = np.searchsorted(self._columns["layer"][rows], layers, side="right")
            bounds = [rows.start, *(rows.start + ends).tolist()]
        parts = tuple(Sites(*self._sites("sample", slice(*bound))) for bound in pairwise(bounds))
        return FromFaultList(_digest(parts), parts, label=label)

    def _weights(self, rows: slice, layers: tuple[int, ...], label: str) -> FromFaultList:
        sites = WeightSites(*self._sites("variable", rows))
        if len(layers) > 1:
            sites = self._numbered(sites, self._columns["layer"][rows], layers)
        return FromFaultList(_digest([sites]), weights=sites, label=label)

    def _sites(self, place: str, rows: slice) -> tuple[Column, Column, Column, Column]:
        """Return the columns of ``Sites`` or ``WeightSites``.

        In place of uniform numbers there are the values, if the fault sets any.
        """
        sets_values = KINDS[self._columns["kind"][rows.start]] == SetValue.name
        draws = self._columns["value"][rows, np.newaxis]
        return (
            self._columns[place][rows],
            self._columns["element"][rows],
            self._columns["bit"][rows],
            draws if sets_values else draws[:, :0],
        )

    def _numbered(self, sites: WeightSites, layer: Column, layers: tuple[int, ...]) -> WeightSites:
        """Return sites whose variables count within those of several layers together."""
        names = [self._graph.layers[number].layer for number in layers]
        together = [one.variable.key for one in weights_in(self._graph, names)]
        variable = np.empty_like(sites.variable)
        for number, name in zip(layers, names, strict=True):
            own = [together.index(one.variable.key) for one in weights_in(self._graph, [name])]
            here = layer == number
            variable[here] = np.array(own)[sites.variable[here]]
        order = np.lexsort((sites.bit, sites.element, variable))  # layers may share a variable
        return WeightSites(
            variable[order], sites.element[order], sites.bit[order], sites.draws[order]
        )


def _fault(kind: int, bit: int | None) -> Fault:
    """Return the fault of a trial; trials share it."""
    name = KINDS[kind]
    if name == SetValue.name:
        return SetValue()
    where: dict[str, Any] = {"bit_field": "any"} if bit is None else {"bit": bit}
    return BitFlip(**where) if name == "bit_flip" else StuckAt(**where, value=int(name[-1]))


def _digest(parts: Sequence[Sites | WeightSites]) -> str:
    """Return the digest of the sites of a trial, whatever their order in the file was."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(b"%d " % len(part))
        place = part.sample if isinstance(part, Sites) else part.variable
        for column in (place, part.element, part.bit, part.draws):
            digest.update(column.tobytes())
    return digest.hexdigest()
