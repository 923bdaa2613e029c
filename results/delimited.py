"""CSV files as other tools write them, read as texts.

The delimiter is known by the names of the columns, and the encoding by a mark; blanks around names,
between a delimiter and a quote, and rows that say nothing do not count.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from results.errors import ResultsError

DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Delimited:
    """What a CSV file holds.

    Args:
        cells: Texts by the column's head; only what is empty is null.
        delimiter: One of ``DELIMITERS``.
    """

    cells: pa.Table
    delimiter: str


def read_delimited(file: Path, names: Collection[str]) -> Delimited:
    """Read a CSV file, which may be compressed.

    Args:
        file: The file.
        names: Columns that it may have, as ``column_name`` returns them.

    Raises:
        ResultsError: A row has more or fewer cells than the head.
        OSError: It cannot be read.
        UnicodeError: Its texts are in another encoding than UTF-8, or UTF-16 with a mark.
        pyarrow.ArrowException: It is no CSV.
    """
    with pa.input_stream(str(file), compression="detect") as stream:
        content = stream.read()
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    begin = content[: 2**16].decode(encoding, errors="replace").removeprefix("\ufeff")
    head = next((line for line in begin.splitlines() if line.strip()), "")
    heads = {delimiter: next(csv.reader([head], delimiter=delimiter)) for delimiter in DELIMITERS}
    delimiter = max(heads, key=lambda one: len({*map(column_name, heads[one])} & {*names}))
    if re.search(rb'\0? \0?"', content):  # in either encoding
        content = _unblanked(content.decode(encoding), delimiter).encode(encoding)
    wrong: list[tuple[int, pyarrow.csv.InvalidRow]] = []

    def look(row: pyarrow.csv.InvalidRow) -> str:
        wrong.append((row.number - 2 - len(wrong), row))
        return "skip" if not row.text.strip() else "error"

    try:
        cells = pyarrow.csv.read_csv(
            pa.BufferReader(content),
            read_options=pyarrow.csv.ReadOptions(encoding=encoding, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, invalid_row_handler=look),
            convert_options=pyarrow.csv.ConvertOptions(
                strings_can_be_null=True,
                null_values=[""],
                column_types=dict.fromkeys(heads[delimiter], pa.string()),
            ),
        )
    except pa.ArrowInvalid:
        if not wrong:
            raise
        position, row = wrong[-1]
        raise ResultsError(
            f"received {row.actual_columns} cells, {row.text!r}; expected {row.expected_columns}, "
            "as the head has",
            place=row_place(file, position),
            hint="a cell that holds the delimiter is put in quotes",
        ) from None
    return Delimited(cells, delimiter)


def column_name(head: str) -> str:
    """Return the name of a column, which may have blanks around it, quotes and capitals."""
    return head.strip("\ufeff \t\xa0").strip('"').strip().lower()


def row_place(file: Path, row: int) -> str:
    """Return file and number of a row, from 1 for the first below the head."""
    return f"{file}: row {row + 1}"


def _unblanked(text: str, delimiter: str) -> str:
    """Return a text without the blanks before quotes, which make no quotes of them.

    Each row stays on its line.
    """
    written = io.StringIO()
    lines = io.StringIO(text.removeprefix("\ufeff"))
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    csv.writer(written, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return written.getvalue()
