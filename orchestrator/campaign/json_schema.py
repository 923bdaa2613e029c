"""The JSON Schema of a campaign file, by which editors complete and check what is typed."""

from __future__ import annotations

from typing import Any

from orchestrator.campaign.campaign import Campaign

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def campaign_schema() -> dict[str, Any]:
    """Return the JSON Schema of a campaign file.

    It knows every key, its type and its bounds. What only the model and the data can tell, or what
    one key means for another, is left to ``injecttf2 plan``.
    """
    schema = Campaign.model_json_schema()
    _without_titles(schema)
    return {"$schema": DIALECT, "title": "injecttf2 campaign", **schema}


def _without_titles(schema: dict[str, Any]) -> None:
    """Take away the titles that pydantic makes of names: editors show them before descriptions."""
    schema.pop("title", None)
    inner = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    for one in inner:
        _without_titles(one)
