"""From a campaign file to a plan: model and data loaded, layers chosen, trials numbered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from injecttf2 import datasets
from injecttf2.config.spelling import nearest
from injecttf2.datasets import Dataset, Preparation
from injecttf2.engine import GOLDEN_BYTES
from injecttf2.errors import CampaignError, placed
from injecttf2.evaluation import dependence, golden_run
from injecttf2.evaluation.chain import Chain
from injecttf2.evaluation.golden_cache import GoldenCache
from injecttf2.faults import registry as fault_registry
from injecttf2.graph.layer_info import LayerInfo
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.judging import Assessment, Output, output_kind, registry
from injecttf2.judging.names import Named
from injecttf2.judging.output_kind import OutputKind
from injecttf2.judging.probabilities import gives_logits
from injecttf2.judging.registry import AssessmentSpec
from injecttf2.models import loading
from injecttf2.models.digest import model_digest
from injecttf2.models.inputs import model_inputs
from injecttf2.models.keras_settings import KerasSettings
from injecttf2.models.portable import Model, PortableModel
from injecttf2.trial import WEIGHTS, Cell, Identity, cell_id
from injecttf2.user_code.files import Code
from orchestrator.campaign.campaign import Campaign
from orchestrator.campaign.component_spec import ComponentSpec
from orchestrator.campaign.sources import DatasetSpec, ModelSpec
from orchestrator.planning.adaptive_sampling import AdaptiveSampling
from orchestrator.planning.allocation import allot
from orchestrator.planning.pools import Pool, check_pools, is_adaptive, pools_of
from orchestrator.planning.sampling_plan import SamplingPlan
from orchestrator.planning.selection import TargetSelector
from orchestrator.planning.trial_grid import Grid, Group
from results.analysis.summary import MEASURED


class TrialRange(NamedTuple):
    """How many trials a plan with a precision has.

    Args:
        at_least: If every cell, layer or the network has enough at the first look.
        at_most: If all go on to the last.
        fixed: In a plan that gives each the sample size of Leveugle et al. (DATE 2009); None for a
            relative precision, which has no such size.
    """

    at_least: int
    at_most: int
    fixed: int | None


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
        sampling: Says how many trials each cell gets.
        assessment: What is asked of outputs.
        sent_assessment: The same, ready to be sent.
        outputs: What the model's outputs are taken for; None where nothing depends on it.
        code: The user's own code of what the campaign names, by the name that it has there.
        lists: How fault lists of other tools were read, a line each.
    """

    campaign: Campaign
    identity: Identity
    grid: Grid
    layers: tuple[LayerInfo, ...]
    skipped: tuple[LayerInfo, ...]
    model: PortableModel
    dataset: Dataset
    graph: ModelGraph
    sampling: SamplingPlan
    assessment: Assessment
    sent_assessment: AssessmentSpec
    outputs: OutputKind | None
    code: Mapping[str, Code]
    lists: tuple[str, ...] = ()

    @property
    def injections(self) -> float:
        """Injected samples to expect in all trials together."""
        return sum(trials * self.hits(cell) for cell, trials in self.cells())

    def cells(self, group: Group | None = None) -> Iterator[tuple[Cell, int]]:
        """Yield each cell, of a group or of all, with the trials that it gets at most.

        Those that get theirs together have what they would in proportion to their sites.
        """
        for cell, trials in self.grid.cells(group):
            yield cell, self._parts.get(cell, trials)

    @property
    def trials(self) -> int:
        """How many trials there are at most."""
        span = self.trial_range()
        return len(self.grid) if span is None else span.at_most

    def hits(self, cell: Cell) -> float:
        """Return how many samples a trial of a cell is expected to hit."""
        return len(self.dataset) if cell.target == WEIGHTS else self.sampling.units(cell)

    def skipped_lines(self) -> Iterator[str]:
        """Yield which layers are left out, a line a reason."""
        by_reason: dict[str | None, list[str]] = {}
        for info in self.skipped:
            by_reason.setdefault(info.reason, []).append(info.layer)
        for reason, layers in by_reason.items():
            joined = ", each because " if len(layers) > 1 else ": "
            yield f"skipping {', '.join(layers)}{joined}{reason}"

    def reading_lines(self) -> Iterator[str]:
        """Yield how the model's outputs, the data and fault lists are read, and why."""
        if self.outputs is not None:
            yield f"the model's outputs are {self.outputs.kind}: {self.outputs.reason}"
        yield f"data: {self.dataset.told}"
        yield from self.lists

    def new_looks(self) -> AdaptiveSampling | None:
        """Return the looks at the cells, before any trial is done; None without a precision."""
        if self.campaign.precision is None:
            return None
        return AdaptiveSampling(
            self._pools,
            self.identity,
            self.campaign.precision,
            lambda pool: self.sampling.looks(*(member.cell for member in pool)),
            self.sampling.places,
        )

    def trial_range(self) -> TrialRange | None:
        """Return how many trials there are at least, at most, and in a plan of one size for all.

        None without a precision, or cells that go on until they are known.
        """
        precision, samples = self.campaign.precision, len(self.dataset)
        if precision is None or not self._pools:
            return None
        others = sum(trials for cell, trials in self.grid.cells() if not is_adaptive(cell))
        at_least = at_most = fixed = others
        for pool in self._pools:
            cells = [member.cell for member in pool]
            looks = self.sampling.looks(*cells)
            at_least, at_most = at_least + looks[0], at_most + looks[-1]
            population = sum(map(self.sampling.places, cells))
            population *= 1 if cells[0].target == WEIGHTS else samples
            fixed += precision.fixed(min(map(self.sampling.units, cells)), population)
        return TrialRange(at_least, at_most, fixed if precision.half_width else None)

    def sites(self) -> dict[str, int]:
        """Return by how many sites cells count in the rate of a layer or the network, by id."""
        if self.campaign.precision is None or not self.campaign.precision.pools:
            return {}
        cells = (member.cell for pool in self._pools for member in pool)
        return {str(cell_id(self.identity, cell)): self.sampling.places(cell) for cell in cells}

    def exhaustive(self) -> dict[str, int]:
        """Return the number of trials of each cell that goes through every site, by its id."""
        return {
            str(cell_id(self.identity, cell)): trials
            for cell, trials in self.grid.cells()
            if cell.rate.sampling == "exhaustive"
        }

    @cached_property
    def _pools(self) -> list[Pool]:
        precision = self.campaign.precision
        return [] if precision is None else pools_of(self.grid, precision)

    @cached_property
    def _parts(self) -> dict[Cell, int]:
        """Trials of cells that get them together, if they get all and by their sites."""
        precision = self.campaign.precision
        if precision is None or not precision.pools:
            return {}
        found: dict[Cell, int] = {}
        for pool in self._pools:
            cells = [member.cell for member in pool]
            least = np.full(len(cells), precision.minimum, np.int64)
            sites = np.array([self.sampling.places(cell) for cell in cells], np.float64)
            most = allot(self.sampling.looks(*cells)[-1], least, sites)
            found.update(zip(cells, most.tolist(), strict=True))
        return found

    @cached_property
    def _infos(self) -> dict[str, LayerInfo]:
        return {info.layer: info for info in self.layers}


