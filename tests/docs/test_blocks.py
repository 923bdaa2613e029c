"""Every code block of the documentation is run, read or parsed by a test, or says why not."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from injecttf2.user_code import references
from orchestrator import Campaign, load_campaign, run
from tests.deploy.commands import PROGRAMS, unknown_options
from tests.docs.pages import (
    ROOT,
    Block,
    blocks,
    commands,
    example_is_that_of_the_docs,
    follow,
)

PAGES = ["README.md", *(str(file.relative_to(ROOT)) for file in (ROOT / "docs").rglob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks(page)]

RUN_ELSEWHERE = {"docs/guide/cookbook.md", "docs/guide/quick-start.md"}
"""Pages whose blocks test_cookbook.py and test_quick_start.py run."""

LANGUAGES = {"", "yaml", "python", "shell", "bash", "toml", "sql", "text", "csv", "json"}

NOT_RUN = {
    "docs/guide/coming-from.md": "one import, which tests/injecttf2/compat/test_injector.py has",
    "docs/guide/cluster.md": "reads object storage",
    "docs/guide/faults.md": "tests/orchestrator/test_guide.py runs them",
    "docs/how-it-works/engine.md": "is in injecttf2/acceleration/rules.py",
    "docs/guide/models.md": "tests/injecttf2/models/test_scoped_models.py runs such modules",
    "docs/guide/published-model.md": "tests/wild/test_guide.py runs it where the model is there",
    "docs/guide/single-faults.md": "tests/docs/test_single_faults.py runs it",
    "docs/guide/trackers.md": "tests/docs/test_trackers.py runs the first block",
}
"""Pages whose Python needs more than a run directory, and why; it is compiled all the same."""


LEFT_OUT = {
    "from injecttf2 import InjectTF2": "tests/injecttf2/compat/test_injector.py runs it",
    "from injecttf2 import Injector": "tests/injecttf2/test_injector.py has it",
    "metric_mean_squared_error": "needs a model that gives out values",
}
"""What is in blocks that are compiled only, on pages that are run."""


READING = [
    "docs/guide/results.md",
    "docs/guide/report.md",
    "docs/guide/run-directory.md",
    "docs/guide/sampling.md",
    "docs/guide/citing.md",
    "docs/guide/protections.md",
]
"""Pages that ask the run of the quick start."""


def of(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def test_there_are_only_languages_that_are_looked_at() -> None:
    assert {block.language for block in BLOCKS} <= LANGUAGES


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_python_compiles(block: Block) -> None:
    ast.parse(block.code)


@pytest.mark.parametrize("block", of("shell"), ids=str)
def test_options_of_our_commands_exist(block: Block) -> None:
    for words in commands(block):
        if words[0] == "injecttf2":
            assert words[1] in PROGRAMS["injecttf2"].commands
            assert unknown_options(words) == set()


@pytest.mark.parametrize("block", of("toml"), ids=str)
def test_entry_points_are_of_groups_that_are_looked_up(block: Block) -> None:
    for group, named in tomllib.loads(block.code)["project"]["entry-points"].items():
        assert f"``{group}``" in str(references.__doc__)
        assert all(references.is_function(reference) for reference in named.values())


FRAGMENTS = {
    "model",
    "dataset",
    "judge",
    "precision",
    "exhaustive",
    "paired",
    "grid",
    "inject_layer",
}
"""What the first key of an example in YAML may be, if it is no whole campaign."""


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_a_campaign_or_a_part_of_one_is_accepted(block: Block) -> None:
    if block.page == "docs/guide/cluster.md":
        pytest.skip("a file of Prometheus")
    for data in documents(block.code):
        if {"inject_layer", "extends"} & {*data}:
            continue  # the tests of compat and of campaign/test_layering.py read such
        assert "name" in data or FRAGMENTS & {*data}
        whole: dict[str, Any] = {"grid": {"bits": 30, "counts": 1}, **data}
        grids = whole["grid"] if isinstance(whole["grid"], list) else [whole["grid"]]
        Campaign(**{**whole, "grid": [complete(grid, whole) for grid in grids]})


def documents(code: str) -> list[dict[str, Any]]:
    """The mappings of a block; one in which a key stands twice shows several ways to write it."""
    lines = [line for line in code.splitlines() if line and not line[0].isspace()]
    keys = [line.split(":")[0] for line in lines if not line.startswith("#")]
    if len(set(keys)) == len(keys):
        return [yaml.safe_load(code)]
    return [yaml.safe_load(line) for line in lines]


def complete(grid: dict[str, Any], campaign: dict[str, Any]) -> dict[str, Any]:
    """A grid of an example with a rate, where what is shown is something else."""
    rates = {"probabilities", "counts", "bers", "exhaustive", "sites"} & {*grid}
    return grid if rates or campaign.get("exhaustive") else {**grid, "counts": 1}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs that the guide reads, all of what it asks for recorded."""
    folder = tmp_path_factory.mktemp("guide")
    quick_start = next(block for block in blocks("docs/guide/quick-start.md") if block.file)
    (folder / "first.yaml").write_text(quick_start.code)
    example = {
        "model": "builtin:digits_cnn",
        "dataset": {"source": "digits", "samples": 20},
        "metrics": "confidence",
        "criteria": "top5",
        "record": "injections",
    }
    layers = {"layers": ["conv2d", "dense", "dense_1"], "bits": [30], "probabilities": 1.0}
    bits = {"layers": "dense_1", "bits": [22, 23, 30], "probabilities": 0.5}
    for name, made in {
        "first": load_campaign(folder / "first.yaml", overrides=["record=injections"]),
        "digits": Campaign(grid=layers, **example),
        "paired": Campaign(grid=bits, paired=True, **example),
    }.items():
        run(made, folder / "runs" / name, executor="inline", quiet=True)
    for name in ("my-campaign", "digits-protected", "a", "b"):
        (folder / "runs" / name).symlink_to(folder / "runs" / "digits")
    return folder


def test_the_readme_reads_a_run(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    for block in blocks("README.md"):
        if block.language == "python" and not any(text in block.code for text in LEFT_OUT):
            exec(compile(block.code, str(block), "exec"), {})  # noqa: S102


@pytest.mark.parametrize("page", READING)
def test_pages_that_read_a_run_print_what_they_say(
    page: str, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished)
    names = follow(blocks(page), left_out=LEFT_OUT, exact=example_is_that_of_the_docs())
    if "sites" in names:  # drawn again from a row, and recorded when they were hit
        recorded = names["run"].injections().query("trial_id == @names['row'].trial_id")
        assert recorded["element"].tolist() == names["sites"].element.tolist()


def test_every_page_with_python_is_run_or_says_why_not() -> None:
    pages = {block.page for block in of("python")}
    assert pages - RUN_ELSEWHERE - {"README.md", *READING} - {*NOT_RUN} == set()
