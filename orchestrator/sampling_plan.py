"""How many trials each cell of a grid gets: the sampling plan of a campaign."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from injecttf2.errors import CampaignError
from injecttf2.fault_model import Fault
from injecttf2.graph import Graph, LayerInfo
from injecttf2.listed import Listed
from injecttf2.rates import RATES as RATE_TYPES
from injecttf2.rates import BitErrorRate, Count, Exhaustive, Rate
from injecttf2.sites import Choice, share_hit
from injecttf2.trials import OUTPUTS, WEIGHTS, Cell, Scope
from injecttf2.weights import weights_of
from orchestrator.campaign import Campaign
from orchestrator.grid import Product
from orchestrator.grid_spec import GridSpec

RATE_KEYS = {"probabilities": "probability", "counts": "count", "bers": "ber"}
"""Keys of a grid, and the names of the rates that they list."""

EXHAUSTIVE_LIMIT = 100_000_000
"""Injections of an exhaustive grid that need no leave."""

Population = Sequence[tuple[int, Choice]]
"""Elements, of one sample or of variables, and what may be hit within one."""


def units(cell: Cell, infos: Mapping[str, LayerInfo], samples: int) -> float:
    """Return how many independent injections a trial of a cell is expected to have.

    In outputs that are the samples that it hits; a fault in weights is one, whatever the samples.

    Args:
        cell: The cell.
        infos: The model's layers by address.
        samples: Samples in the data set.
    """
    if cell.target == WEIGHTS:
        return 1.0
    if isinstance(cell.rate, Listed):
        return cell.rate.samples
    spared = 1.0
    for info in (infos[layer] for layer in cell.scope.layers):
        choice = cell.fault.choice(info.dtype)
        elements = info.elements or 1
        spared *= 1 - share_hit(cell.rate, choice, samples=samples, elements=elements)
    return samples * (1 - spared)


class SamplingPlan:
    """Makes the products of a grid for a scope.

    Args:
        campaign: The campaign.
        graph: Its model.
        samples: Samples in its data set.
    """

    def __init__(self, campaign: Campaign, graph: Graph, samples: int) -> None:
        self._campaign = campaign
        self._graph = graph
        self._samples = samples
        self._infos: Mapping[str, LayerInfo] = {info.layer: info for info in graph.layers}

    def products(
        self,
        index: int,
        scope: Scope,
        variables: Sequence[str | None],
        faults: Sequence[Fault],
    ) -> list[Product]:
        """Return the cells of a scope with their numbers of trials.

        Args:
            index: Which of the campaign's grids.
            scope: What is corrupted.
            variables: Weight variables; None for all together, and for outputs.
            faults: Fault models that fit them.

        Raises:
            CampaignError: There are fewer sites than a rate asks for, or more than may be gone
                through.
        """
        spec = self._campaign.grid[index]
        if spec.exhaustive:
            return self._exhaustive(index, scope, variables, faults)
        rates = _rates(spec)
        for variable in variables:
            for fault in faults:
                for population in populations(self._graph, scope, variable, fault):
                    self._check_rates(index, fault, rates, scope, population)
        paired, repetitions = self._campaign.paired, self._campaign.repetitions
        if self._campaign.precision is not None:
            return self._precise(scope, variables, faults, rates)
        return [Product(tuple(faults), rates, tuple(variables), repetitions, paired)]

    def _precise(
        self,
        scope: Scope,
        variables: Sequence[str | None],
        faults: Sequence[Fault],
        rates: Sequence[Rate],
    ) -> list[Product]:
        """Return products in which a cell has as many trials as it gets at most."""
        precision, paired = self._campaign.precision, self._campaign.paired
        assert precision is not None  # noqa: S101 - by the caller
        found: dict[tuple[Rate, int], list[Fault]] = {}
        for rate in rates:
            for fault in faults:
                cell = Cell(scope.layer, fault, rate, scope.target)
                looks = precision.looks(units(cell, self._infos, self._samples))
                found.setdefault((rate, looks[-1]), []).append(fault)
        return [
            Product(tuple(same), (rate,), tuple(variables), trials, paired)
            for (rate, trials), same in found.items()
        ]

    def _exhaustive(
        self,
        index: int,
        scope: Scope,
        variables: Iterable[str | None],
        faults: Sequence[Fault],
    ) -> list[Product]:
        """Return products in which a cell has a trial for each of its places."""
        place = self._campaign.place("grid", index, "exhaustive")
        found: dict[tuple[str | None, int], list[Fault]] = {}
        for variable in variables:
            for fault in faults:
                (population,) = populations(self._graph, scope, variable, fault)
                if any(choice.draws for _, choice in population):
                    raise CampaignError(
                        f"the fault {fault.name} is drawn by chance, so its sites cannot be gone "
                        "through",
                        place=place,
                        hint="give it a grid of its own with a rate",
                    )
                places = sum(elements * choice.places for elements, choice in population)
                found.setdefault((variable, places), []).append(fault)
        return [
            Product(tuple(same), (Exhaustive(),), (variable,), places)
            for (variable, places), same in found.items()
        ]

    def check_size(self, index: int, products: Iterable[Product]) -> None:
        """See that an exhaustive grid is not larger than what is allowed.

        Args:
            index: Which of the campaign's grids.
            products: Its products in all scopes.

        Raises:
            CampaignError: It is.
        """
        exhaustive = self._campaign.grid[index].exhaustive
        injections = sum(product.trials for product in products) * self._samples
        if exhaustive and injections > (EXHAUSTIVE_LIMIT if exhaustive is True else exhaustive):
            limit = EXHAUSTIVE_LIMIT if exhaustive is True else exhaustive
            raise CampaignError(
                f"every site once is {injections:,} injections; expected {limit:,} at most",
                place=self._campaign.place("grid", index, "exhaustive"),
                hint=f"take fewer layers, bits or samples, or allow it: `exhaustive: {injections}`",
            )

    def _check_rates(
        self, index: int, fault: Fault, rates: Iterable[Rate], scope: Scope, population: Population
    ) -> None:
        """See that there are as many sites as rates ask for."""
        total = sum(elements * choice.sites for elements, choice in population)
        if scope.target == OUTPUTS:
            total *= self._samples
        for rate in rates:
            if isinstance(rate, BitErrorRate) and not population[0][1].one_bit:
                raise CampaignError(
                    f"the fault {fault.name} changes whole words, of which no bit error rate "
                    "can be had",
                    place=self._campaign.place("grid", index, "bers"),
                    hint="give `counts` or `probabilities`",
                )
            if isinstance(rate, Count) and rate.value > total:
                raise CampaignError(
                    f"received a count of {rate.value:,}; there are {total:,} sites",
                    place=self._campaign.place("grid", index, "counts"),
                    hint="give a smaller count, or layers that are larger a grid of their own",
                )


def populations(graph: Graph, scope: Scope, variable: str | None, fault: Fault) -> list[Population]:
    """Return what a trial draws its sites from, of one sample or of weights.

    Args:
        graph: The model.
        scope: What is corrupted.
        variable: Weight variable; None for all together, and for outputs.
        fault: The fault model.

    Returns:
        One for each layer that is hit in outputs; one for weights.
    """
    if scope.target == OUTPUTS:
        infos = (graph.info(layer) for layer in scope.layers)
        return [[(info.elements or 1, fault.choice(info.dtype))] for info in infos]
    weights = [one for layer in scope.layers for one in weights_of(graph, layer)]
    named = [one for one in weights if variable in (None, one.name)]
    return [[(one.elements, fault.choice(one.dtype)) for one in named]]


def _rates(spec: GridSpec) -> tuple[Rate, ...]:
    """Return the rates of a grid."""
    for key, name in RATE_KEYS.items():
        values = getattr(spec, key)
        if values is not None:
            return tuple(RATE_TYPES[name](value) for value in values)
    raise ValueError("a grid without a rate is refused by its schema")
