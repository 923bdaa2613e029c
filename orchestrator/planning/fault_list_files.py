"""Fault lists as they lie in files: Parquet and CSV as other tools write them.

What is read is known by its contents: Parquet by its first bytes, the delimiter of CSV by the names
of the columns. Rows keep their place, so that a message says file, row and column.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from injecttf2.config.spelling import nearest
from injecttf2.errors import CampaignError
from orchestrator.planning.fault_list_columns import (
    NONE,
    UnreadableCellError,
    labels,
    texts,
    values,
    whole_numbers,
)
from results.delimited import column_name, read_delimited, row_place
from results.errors import ResultsError

COLUMNS = {
    "trial": "what belongs to one trial has the same value; without it every row is a trial",
    "layer": "address of the layer; required",
    "variable": "name of the weight variable; null for outputs",
    "sample": "position in the data set, from 0; null for weights",
    "element": "flat position in the layer's output of one sample, or in the variable; required",
    "bit": "bit from the least significant",
    "fault": "what happens to the bit: bit_flip (default), stuck_at_0 or stuck_at_1",
    "value": "the value that the element gets, where no bit is given",
}
"""The columns of a fault list."""

INDEX = "tensorindex"
"""The column that a list of SFI has in place of ``variable`` and ``element``."""

SFI = ("layer", INDEX, "bit")
"""The columns of SFI's that are read: what others there are tell of the authors' own run."""

FORM = f"columns {', '.join(COLUMNS)}, of which layer, element and either bit or value are required"

_TEXTS = (
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null),
)
_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, *_TEXTS)
_TYPES = {
    name: ("texts", _TEXTS) if name in ("layer", "variable", "fault") else ("numbers", _NUMBERS)
    for name in COLUMNS
} | {INDEX: ("texts", _TEXTS)}
"""What a column is expected to hold, and the types of Arrow of which it may be."""

_UNNAMED = re.compile(r"unnamed: \d+|__index_level_\d+__|")
"""What pandas and R call a column of row labels that have no name."""

_CSV = (".csv", ".tsv", ".txt")
_OTHERS = {
    b"PK": "a spreadsheet or an archive; save its table as CSV",
    b"\x1f\x8b": "compressed with gzip; give it a name that ends with .csv.gz",
}
"""What a file is that is named as CSV, by its first bytes."""


@dataclass(frozen=True)
class FaultListFile:
    """A fault list that has been read.

    Args:
        rows: The columns of ``COLUMNS``: ``trial``, ``layer``, ``variable`` and ``fault`` as texts
            or None, ``sample``, ``element`` and ``bit`` int64 with ``NONE`` where there is none,
            ``value`` float64; ``has_value``, bool; and ``tensorindex``, a text or None. The index
            counts the rows of all files from
            0, also those that say nothing and are left out. Without a column ``trial`` it is a
            row's number, and for a list of SFI it is made of layer, index and bit.
        files: The files that it lies in, in the order of their rows.
        ends: How many rows there are up to the end of each file.
        told: How it was found in the model, for one of another tool.
    """

    rows: pd.DataFrame
    files: Sequence[Path]
    ends: Sequence[int]
    told: str | None = None

    @property
    def is_sfi(self) -> bool:
        """Whether it is one of SFI, which names layers and elements by its own model."""
        return bool(self.rows[INDEX].notna().any())

    def error(self, row: int, message: str, *, hint: str | None = None) -> CampaignError:
        """Return an error about a row, by its place in the index of ``rows``."""
        return CampaignError(message, place=self.place(row), hint=hint)

    def place(self, row: int) -> str:
        """Return file and number of a row, from 1 for the first below the head."""
        file = bisect_right(self.ends, row)
        begin = self.ends[file - 1] if file else 0
        return row_place(self.files[file], row - begin)


def read_sites(file: Path) -> FaultListFile:
    """Read a fault list.

    Args:
        file: A file, or a folder of files that are its parts, in the order of their names.

    Raises:
        CampaignError: It cannot be read, or a column or a cell is not what it must be.
    """
    files = _parts(file)
    tables = [_read(part) for part in files]
    known = [_known(table, part) for table, part in zip(tables, files, strict=True)]
    for part, columns in zip(files, known, strict=True):
        if columns.keys() != known[0].keys():
            raise CampaignError(
                f"this part has the columns {', '.join(columns)}; {files[0].name} has "
                f"{', '.join(known[0])}",
                place=str(part),
                hint="write all parts with the same columns",
            )
    ends = list(accumulate(len(table.cells) for table in tables))
    parts = []
    for columns, table, part, end in zip(known, tables, files, ends, strict=True):
        rows = _rows(columns, table, part)
        rows.index += end - len(rows)
        parts.append(rows[_says_something(rows)] if table.is_text else rows)
    found = pd.concat(parts)
    if found.empty:
        raise CampaignError(
            "the fault list has no rows; expected one a site",
            place=str(file),
            hint="add sites, or leave `sites` out of the campaign",
        )
    if "trial" not in known[0]:
        found["trial"] = found.index
    return FaultListFile(found, files, ends)


@dataclass(frozen=True)
class _Table:
    """What a file holds.

    Args:
        cells: Its columns and rows.
        is_text: Whether it is CSV, where a row may say nothing at all.
        commas: Whether its numbers may have commas, because it is delimited by something else.
    """

    cells: pa.Table
    is_text: bool = False
    commas: bool = False


def _parts(file: Path) -> list[Path]:
    """Return the files of a fault list; what begins with a dot or ``_`` tells of others."""
    if not file.is_dir():
        return [file]
    parts = sorted(part for part in file.iterdir() if not part.name.startswith((".", "_")))
    folders = [part.name for part in parts if part.is_dir()]
    if folders or not parts:
        raise CampaignError(
            f"the folder holds {f'the folder {folders[0]}' if folders else 'no files'}; "
            "expected the parts of a fault list",
            place=str(file),
            hint="write it as one file, or as files in one folder, without partitions",
        )
    return parts


def _read(file: Path) -> _Table:
    try:
        with file.open("rb") as opened:
            begin = opened.read(8)
        if begin.startswith(b"PAR1"):
            with pyarrow.parquet.ParquetFile(file) as parquet:
                return _Table(_with_range(parquet.read(use_threads=False)))
        _check_kind(file, begin)
        found = read_delimited(file, {*COLUMNS, INDEX})
        return _Table(found.cells, is_text=True, commas=found.delimiter != ",")
    except ResultsError as error:
        raise CampaignError(error.message, place=error.place, hint=error.hint) from None
    except FileNotFoundError as error:
        raise CampaignError("there is no such fault list", place=str(file)) from error
    except (OSError, UnicodeError, pa.ArrowException) as error:
        raise CampaignError(
            f"the fault list cannot be read: {str(error).splitlines()[0]}",
            place=str(file),
            hint="save it as UTF-8"
            if isinstance(error, UnicodeError) or "UTF8" in str(error)
            else f"expected a .parquet or .csv file with {FORM}",
        ) from error


def _with_range(cells: pa.Table) -> pa.Table:
    """Return a table with the column that was the index of a data frame and counts evenly.

    Pandas keeps only where such an index begins and ends, not its values.
    """
    for label in (cells.schema.pandas_metadata or {}).get("index_columns", []):
        if isinstance(label, dict) and label.get("name") not in (None, *cells.column_names):
            values = range(label["start"], label["stop"], label["step"])
            if column_name(label["name"]) in COLUMNS and len(values) == len(cells):
                cells = cells.append_column(label["name"], pa.array(values, pa.int64()))
    return cells


def _check_kind(file: Path, begin: bytes) -> None:
    """See that a file that is no Parquet is to be CSV.

    Args:
        file: The file.
        begin: Its first bytes.
    """
    suffixes = [suffix.lower() for suffix in file.suffixes[-2:]]
    if ".parquet" in suffixes:
        raise pa.ArrowInvalid(f"this is no Parquet file: it begins with {begin!r}")
    if not {*suffixes} & {*_CSV}:
        raise CampaignError(
            f"a fault list is a .parquet or .csv file; received {file.name!r}", place=str(file)
        )
    if not begin:
        raise pa.ArrowInvalid("it is empty")
    for magic, told in _OTHERS.items():
        if begin.startswith(magic) and suffixes[-1] in _CSV:
            raise pa.ArrowInvalid(f"it is {told}")


def _known(table: _Table, file: Path) -> dict[str, pa.ChunkedArray]:
    """Return the columns of a fault list by name, without labels of rows that have no name."""
    heads = table.cells.column_names
    names = [column_name(head) for head in heads]
    if INDEX in names:
        return _known_of_sfi(names, table, file)
    named = [index for index, name in enumerate(names) if not _UNNAMED.fullmatch(name)]
    for index in {*range(named[0] if named else 0, len(names))} - {*named}:
        column = table.cells.column(index)
        if not names[index].startswith("__index") and column.null_count < len(column):
            raise CampaignError(
                f"the column {index + 1} of the fault list has no name",
                place=str(file),
                hint=f"expected {FORM}",
            )
    _check_names(
        [names[index] for index in named],
        [heads[index] for index in named],
        labels=(table.cells.schema.pandas_metadata or {}).get("index_columns", []),
        file=file,
    )
    columns = {names[index]: table.cells.column(index) for index in named}
    for name, column in columns.items():
        _check_type(name, column.type, file)
    return columns


def _known_of_sfi(names: list[str], table: _Table, file: Path) -> dict[str, pa.ChunkedArray]:
    """Return the columns of a list of SFI; all others are left alone."""
    missing = [name for name in SFI if names.count(name) != 1]
    if missing:
        raise CampaignError(
            f"the fault list has the columns {', '.join(table.cells.column_names)}; it has "
            f"TensorIndex, as those of SFI, and {missing[0]!r} "
            f"{names.count(missing[0])} times",
            place=str(file),
            hint="expected Injection, Layer, TensorIndex and Bit",
        )
    columns = {name: table.cells.column(names.index(name)) for name in SFI}
    for name, column in columns.items():
        _check_type(name, column.type, file)
    return columns


def _check_names(names: list[str], heads: list[str], *, labels: list[Any], file: Path) -> None:
    """See that the columns are those of a fault list.

    Args:
        names: Their names.
        heads: The same as they are written.
        labels: Those that a data frame had as its index.
        file: The file.
    """
    unknown = [head for name, head in zip(names, heads, strict=True) if name not in COLUMNS]
    twice = [name for name in names if names.count(name) > 1]
    wrong = None
    if unknown:
        is_index = unknown[0] in (*labels, "index")
        what = "holds labels of rows, leave it out (index=False)" if is_index else "is none"
        wrong = f"; {unknown[0]!r} {what}{nearest(unknown[0], COLUMNS)}"
    elif twice:
        wrong = f"; {twice[0]!r} is given twice"
    elif not {"layer", "element"} <= {*names} or not {"bit", "value"} & {*names}:
        wrong = ""
    if wrong is not None:
        raise CampaignError(
            f"the fault list has the columns {', '.join(heads)}{wrong}",
            place=str(file),
            hint=f"expected {FORM}",
        )


def _check_type(name: str, given: pa.DataType, file: Path) -> None:
    kind = given.value_type if pa.types.is_dictionary(given) else given
    expected, types = _TYPES[name]
    if not any(is_type(kind) for is_type in types):
        raise CampaignError(
            f"the column {name} of the fault list has the type {given}",
            place=str(file),
            hint=f"expected {expected}",
        )


def _rows(columns: Mapping[str, pa.ChunkedArray], table: _Table, file: Path) -> pd.DataFrame:
    """Return the rows of a file as ``FaultListFile`` has them."""
    nothing = pa.chunked_array([pa.nulls(len(table.cells))])
    rows: dict[str, Any] = {}
    name = ""
    try:
        for name in (*COLUMNS, INDEX):
            column = columns.get(name, nothing)
            if name == "value":
                rows[name], rows["has_value"] = values(column, commas=table.commas)
            elif name == "trial":
                rows[name] = labels(column)
            elif name in ("layer", "variable", "fault", INDEX):
                rows[name] = texts(column)
            else:
                rows[name] = whole_numbers(column, commas=table.commas)
    except UnreadableCellError as error:
        raise CampaignError(
            f"received the {name} {error.message}", place=row_place(file, error.row)
        ) from None
    return pd.DataFrame(rows, columns=[*COLUMNS, "has_value", INDEX])


def _says_something(rows: pd.DataFrame) -> pd.Series:
    """Return which rows are not empty: spreadsheets leave such behind the last, bool [rows]."""
    told = rows[["trial", "layer", "variable", "fault", INDEX]].notna().any(axis=1)
    return told | (rows[["sample", "element", "bit"]] != NONE).any(axis=1) | rows["has_value"]
