"""Parts: immutable Parquet files, each holding rows that were flushed together.

A part is published whole or not at all, so one whose bytes are not those that its name tells the
digest of was damaged later or copied incompletely. Readers leave it out and say so; who writes,
a run or a compaction, sets it aside.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from results import paths
from results.errors import RunCorruptError
from results.ids import contains
from results.run_folder.consistent_reads import read_each, read_end, read_intact
from results.run_folder.manifest import canonical_json
from results.run_folder.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from results.run_folder.manifest import Json
    from results.storage.storage import Storage

ROW_GROUP_ROWS = 262_144
"""Rows in a row group of a part; small parts have one."""

ID = pa.schema([pa.field("trial_id", pa.uint64())])
"""The columns of those who want no more than ids."""

_T = TypeVar("_T")
_Ids = npt.NDArray[np.uint64]
_VERSION_KEY = "injecttf2.schema_version"
_IDENTITY_KEY = "injecttf2.identity"


def named_part(
    folder: str, sequence: int, token: str, table: pa.Table, identity: Json
) -> tuple[str, bytes]:
    """Return name and contents of a part; see ``paths.part``.

    Args:
        folder: The folder.
        sequence: Its sequence number.
        token: What it shares with the part that it is flushed together with.
        table: Its rows.
        identity: What the run's trials mean, which its footer tells with the schema's version.
    """
    contents = part_contents(table, identity)
    return paths.part(folder, sequence, token, paths.digest_of(contents)), contents


def part_contents(table: pa.Table, identity: Json) -> bytes:
    """Return the Parquet file of a part."""
    footer = {_VERSION_KEY: str(SCHEMA_VERSION), _IDENTITY_KEY: canonical_json(dict(identity))}
    lean = pa.schema([field.remove_metadata() for field in table.schema], metadata=footer)
    strings = [field.name for field in lean if pa.types.is_dictionary(field.type)]
    buffer = io.BytesIO()
    pq.write_table(
        table.cast(lean),
        buffer,
        compression="zstd",
        use_dictionary=strings,
        row_group_size=ROW_GROUP_ROWS,
        write_page_checksum=True,  # for readers that do not look at the part's name
    )
    return buffer.getvalue()


def find_rows(
    storage: Storage, folder: str, schema: pa.Schema, identity: Json
) -> dict[str, int | None]:
    """Return how many rows every part in ``folder`` tells at its end; None if it is damaged there.

    Raises:
        RunCorruptError: A part holds rows of another campaign or schema version, tells none, or
            lacks a column.
        ResultsError: The file system refuses to read a part.
    """

    def look(name: str) -> int | None:
        check = _checked(storage.path(name), schema, identity, lambda file: file.metadata.num_rows)
        return read_end(storage, name, check)

    names = part_names(storage, folder)
    return dict(zip(names, read_each(storage, names, look), strict=True))


def find_ids(
    storage: Storage, folder: str, schema: pa.Schema, identity: Json
) -> dict[str, _Ids | None]:
    """Return the trial ids in every part in ``folder``: uint64 [rows]; None if it is damaged.

    Raises:
        RunCorruptError: As for ``find_rows``.
        ResultsError: The file system refuses to read a part.
    """
    found = read_parts(storage, folder, schema, identity, columns=ID)
    return {name: None if rows is None else ids_of(rows) for name, rows in found.items()}


def read_parts(
    storage: Storage,
    folder: str,
    schema: pa.Schema,
    identity: Json,
    *,
    columns: pa.Schema,
    where: Any = None,
    known: Mapping[str, pa.Table] | None = None,
) -> dict[str, pa.Table | None]:
    """Return rows of every part in ``folder``, as ``known`` has them; None if it is damaged.

    Args:
        storage: The run directory.
        folder: The folder.
        schema: What its parts hold.
        identity: What the run's trials mean.
        columns: Those of the columns to read.
        where: A pyarrow expression on them that the rows must satisfy.
        known: Parts that need not be read.

    Raises:
        RunCorruptError: As for ``find_rows``.
        ResultsError: The file system refuses to read a part.
    """

    def read(name: str) -> pa.Table | None:
        if known is not None and name in known:
            return known[name]
        check = _checked(
            storage.path(name), schema, identity, lambda file: _read(file, columns, where)
        )
        return read_intact(storage, name, check)

    names = part_names(storage, folder)
    return dict(zip(names, read_each(storage, names, read), strict=True))


def read_rows(
    storage: Storage, names: Sequence[str], schema: pa.Schema, where: Any = None
) -> list[pa.Table | None]:
    """Return the columns of ``schema`` of each of the named parts; None if it is damaged.

    Args:
        storage: The run directory.
        names: The parts.
        schema: The columns.
        where: A pyarrow expression that the rows must satisfy.
    """
    return read_each(
        storage,
        names,
        lambda name: read_intact(storage, name, lambda file: _read(file, schema, where)),
    )


def holds_any(storage: Storage, name: str, ids: _Ids) -> bool | None:
    """Tell whether a row of the part ``name`` is of a trial in ``ids``, ascending; None if damaged.

    Of a part of which the first rows are, no others are read.
    """

    def holds(file: pq.ParquetFile) -> bool:
        return any(
            contains(ids, np.asarray(np.from_dlpack(batch.column(0)), np.uint64)).any()
            for batch in file.iter_batches(columns=["trial_id"], use_threads=False)
        )

    return read_end(storage, name, holds) or read_intact(storage, name, holds)


def told_ids(storage: Storage, name: str) -> _Ids | None:
    """Return the trial ids that the part ``name`` tells: uint64 [rows]; None if it is damaged.

    Nothing else of it is read or compared, so they may be false: for those who read the part once
    something depends on them.
    """
    return read_end(storage, name, lambda file: ids_of(_read(file, ID)))


def is_whole(storage: Storage, name: str) -> bool:
    """Tell whether the part ``name`` is as it was written."""
    return read_intact(storage, name, lambda _: True) is True


def joined(tables: Iterable[pa.Table | None], schema: pa.Schema) -> pa.Table:
    """Return the rows of the tables that there are, with the columns of ``schema``."""
    there = (table for table in tables if table is not None)
    return pa.concat_tables([pa.Table.from_batches([], schema), *there])


def numbers(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Return a numeric column without nulls as a NumPy array, without loading pandas."""
    return np.from_dlpack(column.combine_chunks())


