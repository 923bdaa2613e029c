"""How many trials each cell of a grid gets: the sampling plan of a campaign."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from injecttf2.errors import CampaignError
from injecttf2.faults.fault_model import Fault
from injecttf2.faults.listed import FromFaultList
from injecttf2.graph.layer_info import LayerInfo
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.graph.weights import weights_in
from injecttf2.sampling.rates import RATES as RATE_TYPES
from injecttf2.sampling.rates import DrawnRate, Exhaustive, Rate
from injecttf2.sampling.sites import Choice
from injecttf2.trial import OUTPUTS, WEIGHTS, Cell, Scope
from orchestrator.campaign.campaign import Campaign
from orchestrator.campaign.grid import GridSpec
from orchestrator.planning.trial_grid import Product

RATE_KEYS = {"probabilities": "probability", "counts": "count", "bers": "ber"}

RATE_HINTS = {
    "counts": "give a smaller count, or layers that are larger a grid of their own",
    "bers": "give `counts` or `probabilities`",
}
"""What to do where there are not the sites that a rate asks for."""
"""Keys of a grid, and the names of the rates that they list."""

EXHAUSTIVE_LIMIT = 100_000_000
"""Injections of an exhaustive grid that need no leave."""

MOST_TRIALS = 2**31
"""Trials that a cell can number."""

Population = Sequence[tuple[int, Choice]]
"""Elements, of one sample or of variables, and what may be hit within one."""


class SamplingPlan:
    """Says how many trials each cell gets.

    Args:
        campaign: The campaign.
        graph: Its model.
        samples: Samples in its data set.
    """

    def __init__(self, campaign: Campaign, graph: ModelGraph, samples: int) -> None:
        self._campaign = campaign
        self._graph = graph
        self._samples = samples
        self._infos: Mapping[str, LayerInfo] = {info.layer: info for info in graph.layers}
        self._populations: dict[tuple[Scope, str | None, Fault], Sequence[Population]] = {}
        self._looks: dict[tuple[float, int], tuple[int, ...]] = {}

    def product(
        self,
        index: int,
        scope: Scope,
        variables: Sequence[str | None],
        faults: Sequence[Fault],
    ) -> Product:
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
                for population in self.populations(scope, variable, fault):
                    self._check_rates(index, fault, rates, scope, population)
        paired, repetitions = self._campaign.paired, self._campaign.repetitions
        if self._campaign.precision is None:
            return Product(tuple(faults), rates, tuple(variables), repetitions, paired)
        self._check_looks(index, scope, faults, rates)
        return Product(tuple(faults), rates, tuple(variables), self.most_trials, paired)

    def looks(self, *cells: Cell) -> tuple[int, ...]:
        """Return after how many trials a cell, or several together, are looked at.

        The last is all that they may get.
        """
        precision = self._campaign.precision
        assert precision is not None  # noqa: S101 - by the callers
        key = min(map(self.units, cells)), len(cells)
        if key not in self._looks:
            self._looks[key] = precision.looks(*key)
        return self._looks[key]

    def most_trials(self, cell: Cell) -> int:
        """Return how many trials a cell may get, also if it is looked at with others."""
        return self.looks(cell)[-1]

    def _check_looks(
        self, index: int, scope: Scope, faults: Iterable[Fault], rates: Iterable[Rate]
    ) -> None:
        """See that no cell may take more trials than can be numbered."""
        precision = self._campaign.precision
        assert precision is not None  # noqa: S101 - by the caller
        for rate in rates:
            most = max(self.most_trials(Cell(scope, fault, rate)) for fault in faults)
            if most >= MOST_TRIALS:
                key = next(key for key, name in RATE_KEYS.items() if name == rate.name)
                drawn = scope.target == OUTPUTS
                raise CampaignError(
                    f"the {rate.name} {rate.value:g} would take up to {most:,} trials until the "
                    f"rate of {precision.whose} is known that well; expected fewer than "
                    f"{MOST_TRIALS:,}",
                    place=self._campaign.place("grid", index, key),
                    hint="give the precision a `maximum` or a wider interval"
                    + (", or cells that hit more samples" if drawn else ""),
                )

    def _exhaustive(
        self, index: int, scope: Scope, variables: Sequence[str | None], faults: Sequence[Fault]
    ) -> Product:
        """Return a product in which a cell has a trial for each of its places."""
        for variable in variables:
            for fault in faults:
                (population,) = self.populations(scope, variable, fault)
                if any(choice.draws for _, choice in population):
                    raise CampaignError(
                        f"the fault {fault.name} is drawn by chance, so its sites cannot be gone "
                        "through",
                        place=self._campaign.place("grid", index, "exhaustive"),
                        hint="give it a grid of its own with a rate",
                    )
        return Product(tuple(faults), (Exhaustive(),), tuple(variables), self.places)

    def places(self, cell: Cell) -> int:
        """Return how many places a cell has that a fault may fall on, in one sample or weights."""
        return sum(
            elements * choice.places
            for population in self.populations(cell.scope, cell.variable, cell.fault)
            for elements, choice in population
        )

    def populations(self, scope: Scope, variable: str | None, fault: Fault) -> Sequence[Population]:
        """Return what a trial draws its sites from, of one sample or of weights.

        Args:
            scope: What is corrupted.
            variable: Weight variable; None for all together, and for outputs.
            fault: The fault model.

        Returns:
            One for each layer that is hit in outputs; one for weights.
        """
        key = scope, variable, fault
        if key not in self._populations:
            self._populations[key] = self._population(scope, variable, fault)
        return self._populations[key]

    def _population(self, scope: Scope, variable: str | None, fault: Fault) -> Sequence[Population]:
        if scope.target == OUTPUTS:
            infos = (self._infos[layer] for layer in scope.layers)
            return [[(info.elements or 1, fault.choice(info.dtype))] for info in infos]
        weights = weights_in(self._graph, scope.layers)
        named = [one for one in weights if variable in (None, one.name)]
        return [[(one.elements, fault.choice(one.dtype)) for one in named]]

    def units(self, cell: Cell) -> float:
        """Return how many independent injections a trial of a cell is expected to have.

        In outputs that are the samples that it hits; a fault in weights is one, whatever the
        samples.
        """
        if cell.target == WEIGHTS:
            return 1.0
        if isinstance(cell.rate, FromFaultList):
            return cell.rate.samples
        shares = [
            cell.rate.share_hit(self._samples, elements * choice.sites)
            for ((elements, choice),) in self.populations(cell.scope, None, cell.fault)
        ]
        if len(shares) == 1:
            return self._samples * shares[0]
        return self._samples * (1 - math.prod(1 - share for share in shares))

    def sites(self, cell: Cell) -> float:
        """Return how many sites a trial of a cell is expected to have."""
        samples = 1 if cell.target == WEIGHTS else self._samples
        return sum(
            cell.rate.expected_sites(samples, elements * choice.sites)
            for layer in self.populations(cell.scope, cell.variable, cell.fault)
            for elements, choice in layer
        )

    def check_size(self, index: int, products: Mapping[Scope, Product]) -> None:
        """See that an exhaustive grid is not larger than what is allowed.

        Args:
            index: Which of the campaign's grids.
            products: Its products.

        Raises:
            CampaignError: It is.
        """
        exhaustive = self._campaign.grid[index].exhaustive
        if not exhaustive:
            return
        limit = EXHAUSTIVE_LIMIT if exhaustive is True else exhaustive
        cells = (
            product.cell(scope, number)
            for scope, product in products.items()
            for number in range(len(product))
        )
        injections = sum(map(self.places, cells)) * self._samples
        if injections > limit:
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
            if not isinstance(rate, DrawnRate):
                continue
            try:
                rate.check(total, one_bit=population[0][1].one_bit)
            except ValueError as error:
                key = next(key for key, name in RATE_KEYS.items() if name == rate.name)
                place = self._campaign.place("grid", index, key)
                message = f"the fault {fault.name}: {error}"
                raise CampaignError(message, place=place, hint=RATE_HINTS.get(key)) from error


def _rates(spec: GridSpec) -> tuple[Rate, ...]:
    """Return the rates of a grid."""
    for key, name in RATE_KEYS.items():
        values = getattr(spec, key)
        if values is not None:
            return tuple(RATE_TYPES[name](value) for value in values)
    raise ValueError("a grid without a rate is refused by its schema")