def make_plan(campaign: Campaign, stage: Callable[[str], None] = lambda _: None) -> Plan:
    """Load the model and the data and lay out the grid; TensorFlow must have been configured.

    Keras' settings are those of the model then.

    Args:
        campaign: The campaign.
        stage: Hears what is done next.

    Raises:
        UserError: The model, the data or the grid is wrong.
    """
    if campaign.model is None or campaign.dataset is None:
        raise CampaignError("a campaign needs a model and a dataset")
    stage("loading the model")
    with placed(campaign.place("model")):
        portable, model = _load_model(campaign, campaign.model)
    keras_settings = KerasSettings.current()
    stage("loading the data")
    with placed(campaign.place("dataset")):
        loaded = _load_data(campaign, campaign.dataset, model)
    stage("tracing the model")
    graph = ModelGraph.of(model, loaded.inputs, output=campaign.judge.output)
    with placed(campaign.place("model")):
        dependence.check(graph, loaded)
    asked = _asked(campaign, graph, loaded)
    assessment, dataset = asked.assessment, asked.dataset
    _check_metric(campaign, assessment)
    keras_settings.apply()  # not what modules of data and judge have set: workers do not see that
    identity = Identity(
        model_digest(model, graph),
        dataset.digest,
        campaign.seed,
        judge=assessment.identity(),
        code=(portable.code | asked.sent.parcel.code).digest,
    )
    sampling = SamplingPlan(campaign, graph, len(dataset))
    chosen = TargetSelector(campaign, graph, sampling, len(dataset)).choose()
    if not chosen.products:
        raise CampaignError(
            "the grid is empty: none of the layers it names can be injected",
            place=campaign.place("grid"),
            hint="; ".join(f"{info.layer}: {info.reason}" for info in chosen.skipped.values()),
        )
    grid = Grid(chosen.ordered(graph.layers))
    check_pools(grid, campaign, graph)
    code = {"model": portable.code, **asked.sent.references}
    for fault in grid.faults:
        code.update(fault_registry.own_code(fault))
    return Plan(
        campaign=campaign,
        identity=identity,
        grid=grid,
        layers=graph.layers,
        skipped=tuple(chosen.skipped.values()),
        model=portable,
        dataset=dataset,
        graph=graph,
        sampling=sampling,
        assessment=assessment,
        sent_assessment=asked.sent,
        outputs=asked.outputs,
        code=code,
        lists=tuple(chosen.lists),
    )


