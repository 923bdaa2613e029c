"""What can be told of a campaign before TensorFlow is loaded, which takes seconds.

Here is refused what planning would refuse certainly, in its words: files that are not there or are
something else, arrays that do not fit or hold NaN, names that nothing has, layers that a model
does not have, bits that its words do not have. What is not certain, planning finds; so it is of
faults where code of a user's is named, which may give others their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from injecttf2 import datasets
from injecttf2.config.applications import APPLICATIONS, check_application
from injecttf2.config.paths import on_disk
from injecttf2.errors import CampaignError, DatasetError, FaultError, ModelError, UserError, placed
from injecttf2.faults import registry as fault_registry
from injecttf2.graph.layer_info import NO_WEIGHTS
from injecttf2.judging.names import KNOWN, check_name, parsed_name
from injecttf2.models import model_files
from injecttf2.models.builtin import SCHEME, builtin
from injecttf2.models.digits_cnn import kept_files
from injecttf2.models.file_layers import SEPARATORS, FileLayer, FileModelLayers, layers_in
from injecttf2.models.keras2_files import config_of
from injecttf2.protections import registry as protection_registry
from injecttf2.trial import WEIGHTS
from injecttf2.user_code.references import check_module, installed, is_function
from orchestrator.campaign.campaign import Campaign
from orchestrator.campaign.grid import ALL, GridSpec, LayerType
from orchestrator.campaign.paths import is_in_memory
from orchestrator.planning.fault_entries import written_out
from orchestrator.planning.grid_faults import check_dtype, faults_of
from orchestrator.planning.naming import named, names_none, not_injected


def look(campaign: Campaign) -> None:
    """Refuse a campaign that planning would refuse, as far as that is certain.

    Raises:
        UserError: The model, the data or the grid is wrong.
    """
    model, dataset = campaign.model, campaign.dataset
    if model is None or dataset is None:
        return
    known = None
    if campaign.held("model") is None:
        with placed(campaign.place("model")):
            known = look_at_model(model.source, campaign.folder)
    if campaign.held("dataset") is None:
        with placed(campaign.place("dataset")):
            if (preprocess := dataset.preprocess or "").startswith(APPLICATIONS):
                check_application(preprocess.removeprefix(APPLICATIONS), DatasetError)
            datasets.check(
                dataset.source,
                dataset.samples,
                None if known is None else known.inputs,
                raw=dataset.preprocess is None,
            )
    for part in _judging(campaign):
        with placed(part.place):
            check_name(part.what, part.name)
    own = [*_own(campaign, known)]
    for first in own[:1]:  # what it runs may let Python find others
        with placed(first.place):
            if is_function(first.name) and not is_in_memory(first.name):
                check_module(first.name, campaign.folder, first.error)
    for index, spec in enumerate(campaign.grid):
        _look_at_protections(campaign, index, spec)
        if spec.sites is None:
            layers = () if known is None else known.layers
            _look_at_grid(campaign, index, spec, layers, alone=not own)


def look_at_model(source: str, folder: Path) -> FileModelLayers | None:
    """Return what the file of a model tells of it; None where that is not enough.

    Args:
        source: A reference to the model.
        folder: Where a module is looked up before the Python path.

    Raises:
        ModelError: There is no such model, or its file is no model's.
    """
    files: Sequence[Path] = []
    if source.startswith(SCHEME):
        builtin(source.removeprefix(SCHEME))
        files = kept_files()
    elif source.startswith(APPLICATIONS):
        check_application(source.removeprefix(APPLICATIONS), ModelError)
    elif is_function(source):
        check_module(source, folder, ModelError)
    else:
        path = on_disk(Path(source))
        files = [] if path.is_dir() else [path]  # a SavedModel has no layers
    return layers_in(config_of(model_files.read(files[0])[0])) if files else None


class _Part(NamedTuple):
    """Something that a campaign names.

    Args:
        what: What it is.
        name: Its name.
        place: Where it is named.
        error: What planning raises where there is none.
    """

    what: str
    name: str
    place: str | None
    error: type[UserError]


def _judging(campaign: Campaign) -> Iterator[_Part]:
    """Yield judge, metrics and criteria, in planning's order."""
    yield _Part("judge", campaign.judge.type, campaign.place("judge"), CampaignError)
    for what, key in (("metric", "metrics"), ("criterion", "criteria")):
        for at, one in enumerate(getattr(campaign, key)):
            yield _Part(what, one.type, campaign.place(key, at), CampaignError)


