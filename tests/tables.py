"""Rows of tables in the documentation that tests make of what they ran.

A test fails where its row is another in the page. ``pytest -n0 --write-tables`` writes it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from injecttf2.graph.model_graph import ModelGraph

MODELS = Path(__file__).parents[1] / "docs" / "guide" / "models.md"


def check_row(page: Path, table: str, cells: Sequence[str], *, write: bool) -> None:
    """Compare a row with the one of the same first cell, or write it.

    Args:
        page: The page.
        table: What stands before the table, as ``<!-- table -->``.
        cells: The row; the first cell is its key.
        write: Whether to write it, at the end of the table if it is new.
    """
    row = "| " + " | ".join(cells) + " |"
    lines = page.read_text().splitlines()
    start = lines.index(f"<!-- {table} -->")
    end = lines.index("", start + 2)
    places = [at for at in range(start, end) if lines[at].startswith(f"| {cells[0]} |")]
    if write:
        lines[slice(*(places[0], places[0] + 1) if places else (end, end))] = [row]
        page.write_text("\n".join(lines) + "\n")
        return
    assert [lines[at] for at in places] == [row], f"{page.name}: pytest -n0 --write-tables"


def layers_of(graph: ModelGraph) -> tuple[str, str]:
    """Return how many layers there are, and which cannot be injected, with the reason of each."""
    reasons: dict[str, list[str]] = {}
    for info in graph.layers:
        if info.reason is not None:
            reasons.setdefault(info.reason, []).append(f"`{info.layer}`")
    said = [f"{', '.join(layers)}: {reason}" for reason, layers in reasons.items()]
    return str(len(graph.layers)), "; ".join(said)


def names(layers: Sequence[str]) -> str:
    """Return addresses as they stand in a cell."""
    return ", ".join(f"`{layer}`" for layer in layers)
