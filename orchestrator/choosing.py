"""What the grids of a campaign name: layers, weight variables, faults and rates."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from injecttf2 import fault_registry
from injecttf2.errors import CampaignError, placed
from injecttf2.fault_model import Fault
from injecttf2.graph import Graph, LayerInfo
from injecttf2.suggest import nearest
from injecttf2.trials import OUTPUTS, TOGETHER, WEIGHTS, Scope
from injecttf2.weights import variable_dtypes
from orchestrator.campaign import Campaign
from orchestrator.grid import Cells, Listing, Product
from orchestrator.grid_spec import ALL, GridSpec, LayerType
from orchestrator.sampling_plan import SamplingPlan
from orchestrator.site_lists import SiteList
from orchestrator.typed_spec import TypedSpec
from orchestrator.written_faults import takes_bits, written_out

LIST_HINT = "`injecttf2 layers MODEL` lists what can be injected"


@dataclass
class Chosen:
    """What is injected where.

    Args:
        products: Products by what they corrupt.
        skipped: Layers that ``all``, a pattern or a type named but that cannot be injected, by
            themselves and the reason.
    """

    products: dict[Scope, list[Cells]] = field(default_factory=dict)
    skipped: dict[tuple[str, str], LayerInfo] = field(default_factory=dict)

    def ordered(self, layers: Iterable[LayerInfo]) -> list[tuple[Scope, list[Cells]]]:
        """Return them in the order of the model, outputs before weights."""
        order = {info.layer: index for index, info in enumerate(layers)}
        scopes = sorted(
            self.products,
            key=lambda scope: (order[scope.layers[0]], len(scope.layers), scope.target),
        )
        return [(scope, self.products[scope]) for scope in scopes]


class Chooser:
    """Finds what a campaign's grids name in a model.

    Args:
        campaign: The campaign.
        graph: Its model.
        sampling: Says how many trials its cells get.
        samples: Samples in its data set.
    """

    def __init__(
        self, campaign: Campaign, graph: Graph, sampling: SamplingPlan, samples: int
    ) -> None:
        self._campaign = campaign
        self._graph = graph
        self._samples = samples
        self._infos = {info.layer: info for info in graph.layers}
        self._sampling = sampling

    def choose(self) -> Chosen:
        """Return what is injected into which layers.

        Raises:
            CampaignError: A grid names a layer, variable or fault that there is not, or one that
                does not fit the layer.
        """
        chosen = Chosen()
        for index, spec in enumerate(self._campaign.grid):
            if spec.sites is None:
                self._add(index, spec, chosen)
            else:
                self._add_listed(index, spec.sites, chosen)
        return chosen

    def _add(self, index: int, spec: GridSpec, chosen: Chosen) -> None:
        named = list(self._layers(index, spec, chosen))
        together: list[tuple[str, ...]] = [(info.layer,) for info in named]
        if spec.layers_together and named:
            together = [tuple(info.layer for info in named)]
            self._check_together(index, spec, together[0])
        faults = self._faults(index, spec)
        made: dict[Scope, Product] = {}
        for layers in together:
            scope = Scope(layers, spec.target)
            variables = self._variables(index, spec, layers)
            for dtypes in variables.values():
                for fault, key in faults:
                    self._check(index, key, fault, scope, dtypes)
            once = list(dict.fromkeys(fault for fault, _ in faults))
            made[scope] = self._sampling.product(index, scope, list(variables), once)
            chosen.products.setdefault(scope, []).append(made[scope])
        self._sampling.check_size(index, made)

    def _add_listed(self, index: int, file: str, chosen: Chosen) -> None:
        with placed(self._campaign.place("grid", index, "sites")):
            listed = SiteList(Path(file), self._graph, self._samples).trials()
        for scope, cells in listed.items():
            chosen.products.setdefault(scope, []).append(Listing(tuple(cells)))

    def _layers(self, index: int, spec: GridSpec, chosen: Chosen) -> Iterator[LayerInfo]:
        """Yield the layers that a grid names, each once, in the order of the model."""
        found: dict[str, LayerInfo] = {}
        for position, selector in enumerate(spec.layers):
            place = self._campaign.place("grid", index, "layers", position)
            for info in self._select(selector, place):
                reason = self._reason(info, spec.target)
                if reason is None:
                    found[info.layer] = info
                elif info.layer == selector:
                    raise CampaignError(
                        f"the layer {selector!r} cannot be injected: {reason}", place=place
                    )
                else:
                    chosen.skipped[info.layer, reason] = replace(info, reason=reason)
        yield from (info for info in self._infos.values() if info.layer in found)

    def _check_together(self, index: int, spec: GridSpec, layers: tuple[str, ...]) -> None:
        """See that the model can be cut before all of the layers."""
        reason = self._graph.reason_of_cut(layers, weights=spec.target == WEIGHTS)
        if reason is not None:
            raise CampaignError(
                f"the layers {TOGETHER.join(layers)!r} cannot be injected together: {reason}",
                place=self._campaign.place("grid", index, "layers"),
            )

    def _reason(self, info: LayerInfo, target: str) -> str | None:
        """Return why a target of a layer cannot be injected, or None when it can."""
        if target == OUTPUTS:
            return info.reason
        if not variable_dtypes(self._graph, info.layer):
            return "it has no weights"
        return self._graph.reason_of_cut([info.layer], weights=True)

    def _select(self, selector: str | LayerType, place: str | None) -> list[LayerInfo]:
        """Return the layers that a selector names.

        Layers inside a layer of Keras' own are among those by their name or a pattern only.

        Raises:
            CampaignError: It names none.
        """
        layers = list(self._infos.values())
        computing = [info for info in layers if not info.is_input]
        of_the_model = [info for info in computing if info.in_all]
        if isinstance(selector, LayerType):
            found = [info for info in of_the_model if info.type == selector.type]
            known = {info.type for info in of_the_model}
            what = f"no layer of type {selector.type!r}{nearest(selector.type, known)}"
        elif selector == ALL:
            found, what = of_the_model, "no layer"
        else:
            found = [info for info in layers if info.layer == selector] or [
                info for info in computing if fnmatch.fnmatchcase(info.layer, selector)
            ]
            what = f"no layer {selector!r}{nearest(selector, self._infos)}"
        if not found:
            raise CampaignError(f"the model has {what}", place=place, hint=LIST_HINT)
        return found

    def _variables(
        self, index: int, spec: GridSpec, layers: tuple[str, ...]
    ) -> Mapping[str | None, set[str]]:
        """Return the variables that have cells of their own, each with the dtypes that it holds.

        None stands for the outputs, or for all variables of the layers together.
        """
        if spec.target == OUTPUTS:
            return {None: {self._infos[layer].dtype for layer in layers}}
        known: dict[str, set[str]] = {}
        for layer in layers:
            for name, dtype in variable_dtypes(self._graph, layer).items():
                known.setdefault(name, set()).add(dtype)
        found: dict[str | None, set[str]] = {}
        for position, selector in enumerate(spec.variables):
            if selector == ALL:
                found[None] = set().union(*known.values())
                continue
            matching = [name for name in known if fnmatch.fnmatchcase(name, selector)]
            if not matching:
                raise CampaignError(
                    f"the layer {' + '.join(layers)!r} has no variable {selector!r}"
                    f"{nearest(selector, known)}",
                    place=self._campaign.place("grid", index, "variables", position),
                    hint=f"it has {', '.join(known)}",
                )
            found.update((name, known[name]) for name in matching)
        return found

    def _faults(self, index: int, spec: GridSpec) -> list[tuple[Fault, str]]:
        """Return the faults of a grid, each with the key of the grid that decides what it hits."""
        found = []
        for position, given in enumerate(spec.fault):
            with placed(self._campaign.place("grid", index, "fault", position)):
                found += self._of_type(given, spec.bits)
        if spec.bits is not None and all(key == "fault" for _, key in found):
            raise CampaignError(
                f"the fault {spec.fault[0].type} hits no bits",
                place=self._campaign.place("grid", index, "bits"),
                hint="leave `bits` out",
            )
        return found

    def _of_type(
        self, given: TypedSpec, bits: Iterable[int | str] | None
    ) -> list[tuple[Fault, str]]:
        """Return the faults of one type: a single one, or one for each of the grid's bits."""
        if not takes_bits(given.type, given.parameters, self._campaign.folder):
            return [(self._build(given), "fault")]
        if bits is None:
            raise CampaignError(
                f"the fault {given.type} hits bits, and the grid does not say which",
                hint="add `bits:`, numbers, ranges such as 23-30, random, sign, ...",
            )
        return [(self._build(given, bit), "bits") for bit in bits]

    def _build(self, given: TypedSpec, bit: int | str | None = None) -> Fault:
        field = ("any" if bit == "random" else bit) if isinstance(bit, str) else None
        try:
            return fault_registry.build(
                given.type,
                written_out(given.parameters),
                bit=bit if isinstance(bit, int) else None,
                bit_field=field,
                folder=self._campaign.folder,
            )
        except ValueError as error:
            text = str(error)
            named = text if text.startswith(given.type) else f"{given.type}: {text}"
            raise CampaignError(named) from error

    def _check(
        self, index: int, key: str, fault: Fault, scope: Scope, dtypes: Iterable[str]
    ) -> None:
        """See that a fault can happen to words of some dtypes."""
        for dtype in sorted(dtypes):
            try:
                fault.check(dtype)
            except ValueError as error:
                raise CampaignError(
                    f"the {scope.target} of the layer {scope.layer!r}: {error}",
                    place=self._campaign.place("grid", index, key),
                    hint="give layers or variables of another dtype a grid of their own",
                ) from error
