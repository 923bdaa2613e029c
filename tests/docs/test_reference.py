"""The reference pages are those of the code, and the JSON Schema accepts what the campaign does."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
import yaml

from injecttf2.errors import CampaignError
from orchestrator.campaign.campaign import Campaign
from results.run_folder.schema import INJECTIONS, TRIALS
from tests.docs.pages import DOCS, ROOT, blocks, command
from tests.docs.scripts import load

SCHEMA = json.loads((DOCS / "campaign.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

RECIPES = [
    block for block in blocks("docs/guide/cookbook.md") if block.file and block.language == "yaml"
]


class EditorLoader(yaml.SafeLoader):
    """Reads YAML 1.2 numbers, as editors do: 1e-3 is one, which YAML 1.1 takes for a text."""


EditorLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read(text: str) -> Any:
    return yaml.load(text, EditorLoader)  # noqa: S506 - a SafeLoader


def test_the_pages_are_up_to_date() -> None:
    stale = [
        file.name for file, text in load("reference").pages().items() if file.read_text() != text
    ]
    assert stale == [], "run: make reference"


def test_every_key_and_column_is_there() -> None:
    campaign = (DOCS / "reference" / "campaign.md").read_text()
    for schema in (SCHEMA, *SCHEMA["$defs"].values()):
        assert [key for key in schema["properties"] if f"| `{key}` |" not in campaign] == []
    results = (DOCS / "reference" / "results.md").read_text()
    assert [
        name for name in TRIALS.names + INJECTIONS.names if f"| `{name}` |" not in results
    ] == []
    commands = (DOCS / "reference" / "command-line.md").read_text()
    assert re.findall(r"## `injecttf2 ([\w-]+)`", commands)[:3] == ["run", "plan", "layers"]


def test_the_command_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    command(["injecttf2", "schema"])
    assert json.loads(capsys.readouterr().out) == SCHEMA


@pytest.mark.parametrize("block", RECIPES, ids=str)
def test_an_editor_accepts_the_recipes(block: Any) -> None:
    VALIDATOR.validate(read(block.code))


@pytest.mark.parametrize("file", ["campaigns/digits.yaml", "orchestrator/cli/template.yaml"])
def test_an_editor_accepts_our_campaigns(file: str) -> None:
    VALIDATOR.validate(read((ROOT / file).read_text()))


GRID = {"bits": 30, "counts": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"grid": GRID, "repetition": 3},
        {"grid": {**GRID, "layer": "all"}},
        {"grid": GRID, "repetitions": 0},
        {"grid": {**GRID, "target": "inputs"}},
        {"grid": {"bits": 30, "probabilities": 1.5}},
        {"grid": GRID, "record": "all"},
    ],
    ids=str,
)
def test_an_editor_marks_what_the_campaign_refuses(wrong: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(wrong)
    with pytest.raises(CampaignError):
        Campaign(**wrong)


@pytest.mark.parametrize(
    "right",
    [
        {"judge": "topk", "metrics": "confidence", "criteria": ["top5"]},
        {"judge": {"type": "topk", "k": 3}},
        {"precision": {"relative": 0.1}, "paired": True},
        {"levels": "dense", "record": "injections"},
        {"dataset": {"source": "x.npz", "mean": [0.5, 0.5], "size": None}},
        {"grid": [{"bits": ["23-30", 3, "sign"], "bers": [1e-4]}, {"sites": "faults.csv"}]},
        {"grid": {"fault": [{"type": "scale", "factor": 2}, "zero"], "counts": [1, 2]}},
    ],
    ids=str,
)
def test_an_editor_accepts_all_ways_to_write_a_value(right: dict[str, Any]) -> None:
    whole = {"grid": GRID, **right}
    VALIDATOR.validate(whole)
    Campaign(**whole)