def ids_of(rows: pa.Table) -> _Ids:
    """Return the trial ids of ``rows``: uint64 [rows]."""
    return numbers(rows.column("trial_id"))


def part_names(storage: Storage, folder: str) -> list[str]:
    """Return the names of the parts in ``folder``, relative to the run directory."""
    return [f"{folder}/{file}" for file in storage.files(folder) if paths.is_part(file)]


def _read(file: pq.ParquetFile, schema: pa.Schema, where: Any = None) -> pa.Table:
    rows = file.read(schema.names, use_threads=False)  # see consistent_reads.py
    rows = rows.select(schema.names).cast(schema)
    return rows if where is None else rows.filter(where)


def _checked(
    place: str, schema: pa.Schema, identity: Json, read: Callable[[pq.ParquetFile], _T]
) -> Callable[[pq.ParquetFile], _T]:
    """Return ``read`` of a part that was found to be of the run."""

    def checked(file: pq.ParquetFile) -> _T:
        _check_belongs(place, _footer(file), schema, identity)
        return read(file)

    return checked


@dataclass(frozen=True)
class _Footer:
    """What a part's footer says: schema version and identity, None where it does not; columns."""

    version: str | None
    identity: str | None
    columns: tuple[str, ...]


def _footer(file: pq.ParquetFile) -> _Footer:
    """Return what is needed of a footer, copied: a whole one takes 50 KB of memory."""
    footer = file.metadata
    said = footer.metadata or {}
    version, identity = (said.get(key.encode()) for key in (_VERSION_KEY, _IDENTITY_KEY))
    return _Footer(
        None if version is None else version.decode(),
        None if identity is None else identity.decode(),
        tuple(footer.schema.names),
    )


def _check_belongs(place: str, footer: _Footer, schema: pa.Schema, identity: Json) -> None:
    expected = canonical_json(dict(identity))
    if footer.identity != expected:
        told = f"its identity is {footer.identity}" if footer.identity else "it tells no identity"
        raise RunCorruptError(
            f"the part holds trials of another campaign: {told}, expected {expected}",
            place=place,
            hint="Move it back to the run directory that it came from. If that is this one, it is "
            "damaged: once it is moved away, the same `injecttf2 run` command as before executes "
            "its trials again.",
        )
    if footer.version != str(SCHEMA_VERSION):
        raise RunCorruptError(
            f"the part has schema version {footer.version}, expected {SCHEMA_VERSION}",
            place=place,
            hint="Move it out of the run directory: another version of injecttf2 wrote it.",
        )
    missing = [column for column in schema.names if column not in footer.columns]
    if missing:
        raise RunCorruptError(
            f"the part lacks the columns {', '.join(missing)}",
            place=place,
            hint="Move it out of the run directory: this package did not write it.",
        )