def _own(campaign: Campaign, known: FileModelLayers | None) -> Iterator[_Part]:
    """Yield what may run code of a user's, in the order in which planning does."""
    model, dataset = campaign.model, campaign.dataset
    assert model is not None and dataset is not None  # noqa: PT018, S101 - `look` has seen to it
    source = model.source
    is_library = source.startswith((SCHEME, APPLICATIONS)) or on_disk(Path(source)).is_dir()
    if not is_library and (known is None or not known.is_library):
        yield _Part("model", source, campaign.place("model"), ModelError)
    for name in filter(None, (dataset.preprocess, dataset.source)):
        held = campaign.held("dataset") is not None and name == dataset.source
        if not name.startswith(APPLICATIONS) and (
            held or is_function(name) or ("/" not in name and installed("datasets", name))
        ):
            yield _Part("dataset", name, campaign.place("dataset"), DatasetError)
    for part in _judging(campaign):
        if parsed_name(part.name, KNOWN[part.what]) is None:
            yield part
    for index, spec in enumerate(campaign.grid):
        for at, one in enumerate(spec.fault):
            place = campaign.place("grid", index, "fault", at)
            for name in _fault_names(one.type, one.parameters):
                if fault_registry.is_own(name):
                    yield _Part("fault", name, place, FaultError)


def _fault_names(name: str, parameters: Mapping[str, Any]) -> Iterator[str]:
    """Yield the name of a fault, and those of the faults of a mixture."""
    yield name
    entries = written_out(parameters).get("faults") if name == "mixture" else None
    for one in entries if isinstance(entries, list) else ():
        if isinstance(one, dict) and isinstance(one.get("fault"), str):
            inner = one.get("parameters")
            yield from _fault_names(one["fault"], inner if isinstance(inner, dict) else {})


def _look_at_protections(campaign: Campaign, index: int, spec: GridSpec) -> None:
    """See that there are the protections of a grid."""
    for at, one in enumerate(spec.protections):
        with placed(campaign.place("grid", index, "protections", at)):
            protection_registry.check_name(one.type)


def _look_at_grid(
    campaign: Campaign, index: int, spec: GridSpec, layers: Sequence[FileLayer], *, alone: bool
) -> None:
    """Look at a grid.

    Args:
        campaign: The campaign.
        index: Which of its grids.
        spec: That grid.
        layers: Those of the model; none where they are not known.
        alone: Whether no code of a user's is run.
    """
    found: list[FileLayer] = []
    for position, selector in enumerate(spec.layers):
        those = named(selector, layers)
        if layers and not those and not _may_name(selector, layers):
            raise names_none(selector, layers, campaign.place("grid", index, "layers", position))
        if spec.target == WEIGHTS and [one.layer for one in those if one.is_weightless] == [
            selector
        ]:
            place = campaign.place("grid", index, "layers", position)
            raise not_injected(str(selector), NO_WEIGHTS, place)
        found += those
    names = {name for one in spec.fault for name in _fault_names(one.type, one.parameters)}
    if not alone and not names <= {*fault_registry.BUILTIN}:
        return  # a user's code is run with TensorFlow only, and may give a fault its name
    faults = faults_of(campaign, index, spec)
    if spec.layers_together or spec.variables != (ALL,):
        return
    for layer, (fault, key) in product(found, faults):
        if (dtype := dict(layer.dtypes).get(spec.target)) is not None:
            what = f"the {spec.target} of the layer {layer.layer!r}"
            check_dtype(fault, dtype, what, campaign.place("grid", index, key))


def _may_name(selector: str | LayerType, layers: Sequence[FileLayer]) -> bool:
    """Return whether a selector may name a layer that a file does not tell."""
    if selector == ALL:
        return True
    if isinstance(selector, LayerType):
        return not all(one.is_library for one in layers)
    fixed = re.split(r"[*?\[]", selector, maxsplit=1)[0]
    begins = [one.layer + mark for one in layers if not one.is_whole for mark in SEPARATORS]
    return any(
        fixed.startswith(one) or (fixed != selector and one.startswith(fixed)) for one in begins
    )
