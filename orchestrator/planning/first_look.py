"""What can be told of a campaign before TensorFlow is loaded, which takes seconds.

Here is refused what planning would refuse certainly, in its words: files that are not there or are
something else, arrays that do not fit, layers that a model does not have, bits that its words do
not have. What is not certain, planning finds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from injecttf2 import datasets
from injecttf2.config.applications import APPLICATIONS
from injecttf2.config.paths import on_disk
from injecttf2.errors import placed
from injecttf2.faults import registry as fault_registry
from injecttf2.models import model_files
from injecttf2.models.digits_cnn import kept_files
from injecttf2.models.file_layers import SEPARATORS, FileLayer, FileModelLayers, layers_in
from injecttf2.models.keras2_files import config_of
from injecttf2.user_code.references import is_function
from orchestrator.campaign.campaign import Campaign
from orchestrator.campaign.grid import ALL, GridSpec, LayerType
from orchestrator.planning.grid_faults import check_dtype, faults_of
from orchestrator.planning.naming import named, names_none

SIMPLE_FAULTS = {*fault_registry.BUILTIN} - {"mixture"}
"""Fault models that are no code of a user's, and hold none."""


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
            known = look_at_model(model.source)
    if campaign.held("dataset") is None:
        with placed(campaign.place("dataset")):
            datasets.check(
                dataset.source,
                dataset.samples,
                None if known is None else known.inputs,
                raw=dataset.preprocess is None,
            )
    for index, spec in enumerate(campaign.grid):
        if spec.sites is None:
            _look_at_grid(campaign, index, spec, () if known is None else known.layers)


def look_at_model(source: str) -> FileModelLayers | None:
    """Return what the file of a model tells of it; None where that is not enough.

    Raises:
        ModelError: There is no such file, or it is no model's.
    """
    if source == "builtin:digits_cnn":
        files = kept_files()
    elif source.startswith(("builtin:", APPLICATIONS)) or is_function(source):
        files = []
    else:
        path = on_disk(Path(source))
        files = [] if path.is_dir() else [path]  # a SavedModel has no layers
    return layers_in(config_of(model_files.read(files[0])[0])) if files else None


def _look_at_grid(
    campaign: Campaign, index: int, spec: GridSpec, layers: Sequence[FileLayer]
) -> None:
    found: list[FileLayer] = []
    for position, selector in enumerate(spec.layers):
        those = named(selector, layers)
        if layers and not those and not _may_name(selector, layers):
            raise names_none(selector, layers, campaign.place("grid", index, "layers", position))
        found += those
    if not all(one.type in SIMPLE_FAULTS for one in spec.fault):
        return  # a user's code is run with TensorFlow only
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
