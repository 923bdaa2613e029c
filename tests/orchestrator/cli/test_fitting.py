"""Tables fit where they are printed: columns go by importance, names lose their middle."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from orchestrator.cli.fitting import Column, FittedTable, fitted, middle

LAYERS = Column("layer", ["block_13_expand/depthwise_conv2d", "logits"])
RATES = Column("sdc+due", ["8.10% (7.70 to 8.60)", "1.00% (0.90 to 1.10)"], 3)
TRIALS = Column("trials", ["1,000", "2"], 1)
INJECTED = Column("injected", ["1,234,567", "9"], 2)
ALL = [LAYERS, RATES, TRIALS, INJECTED]


@pytest.mark.parametrize(
    ("width", "heads"),
    [
        (80, ["layer", "sdc+due", "trials", "injected"]),
        (74, ["layer", "sdc+due", "injected"]),
        (60, ["layer", "sdc+due"]),
    ],
)
def test_columns_go_by_importance(width: int, heads: list[str]) -> None:
    assert [one.head for one in fitted(ALL, width)] == heads


def test_names_are_shortened_in_the_middle_and_never_left_out() -> None:
    layer, rate = fitted(ALL, 40)
    assert layer.cells == ["block_1...conv2d", "logits"]
    assert rate == RATES
    layer, _ = fitted(ALL, 10)
    assert layer.cells == ["block...nv2d", "logits"]


def test_the_middle_of_a_text_is_left_out() -> None:
    assert middle("depthwise", 9) == "depthwise"
    assert middle("depthwise", 8) == "dep...se"
    assert middle("depthwise", 7) == "de...se"


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_is_wider_than_the_place_and_none_is_wrapped(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    console.print(FittedTable("layers", ALL, frozenset({0})))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= width
    assert sum("8.10% (7.70 to 8.60)" in line for line in lines) == 1
    assert sum(line.split()[:1] == ["logits"] for line in lines) == 1
    left_out = {40: "trials, injected", 60: "trials, injected", 80: "", 200: ""}[width]
    assert (lines[-1] == f"columns left out: {left_out}") == bool(left_out)


def test_what_a_terminal_would_obey_is_written_out() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(FittedTable("layers", [Column("layer", ["a\x1b[2Jb"])]))
    assert "a\\x1b[2Jb" in console.file.getvalue()  # type: ignore[attr-defined]
