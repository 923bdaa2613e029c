"""The campaign that ``injecttf2 init`` writes, for a model and data of the user's if given.

What fits them is found by planning it: which judge takes the labels, which bits the words have, how
many repetitions it takes until a cell has enough injections.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from injecttf2.errors import CampaignError, UserError
from orchestrator.campaign.campaign import load_campaign, locate
from orchestrator.cli.options import check_new_file
from orchestrator.session.progress import LOADING

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.planning.plan import Plan

Judge = dict[str, str]

JUDGES: tuple[Judge, ...] = (
    {"type": "top1"},
    {"type": "threshold"},
    {"type": "per_position"},
    {"type": "regression", "relative": "0.05"},
)
"""What may be asked of a model, the first that fits model and labels counts."""

KEYS = {
    "model": r"(?m)^model: \S+",
    "dataset": r"(?m)^dataset: \S+",
    "repetitions": r"(?m)^repetitions: \d+ ",
    "bits": r"bits: \[0-31\] ",
    "judge": r"(?m)^# judge: top1 ",
}
"""What in the template gives way to a value."""


def write_campaign(
    file: Path,
    model: str | None = None,
    dataset: str | None = None,
    stage: Callable[[str], None] = lambda _: None,
) -> None:
    """Write a commented campaign; without model and data one for those that are built in.

    Args:
        file: What to write.
        model: The model; a path is relative to the current folder.
        dataset: The data; a path is relative to the current folder.
        stage: Hears what is done next.

    Raises:
        UserError: The file exists or cannot be written; or model and data do not fit each other.
    """
    check_new_file(file)
    text = files("orchestrator.cli").joinpath("template.yaml").read_text()
    try:
        with file.open("x") as new:
            new.write(text)
    except FileExistsError:
        raise CampaignError(
            "the file exists and is left as it is", place=str(file), hint="give another name"
        ) from None
    except OSError as error:
        raise CampaignError(f"it cannot be written: {error.strerror}", place=str(file)) from error
    if model is None and dataset is None:
        return
    try:
        file.write_text(_fitted(text, file, model, dataset, stage))
    except BaseException:
        file.unlink()
        raise


def _fitted(
    text: str, file: Path, model: str | None, dataset: str | None, stage: Callable[[str], None]
) -> str:
    """Return the template for a model and data; the file is written again and again."""
    for key, source in (("model", model), ("dataset", dataset)):
        if source is not None:
            text = _with(text, key, _written(locate(source), file.parent))
    plan, judge = _planned(text, file, model, dataset, stage)
    if judge != JUDGES[0]:
        text = _with(text, "judge", _mapping(judge))
    return _sized(text, plan)


def _planned(
    text: str, file: Path, model: str | None, dataset: str | None, stage: Callable[[str], None]
) -> tuple[Plan, Judge]:
    """Return a plan of all layers, and the first judge that it can be made with.

    Raises:
        UserError: There is none: what the first said.
    """
    from injecttf2 import device
    from orchestrator.planning.first_look import look

    file.write_text(_with(text, "bits", "random"))
    look(load_campaign(file, model=model, dataset=dataset))
    stage(LOADING)
    device.configure(gpu=False)
    from orchestrator.planning.plan import make_plan

    stage("planning: which judge, bits and repetitions fit")
    first: UserError | None = None
    output = _output(file, model, dataset)
    for one in JUDGES:
        judge = {**one, **output}
        file.write_text(_with(_with(text, "bits", "random"), "judge", _mapping(judge)))
        try:
            return make_plan(load_campaign(file, model=model, dataset=dataset)), judge
        except UserError as error:
            first = first or error
    assert first is not None  # noqa: S101 - there are judges
    raise first


def _output(file: Path, model: str | None, dataset: str | None) -> Judge:
    """Return which output a judge takes: the first; nothing where there is one only."""
    from injecttf2.graph.model_graph import ModelGraph
    from injecttf2.models.loading import resolve

    campaign = load_campaign(file, model=model, dataset=dataset)
    with suppress(UserError):  # planning will say what is wrong
        if campaign.model is not None:
            graph = ModelGraph.of(resolve(campaign.model.source, campaign.folder)[1])
            slots = graph.output_slots
            return {"output": _quoted(slots[0].called)} if len(slots) > 1 else {}
    return {}


def _sized(text: str, plan: Plan) -> str:
    """Return a campaign with the bits that all words have, and as many repetitions as it takes."""
    from injecttf2.bits import LAYOUTS
    from orchestrator.planning.expectation import expectations

    injected = {layer for group in plan.grid.groups for layer in group.scope.layers}
    dtypes = {info.dtype for info in plan.layers if info.layer in injected}
    widths = {LAYOUTS[dtype].width for dtype in dtypes}
    text = _with(text, "bits", f"[0-{min(widths) - 1}]" if len(widths) == 1 else "random")
    usual = plan.campaign.repetitions
    needed = max((one.repetitions for one in expectations(plan)), default=usual)
    return _with(text, "repetitions", str(max(usual, needed)))


def _with(text: str, key: str, value: str) -> str:
    """Return the template with another value; what was said beside it stays in its column."""

    def replaced(found: re.Match[str]) -> str:
        new = f"{key}: {value}"
        return f"{new} ".ljust(len(found[0])) if found[0].endswith(" ") else new

    return re.sub(KEYS[key], replaced, text, count=1)


def _mapping(judge: Judge) -> str:
    if len(judge) == 1:
        return judge["type"]
    return f"{{{', '.join(f'{key}: {value}' for key, value in judge.items())}}}"


def _written(source: str, folder: Path) -> str:
    """Return a source as a file in a folder names it."""
    if source.startswith("/") and not (near := os.path.relpath(source, folder)).startswith(".."):
        source = near if "/" in near or "." in near else f"./{near}"
    return _quoted(source)


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z_./][\w./:-]*", text) else json.dumps(text)
