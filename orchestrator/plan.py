"""From a campaign file to a plan: model and data loaded, layers chosen, trials numbered."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass

from injecttf2 import bits, datasets, models
from injecttf2.datasets import Dataset, Preparation
from injecttf2.digest import model_digest
from injecttf2.errors import CampaignError
from injecttf2.faults import FAULTS, BitFlip
from injecttf2.golden import check_task
from injecttf2.graph import Graph, LayerInfo
from injecttf2.models import Portable
from injecttf2.suggest import nearest
from injecttf2.trials import Identity
from orchestrator.campaign import Campaign, GridSpec, LayerType
from orchestrator.grid import Grid, Product


@dataclass(frozen=True, eq=False)
class Plan:
    """All that is needed to run a campaign.

    Args:
        campaign: The campaign.
        identity: What the ids of its trials are made from.
        grid: Its trials.
        layers: What the model consists of.
        skipped: Layers that ``all``, a pattern or a type named but that cannot be injected.
        model: The model, ready to be sent.
        dataset: The data as the model takes them.
        graph: The model's graph, with the shapes that it has for these data.
    """

    campaign: Campaign
    identity: Identity
    grid: Grid
    layers: tuple[LayerInfo, ...]
    skipped: tuple[LayerInfo, ...]
    model: Portable
    dataset: Dataset
    graph: Graph

    @property
    def injections(self) -> float:
        """Injected samples to expect in all trials together."""
        samples = len(self.dataset)
        cells = (cell for _, cell in self.grid.cells())
        return self.grid.repetitions * samples * sum(cell.probability for cell in cells)


def make_plan(campaign: Campaign) -> Plan:
    """Load the model and the data and lay out the grid; TensorFlow must have been configured.

    Raises:
        UserError: The model, the data or the grid is wrong.
    """
    if campaign.model is None or campaign.dataset is None:
        raise CampaignError("a campaign needs a model and a dataset")
    portable, model = models.resolve(
        campaign.model.source,
        campaign.folder,
        weights=campaign.model.weights,
        input_shape=campaign.model.input_shape,
        classes=campaign.model.classes,
    )
    graph = Graph(model)
    dataset = _load_data(campaign, graph)
    graph = Graph(model, dataset.inputs.shape[1:])
    check_task(graph, dataset)
    chosen, skipped = _choose(campaign, graph.layers)
    return Plan(
        campaign=campaign,
        identity=Identity(model_digest(model), dataset.digest, campaign.seed),
        grid=Grid(chosen, repetitions=campaign.repetitions),
        layers=graph.layers,
        skipped=skipped,
        model=portable,
        dataset=dataset,
        graph=graph,
    )


def _load_data(campaign: Campaign, graph: Graph) -> Dataset:
    spec = campaign.dataset
    assert spec is not None  # noqa: S101 - checked by the caller
    return datasets.prepare(
        datasets.load(spec.source, campaign.folder),
        Preparation(samples=spec.samples, scale=spec.scale, mean=spec.mean, std=spec.std),
        shape=tuple(graph.input.shape[1:]),
        dtype=bits.numpy_dtype(graph.input.dtype),
    )


def _choose(
    campaign: Campaign, layers: tuple[LayerInfo, ...]
) -> tuple[list[tuple[str, list[Product]]], tuple[LayerInfo, ...]]:
    """Return what is injected into each layer, in the order of the model, and what is skipped."""
    products: dict[str, list[Product]] = {}
    skipped: dict[str, LayerInfo] = {}
    for index, spec in enumerate(campaign.grid):
        for position, selector in enumerate(spec.layers):
            place = campaign.place("grid", index, "layers", position)
            found = list(_select(selector, layers, place))
            for info in found:
                if info.reason is not None:
                    skipped[info.layer] = info
                    continue
                faults = _faults(campaign, index, info)
                product = Product(faults, spec.probabilities)
                products.setdefault(info.layer, []).append(product)
    if not products:
        raise CampaignError(
            "the grid is empty: none of the layers it names can be injected",
            place=campaign.place("grid"),
            hint="; ".join(f"{info.layer}: {info.reason}" for info in skipped.values()),
        )
    ordered = [(info.layer, products[info.layer]) for info in layers if info.layer in products]
    return ordered, tuple(skipped.values())


def _select(
    selector: str | LayerType, layers: tuple[LayerInfo, ...], place: str | None
) -> Iterator[LayerInfo]:
    """Yield the layers that a selector names: one by its name, or several that compute something.

    Raises:
        CampaignError: It names none, or one that cannot be injected.
    """
    computing = [info for info in layers if not info.is_input]
    if isinstance(selector, LayerType):
        found = [info for info in computing if info.type == selector.type]
        known = {info.type for info in computing}
        what = f"no layer of type {selector.type!r}{nearest(selector.type, known)}"
    elif selector == "all":
        found, what = computing, "no layer"
    else:
        exact = [info for info in layers if info.layer == selector]
        if exact and exact[0].reason is not None:
            raise CampaignError(
                f"the layer {selector!r} cannot be injected: {exact[0].reason}", place=place
            )
        found = exact or [i for i in computing if fnmatch.fnmatchcase(i.layer, selector)]
        names = [info.layer for info in layers]
        what = f"no layer {selector!r}{nearest(selector, names)}"
    if not found:
        raise CampaignError(
            f"the model has {what}",
            place=place,
            hint="`injecttf2 layers MODEL` lists what can be injected",
        )
    yield from found


def _faults(campaign: Campaign, index: int, info: LayerInfo) -> tuple[BitFlip, ...]:
    """Return the faults of a grid for one layer.

    Raises:
        CampaignError: A bit lies outside the layer's word.
    """
    spec: GridSpec = campaign.grid[index]
    fault = FAULTS[spec.fault]
    width = bits.LAYOUTS[info.dtype].width
    faults = []
    for bit in spec.bits:
        if isinstance(bit, str):
            faults.append(fault(bit_field="any" if bit == "random" else bit))
        elif bit < width:
            faults.append(fault(bit=bit))
        else:
            raise CampaignError(
                f"bit {bit} is outside the layer {info.layer!r}, which holds {info.dtype}; "
                f"expected 0 to {width - 1}",
                place=campaign.place("grid", index, "bits"),
                hint="give layers of another dtype a grid of their own",
            )
    return tuple(faults)
