"""Write the reference pages from the code that they describe: ``python docs/reference.py``.

The campaign's keys come from its pydantic schema, the columns from the Arrow schemas, the commands
from typer. ``pages`` returns what the files ought to hold; a test compares.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import typer
from typer.cli import get_docs_for_click

from orchestrator.campaign.json_schema import campaign_schema
from orchestrator.cli.main import app
from results.run_folder.schema import INJECTIONS, SCHEMA_VERSION, TRIALS

DOCS = Path(__file__).parent

WRITTEN = "<!-- Written by docs/reference.py (make reference). -->\n"

MAPPINGS = {
    "GridSpec": "grid",
    "FaultListSpec": "sites",
    "LayerType": "layers",
    "ModelSpec": "model",
    "DatasetSpec": "dataset",
    "Precision": "precision",
}
"""Schemas of mappings inside a campaign, and the keys that hold them, in the order of the page."""

KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
}

BOUNDS = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}"}
"""Bounds that are worth a reader's while; the others are those of 64-bit numbers."""


def pages() -> dict[Path, str]:
    """Return the text of every file that this script writes."""
    return {
        DOCS / "campaign.schema.json": json.dumps(campaign_schema(), indent=2) + "\n",
        DOCS / "reference" / "campaign.md": campaign_page(),
        DOCS / "reference" / "results.md": results_page(),
        DOCS / "reference" / "command-line.md": command_line_page(),
    }


def campaign_page() -> str:
    """Return the reference of campaign files."""
    schema = campaign_schema()
    parts = [
        "# Campaign reference\n",
        WRITTEN,
        "Every key of a campaign file. [Campaigns](../guide/campaigns.md), [faults, rates and "
        "judges](../guide/faults.md) and [sampling plans](../guide/sampling.md) say what they are "
        "for; [editors](../guide/campaigns.md#in-an-editor) can check them as you type.\n",
        "## The campaign\n",
        _keys(schema),
    ]
    for name, key in MAPPINGS.items():
        inner = schema["$defs"][name]
        parts += [f"## `{key}` as a mapping\n", f"{inner['description']}\n", _keys(inner)]
    return "\n".join(parts)


def results_page() -> str:
    """Return the reference of the columns in a run directory."""
    return "\n".join(
        [
            "# Results reference\n",
            WRITTEN,
            f"The columns of a run directory's Parquet files, version {SCHEMA_VERSION} of the "
            "schema. [Results](../guide/results.md) says how to read them.\n",
            "## `trials`: one row a trial\n",
            _columns(TRIALS),
            "A campaign's `metrics` and `criteria` add a column `metric_NAME` (double) and "
            "`sdc_NAME` (int64) each, after these and in alphabetical order.\n",
            "## `injections`: one row an injected site\n",
            "Only with `record: injections`. A fault in weights has a row for each sample.\n",
            _columns(INJECTIONS),
        ]
    )


def command_line_page() -> str:
    """Return the reference of the command line."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="injecttf2")
    for name, one in command.commands.items():  # typer cuts these lines short
        text = re.sub(rf"^\* `{name}`: .*$", f"* `{name}`: {one.help}", text, flags=re.MULTILINE)
    text = text.replace("# `injecttf2`", "# Command-line reference\n\n" + WRITTEN, 1)
    return _escaped(text.replace("```console", "```text")).rstrip() + "\n"


def _keys(schema: dict[str, Any]) -> str:
    """Return the table of a mapping's keys."""
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    required = schema.get("required", [])
    for key, one in schema["properties"].items():
        default = "required" if key in required else _default(one.get("default"))
        rows.append(f"| `{key}` | {_kind(one)} | {default} | {_cell(one['description'])} |")
    return "\n".join([*rows, ""])


def _default(value: Any) -> str:
    """Return how YAML writes a default; nothing where what is left out has no one value."""
    if value in (None, [], {}):
        return ""
    if isinstance(value, list):
        return ", ".join(_default(one) for one in value)
    if isinstance(value, dict):
        return _default(value["type"])
    return f"`{json.dumps(value) if isinstance(value, bool) else value}`"


def _kind(schema: dict[str, Any]) -> str:
    """Return what values a JSON Schema allows, in words."""
    if "anyOf" in schema:
        options = [one for one in schema["anyOf"] if one.get("type") != "null"]
        kinds = [_kind(one) for one in options if one.get("type") != "array"]
        several = len(kinds) < len(options)
        if not kinds:
            return _kind(options[0])
        return " or ".join(kinds) + (", or a list" if several else "")
    if "$ref" in schema:
        key = MAPPINGS[schema["$ref"].rpartition("/")[2]]
        return f"[mapping](#{key}-as-a-mapping)"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] == "array":
        count = schema.get("minItems")
        items = schema.get("items") or schema["prefixItems"][0]
        return f"list of {count} {_kind(items)}s" if count else f"list of {_kind(items)}"
    if schema["type"] == "object":
        return "mapping"
    bounds = [text.format(schema[key]) for key, text in BOUNDS.items() if key in schema]
    return " ".join([KINDS[schema["type"]], ", ".join(bounds)]).strip()


def _columns(schema: pa.Schema) -> str:
    """Return the table of a schema's columns."""
    rows = ["| column | type | null | meaning |", "|---|---|---|---|"]
    for field in schema:
        kind = "string" if pa.types.is_dictionary(field.type) else str(field.type)
        null = "may be" if field.nullable else ""
        meaning = _cell(field.metadata[b"description"].decode())
        rows.append(f"| `{field.name}` | {kind} | {null} | {meaning} |")
    return "\n".join([*rows, ""])


def _cell(text: str) -> str:
    """Return a text for a table, options of commands as code."""
    return _escaped(re.sub(r"(--\w+)", r"`\1`", text.replace("|", "\\|")))


def _escaped(text: str) -> str:
    """Return a text whose patterns such as conv* and sdc_NAME are not read as Markdown."""
    return re.sub(r"(?<=\w)\*(?=[,\s.])", r"\\*", text)


def main() -> None:
    """Write the files."""
    for file, text in pages().items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)


if __name__ == "__main__":
    main()
