"""What the grids of a campaign name: layers, weight variables, faults and rates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product

from injecttf2.config.spelling import nearest
from injecttf2.errors import CampaignError, placed
from injecttf2.faults.fault_model import Fault
from injecttf2.graph.layer_info import LayerInfo
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.graph.weights import (
    COMPILED,
    UNREAD,
    counted_at,
    reason_of,
    taken_by_all,
    unread_of,
    users_of_weights,
    weights_in,
    weights_of,
)
from injecttf2.protections import Protection
from injecttf2.sampling.rates import Rate
from injecttf2.trial import OUTPUTS, WEIGHTS, Scope
from orchestrator.campaign.campaign import Campaign
from orchestrator.campaign.grid import ALL, FaultListSpec, GridSpec, LayerType
from orchestrator.planning.fault_list import FaultList
from orchestrator.planning.grid_faults import check_dtype, faults_of
from orchestrator.planning.grid_protections import check_fault, protections_of
from orchestrator.planning.naming import matches, named, names_none, not_injected
from orchestrator.planning.sampling_plan import SamplingPlan
from orchestrator.planning.trial_grid import Cells, FaultListCells, Product


@dataclass
class Selection:
    """What is injected where.

    Args:
        products: Products by what they corrupt.
        skipped: Layers that ``all``, a pattern or a type named but that cannot be injected, by
            themselves and the reason.
        lists: How fault lists of other tools were read, a line each.
    """

    products: dict[Scope, list[Cells]] = field(default_factory=dict)
    skipped: dict[tuple[str, str], LayerInfo] = field(default_factory=dict)
    lists: list[str] = field(default_factory=list)

    def ordered(self, layers: Iterable[LayerInfo]) -> list[tuple[Scope, list[Cells]]]:
        """Return them in the order of the model, outputs before weights."""
        order = {info.layer: index for index, info in enumerate(layers)}
        scopes = sorted(
            self.products,
            key=lambda scope: (order[scope.layers[0]], len(scope.layers), scope.target),
        )
        return [(scope, self.products[scope]) for scope in scopes]


class TargetSelector:
    """Finds what a campaign's grids name in a model.

    Args:
        campaign: The campaign.
        graph: Its model.
        sampling: Says how many trials its cells get.
        samples: Samples in its data set.
    """

    def __init__(
        self, campaign: Campaign, graph: ModelGraph, sampling: SamplingPlan, samples: int
    ) -> None:
        self._campaign = campaign
        self._graph = graph
        self._samples = samples
        self._infos = {info.layer: info for info in graph.layers}
        self._sampling = sampling

    def choose(self) -> Selection:
        """Return what is injected into which layers.

        Raises:
            CampaignError: A grid names a layer, variable or fault that there is not, or one that
                does not fit the layer.
        """
        chosen = Selection()
        for index, spec in enumerate(self._campaign.grid):
            if spec.sites is None:
                self._add(index, spec, chosen)
            else:
                self._add_listed(index, spec, spec.sites, chosen)
        self._check_once(chosen)
        return chosen

    def _add(self, index: int, spec: GridSpec, chosen: Selection) -> None:
        named = list(self._layers(index, spec, chosen))
        together: list[tuple[str, ...]] = [(info.layer,) for info in named]
        if spec.layers_together and named:
            together = [tuple(info.layer for info in named)]
        elsewhere: dict[str, dict[str, str]] = {}
        if spec.target == WEIGHTS:
            self._tell_unread(named, chosen)
            elsewhere = {} if spec.layers_together else self._elsewhere(named, chosen)
        faults = faults_of(self._campaign, index, spec)
        protections = self._protections(index, spec, (fault for fault, _ in faults))
        made: dict[Scope, Product] = {}
        for layers in together:
            scope = Scope(layers, spec.target)
            variables = self._variables(index, spec, layers, elsewhere.get(scope.label, {}))
            if not variables:
                continue
            for dtypes in variables.values():
                for fault, key in faults:
                    self._check(index, key, fault, scope, dtypes)
            once = list(dict.fromkeys(fault for fault, _ in faults))
            product_ = self._sampling.product(index, scope, list(variables), once)
            for protection in protections:
                made[replace(scope, protection=protection)] = product_
        for scope, product_ in made.items():
            chosen.products.setdefault(scope, []).append(product_)
        self._check_concerned(index, made)
        self._sampling.check_size(index, made)

    def _add_listed(
        self, index: int, spec: GridSpec, sites: FaultListSpec, chosen: Selection
    ) -> None:
        with placed(self._campaign.place("grid", index, "sites")):
            listed = FaultList(sites, self._graph, self._samples)
        if listed.told is not None:
            chosen.lists.append(listed.told)
        trials = listed.trials()
        every = (cell.fault for cells in trials.values() for cell in cells)
        made: list[Scope] = []
        for protection in self._protections(index, spec, dict.fromkeys(every)):
            for unprotected, cells in trials.items():
                scope = replace(unprotected, protection=protection)
                under = tuple(replace(cell, scope=scope) for cell in cells)
                chosen.products.setdefault(scope, []).append(FaultListCells(under))
                made.append(scope)
        self._check_concerned(index, made)

    def _protections(
        self, index: int, spec: GridSpec, faults: Iterable[Fault]
    ) -> list[Protection | None]:
        """Return the protections of a grid, which can tell what becomes of its faults."""
        found = protections_of(self._campaign, index, spec, self._graph)
        for protection, fault in product(found, faults):
            check_fault(protection, fault, self._campaign.place("grid", index, "protections"))
        return found

    def _check_concerned(self, index: int, scopes: Iterable[Scope]) -> None:
        """See that each protection of a grid may do something about some of its faults."""
        covering: dict[Protection, bool] = {}
        for scope in scopes:
            if (protection := scope.protection) is not None and not covering.get(protection):
                covering[protection] = any(
                    protection.covers(scope.target, layers) for layers in self._hit(scope)
                )
        for protection, covers in covering.items():
            if not covers:
                raise CampaignError(
                    f"the protection {protection.label} does nothing about faults in the "
                    f"{self._campaign.grid[index].target} of the layers of this grid",
                    place=self._campaign.place("grid", index, "protections"),
                    hint="leave it out of this grid, or give it other layers or another target",
                )

    def _hit(self, scope: Scope) -> list[tuple[str, ...]]:
        """Return the layers that each tensor or weight of a scope is of."""
        if scope.target == OUTPUTS:
            return [(layer,) for layer in scope.layers]
        users = self._users
        return [users[one.variable.key] for one in weights_in(self._graph, scope.layers)]

    @cached_property
    def _users(self) -> Mapping[int, tuple[str, ...]]:
        """The layers that compute with each variable."""
        return users_of_weights(self._graph)

    def _check_once(self, chosen: Selection) -> None:
        """See that no two grids hit the same weights by the same fault under two addresses."""
        seen: dict[tuple[int, Fault, Rate, Protection | None], str] = {}
        for scope, products in chosen.products.items():
            alone = scope.target == WEIGHTS and len(scope.layers) == 1
            weights = weights_of(self._graph, scope.label) if alone else ()
            for cells, one in product(products, weights):
                if not isinstance(cells, Product) or not {None, one.name} & {*cells.variables}:
                    continue
                for fault, rate in product(cells.faults, cells.rates):
                    place = one.variable.key, fault, rate, scope.protection
                    other = seen.setdefault(place, scope.label)
                    if other != scope.label:
                        raise CampaignError(
                            f"{one.name!r} of {scope.label!r} is among the weights of {other!r}, "
                            "and two grids hit it by the same fault; a place counts once",
                            place=self._campaign.place("grid"),
                            hint=f"leave {scope.label!r} or {other!r} out",
                        )

    def _layers(self, index: int, spec: GridSpec, chosen: Selection) -> Iterator[LayerInfo]:
        """Yield the layers that a grid names, each once, in the order of the model."""
        found: dict[str, LayerInfo] = {}
        for position, selector in enumerate(spec.layers):
            place = self._campaign.place("grid", index, "layers", position)
            for info in self._select(selector, spec.target, place):
                reason = self._reason(info, spec.target)
                if reason is None:
                    found[info.layer] = info
                elif info.layer == selector:
                    raise not_injected(info.layer, reason, place)
                else:
                    chosen.skipped[info.layer, reason] = replace(info, reason=reason)
        yield from (info for info in self._infos.values() if info.layer in found)

    def _reason(self, info: LayerInfo, target: str) -> str | None:
        """Return why a target of a layer cannot be injected, or None when it can."""
        return info.reason if target == OUTPUTS else reason_of(self._graph, info.layer)

    def _tell_unread(self, named: Iterable[LayerInfo], chosen: Selection) -> None:
        """Note which weights of the layers are left out, as inference does not read them."""
        for info in named:
            names = [one.name for one in unread_of(self._graph, info.layer)]
            if names:
                part = f"{', '.join(names)} of {info.layer}"
                chosen.skipped[part, UNREAD] = replace(info, layer=part, reason=UNREAD)

    def _elsewhere(
        self, named: Sequence[LayerInfo], chosen: Selection
    ) -> dict[str, dict[str, str]]:
        """Return the weights of each layer that are counted at another, by name, and where.

        They are noted as left out.
        """
        left_out = [info for info in chosen.skipped.values() if info.reason == COMPILED]
        counted = counted_at(self._graph, [*named, *left_out])
        found: dict[str, dict[str, str]] = {}
        for info in named:
            weights = weights_of(self._graph, info.layer)
            at = {one.name: counted[one.variable.key].layer for one in weights}
            others = {name: layer for name, layer in at.items() if layer != info.layer}
            found[info.layer] = others
            if others:
                where = ", ".join(map(repr, dict.fromkeys(others.values())))
                part, reason = info.layer, f"its weights are those of {where}"
                if len(others) < len(at):
                    part = f"{', '.join(others)} of {info.layer}"
                    reason = f"among the weights of {where}"
                chosen.skipped[part, reason] = replace(info, layer=part, reason=reason)
        return found

    def _select(self, selector: str | LayerType, target: str, place: str | None) -> list[LayerInfo]:
        """Return the layers that a selector names.

        Layers inside a layer of Keras' own are among those by their name or a pattern only.

        Raises:
            CampaignError: It names none.
        """
        layers = list(self._infos.values())
        if selector == ALL and target == WEIGHTS:
            found = taken_by_all(self._graph, layers)
        else:
            found = named(selector, layers)
        if not found:
            raise names_none(selector, layers, place)
        return found

    def _variables(
        self, index: int, spec: GridSpec, layers: tuple[str, ...], elsewhere: Mapping[str, str]
    ) -> Mapping[str | None, set[str]]:
        """Return the variables that have cells of their own, each with the dtypes that it holds.

        None stands for the outputs, or for all variables of the layers together. Where some are
        counted at another layer, the others have cells of their own.
        """
        if spec.target == OUTPUTS:
            return {None: {self._infos[layer].dtype for layer in layers}}
        known: dict[str, set[str]] = {}
        for layer in layers:
            for one in weights_of(self._graph, layer):
                known.setdefault(one.name, set()).add(one.dtype)
        found: dict[str | None, set[str]] = {}
        for position, selector in enumerate(spec.variables):
            if selector == ALL and not elsewhere:
                found[None] = set().union(*known.values())
                continue
            matching = list(known) if selector == ALL else matches(selector, known)
            if not matching:
                unread = [one.name for layer in layers for one in unread_of(self._graph, layer)]
                read = " that inference reads" if matches(selector, unread) else ""
                raise CampaignError(
                    f"the layer {' + '.join(layers)!r} has no variable {selector!r}{read}"
                    f"{nearest(selector, known)}",
                    place=self._campaign.place("grid", index, "variables", position),
                    hint=f"it has {', '.join(known)}",
                )
            found.update((name, known[name]) for name in matching if name not in elsewhere)
        return found

    def _check(
        self, index: int, key: str, fault: Fault, scope: Scope, dtypes: Iterable[str]
    ) -> None:
        """See that a fault can happen to words of some dtypes."""
        for dtype in sorted(dtypes):
            place = self._campaign.place("grid", index, key)
            check_dtype(fault, dtype, f"the {scope.target} of the layer {scope.label!r}", place)
