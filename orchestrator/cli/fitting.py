"""Tables that fit a terminal: columns go by importance, names are shortened, nothing is wrapped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from results.shown import shown

GAP = 2
"""Blanks between two columns."""

SHORTEST = 12
"""Cells of a name that is shortened as far as it may be."""

_DOTS = "..."


@dataclass(frozen=True)
class Column:
    """A column of texts.

    Args:
        head: What stands above it.
        cells: A text for each row.
        importance: Columns of the lowest go first where there is no room; those of None stay, and
            their texts are shortened in the middle.
    """

    head: str
    cells: Sequence[str]
    importance: int | None = None

    @property
    def width(self) -> int:
        """Cells of a terminal that it takes."""
        return max(map(cell_len, (self.head, *self.cells)))

    def within(self, width: int) -> Column:
        """Return the same with texts of at most so many cells."""
        return replace(self, cells=[middle(text, width) for text in self.cells])


@dataclass(frozen=True)
class FittedTable:
    """A table that is as wide as it needs to be, and no wider than where it is printed.

    Args:
        title: What it is.
        columns: Its columns; texts to the left are those that stay.
        sections: Rows below which there is a gap.
    """

    title: str
    columns: Sequence[Column]
    sections: frozenset[int] = frozenset()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table for the width that there is."""
        columns = fitted(
            [replace(one, cells=[*map(shown, one.cells)]) for one in self.columns],
            options.max_width,
        )
        yield Text(shown(self.title))  # a table's own is wrapped to the table's width
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for column in columns:
            is_name = column.importance is None
            table.add_column(column.head, justify="left" if is_name else "right", no_wrap=True)
        for row, texts in enumerate(zip(*(column.cells for column in columns), strict=True)):
            table.add_row(*texts, end_section=row in self.sections)
        yield table
        heads = [one.head for one in columns]
        if left_out := [one.head for one in self.columns if one.head not in heads]:
            yield Text(f"columns left out: {', '.join(left_out)}", style="dim")


def fitted(columns: Sequence[Column], width: int) -> list[Column]:
    """Return the columns that fit a width, names shortened in the middle if they have to be."""
    left = list(columns)
    while _width(left) > width:
        going = [one for one in left if one.importance is not None]
        if len(going) <= 1:
            break
        left.remove(min(going, key=lambda one: one.importance or 0))
    over = _width(left) - width
    if over > 0:
        longest = max((one for one in left if one.importance is None), key=lambda one: one.width)
        at = left.index(longest)
        left[at] = longest.within(max(SHORTEST, longest.width - over))
    return left


def middle(text: str, width: int) -> str:
    """Return a text of at most ``width`` cells: what is too long is left out in the middle."""
    if cell_len(text) <= width:
        return text
    keep = width - len(_DOTS)
    begin = text[: (keep + 1) // 2]
    end = text[len(text) - keep // 2 :]
    return f"{begin}{_DOTS}{end}"


def _width(columns: Sequence[Column]) -> int:
    return sum(one.width for one in columns) + GAP * len(columns)