def _load_model(campaign: Campaign, spec: ModelSpec) -> tuple[PortableModel, Model]:
    """Return the model, ready to be sent, and itself."""
    if (given := campaign.held("model")) is not None:
        return loading.held(given, spec.source)
    return loading.resolve(
        spec.source,
        campaign.folder,
        weights=spec.weights,
        input_shape=spec.input_shape,
        classes=spec.classes,
        signature=spec.signature,
    )


def _load_data(campaign: Campaign, spec: DatasetSpec, model: Model) -> Dataset:
    """Return the data as the model takes them, with labels as they were loaded."""
    named = spec.preprocess  # a wrong name is told before the data are read
    how = Preparation(
        samples=spec.samples,
        scale=spec.scale,
        mean=spec.mean,
        std=spec.std,
        preprocess=datasets.preprocessing(named, campaign.folder) if named else None,
    )
    taken, given = model_inputs(model), campaign.held("dataset")
    if given is not None:
        raw = datasets.held(given, taken, samples=spec.samples, place=spec.source)
    else:
        raw = datasets.load(
            spec.source, taken, folder=campaign.folder, samples=spec.samples, images=spec.images
        )
    return datasets.prepare(raw, how, model_inputs(model, raw.inputs), labels=lambda labels: labels)


class _Asked(NamedTuple):
    """What is asked of outputs.

    Args:
        assessment: The judge, metrics and criteria.
        sent: The same, ready to be sent.
        dataset: The data with labels as the judge takes them.
        outputs: What the model's outputs are taken for; None where nothing depends on it.
    """

    assessment: Assessment
    sent: AssessmentSpec
    dataset: Dataset
    outputs: OutputKind | None


def _asked(campaign: Campaign, graph: ModelGraph, loaded: Dataset) -> _Asked:
    """Return what is asked of outputs, and find out what they are if it depends on that."""
    judge = _named(campaign.judge, campaign.place("judge"))
    metrics = [
        _named(one, campaign.place("metrics", at)) for at, one in enumerate(campaign.metrics)
    ]
    criteria = [
        _named(one, campaign.place("criteria", at)) for at, one in enumerate(campaign.criteria)
    ]
    output = Output(graph.output_shape, graph.output.dtype.name)
    raw = datasets.labels_of(loaded.labels, graph.output_index, graph.output_slots)

    operation = graph.output_operation

    def asked(kind: OutputKind | None, *, logits: bool) -> _Asked:
        sent, assessment = registry.resolve(
            judge, metrics, criteria, logits=logits, folder=campaign.folder
        )
        dataset = replace(loaded, labels=assessment.labels(raw, output))
        return _Asked(assessment, sent, dataset, kind)

    # What the last operation says stays where nothing depends on it, and so do ids.
    first = asked(None, logits=(supposed := gives_logits(operation)))
    parts = first.assessment.reading_logits(output)
    if not parts:
        return first
    cache = GoldenCache(Chain(graph, len(loaded), GOLDEN_BYTES), loaded, GOLDEN_BYTES)
    with placed(judge.place):
        kind = output_kind.stated(
            campaign.judge.outputs, [judge, *metrics, *criteria]
        ) or output_kind.decide(golden_run.outputs(cache), operation, parts)
    logits = kind.kind == "logits"
    if all(getattr(part, "logits", supposed) == logits for part in parts):
        return first._replace(outputs=kind)
    return asked(kind, logits=logits)


def _check_metric(campaign: Campaign, assessment: Assessment) -> None:
    """See that a precision asks for a rate that is counted."""
    precision = campaign.precision
    criteria = [f"sdc_{criterion.name}" for criterion in assessment.criteria]
    known = [*MEASURED, *criteria]
    if precision is not None and precision.metric not in known:
        raise CampaignError(
            f"metric: received {precision.metric!r}{nearest(precision.metric, known)}",
            place=campaign.place("precision", "metric"),
            hint=f"expected {', '.join(known)}, or sdc_NAME of one of the criteria",
        )


def _named(spec: ComponentSpec, place: str | None) -> Named:
    return Named(spec.type, spec.parameters, place)
