"""Parts: immutable Parquet files, each holding rows that were flushed together.

A part is published whole or not at all, so one that cannot be read was damaged later or copied
incompletely. Readers leave it out and say so; the next writer sets it aside.
"""

from __future__ import annotations

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
from results.intact import read_each, read_intact, refused
from results.manifest import canonical_json
from results.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from results.manifest import Json
    from results.storage import Storage

ROW_GROUP_ROWS = 262_144
"""Rows in a row group of a part; small parts have one."""

_T = TypeVar("_T")
_Ids = npt.NDArray[np.uint64]
_ID = pa.schema([pa.field("trial_id", pa.uint64())])
_VERSION_KEY = "injecttf2.schema_version"
_IDENTITY_KEY = "injecttf2.identity"


@dataclass(frozen=True)
class Parts:
    """The parts in one folder of a run directory, as names relative to it.

    Args:
        readable: Those whose footer is intact.
        unreadable: The others.
    """

    readable: tuple[str, ...]
    unreadable: tuple[str, ...]


def write_part(storage: Storage, name: str, table: pa.Table, identity: Json) -> None:
    """Publish ``table`` as the part ``name``; its footer holds schema version and identity."""
    footer = {_VERSION_KEY: str(SCHEMA_VERSION), _IDENTITY_KEY: canonical_json(dict(identity))}
    lean = pa.schema([field.remove_metadata() for field in table.schema], metadata=footer)
    strings = [field.name for field in lean if pa.types.is_dictionary(field.type)]
    table = table.cast(lean)
    storage.publish(
        name,
        lambda file: pq.write_table(
            table,
            file,
            compression="zstd",
            use_dictionary=strings,
            row_group_size=ROW_GROUP_ROWS,
            write_page_checksum=True,  # without it most damage to numbers makes other numbers
        ),
    )


def find_parts(storage: Storage, folder: str, schema: pa.Schema, identity: Json) -> Parts:
    """Return the parts in ``folder``, told apart by whether their footer can be read.

    Raises:
        RunCorruptError: A readable part holds rows of another campaign or schema version, or
            lacks a column.
        ResultsError: The file system refuses to read a part.
    """
    found = find_rows(storage, folder, schema, identity)
    return Parts(
        tuple(name for name, rows in found.items() if rows is not None),
        tuple(name for name, rows in found.items() if rows is None),
    )


def find_rows(
    storage: Storage, folder: str, schema: pa.Schema, identity: Json
) -> dict[str, int | None]:
    """Return how many rows every part in ``folder`` has; None if its footer is damaged.

    Raises:
        RunCorruptError: A readable part holds rows of another campaign or schema version, or
            lacks a column.
        ResultsError: The file system refuses to read a part.
    """
    names = _names(storage, folder)
    return _scan(storage, names, schema, identity, lambda file: int(file.metadata.num_rows))


def find_ids(
    storage: Storage, folder: str, schema: pa.Schema, identity: Json
) -> dict[str, _Ids | None]:
    """Return the trial ids in every part in ``folder``: uint64 [rows]; None if it is damaged.

    All columns are read, a row group at a time, since damage to any of them is damage.

    Raises:
        RunCorruptError: An intact part holds rows of another campaign or schema version, or
            lacks a column.
        ResultsError: The file system refuses to read a part.
    """
    return _scan(storage, _names(storage, folder), schema, identity, _ids_of_whole)


def read_new(
    storage: Storage,
    folder: str,
    schema: pa.Schema,
    identity: Json,
    *,
    columns: pa.Schema,
    known: Mapping[str, pa.Table],
) -> dict[str, pa.Table | None]:
    """Return some columns of every part in ``folder``, as ``known`` has them; None if damaged.

    Raises:
        RunCorruptError: An intact part holds rows of another campaign or schema version, or
            lacks a column.
        ResultsError: The file system refuses to read a part.
    """
    names = _names(storage, folder)
    new = [name for name in names if name not in known]
    found = _scan(storage, new, schema, identity, lambda file: _read(file, columns))
    return {name: found[name] if name in found else known[name] for name in names}


def read_columns(storage: Storage, names: Iterable[str], schema: pa.Schema) -> pa.Table:
    """Return the columns of ``schema`` from the named parts, without loading pandas.

    Raises:
        RunCorruptError: The data of a part cannot be read.
    """
    names = [*names]
    tables = read_each(storage, names, lambda file: _read(file, schema))
    for name, table in zip(names, tables, strict=True):
        if table is None:
            raise _corrupt(storage, name)
    return pa.concat_tables([pa.Table.from_batches([], schema), *tables])


def read_ids(storage: Storage, name: str) -> _Ids | None:
    """Return the trial ids in the part ``name``: uint64 [rows]; None if it cannot be read."""
    return read_intact(storage, name, _ids)


def holds_any(storage: Storage, name: str, ids: _Ids) -> bool | None:
    """Tell whether a row of the part ``name`` is of a trial in ``ids``, ascending; None if damaged.

    Of a part of which the first rows are, no others are read.
    """
    return read_intact(
        storage,
        name,
        lambda file: any(
            contains(ids, np.asarray(np.from_dlpack(batch.column(0)), np.uint64)).any()
            for batch in file.iter_batches(columns=["trial_id"])
        ),
    )


def is_whole(storage: Storage, name: str) -> bool:
    """Tell whether all columns of the part ``name`` can be read."""
    return read_intact(storage, name, _ids_of_whole) is not None


def read_dataset(
    storage: Storage,
    names: Sequence[str],
    schema: pa.Schema,
    *,
    columns: Sequence[str] | None = None,
    where: Any = None,
) -> pa.Table:
    """Return rows of the named parts, in the order of ``names``.

    Args:
        storage: The run directory.
        names: The parts.
        schema: What their columns are read as.
        columns: Names of the columns to read; all by default.
        where: A pyarrow expression that the rows must satisfy.

    Raises:
        RunCorruptError: The data of a part cannot be read.
    """
    from pyarrow import dataset

    columns = list(columns) if columns is not None else schema.names
    if not names:
        return schema.empty_table().select(columns)
    filesystem, base = storage.arrow()
    try:
        rows = dataset.dataset(
            [f"{base}/{name}" for name in names],
            schema=schema,
            format=dataset.ParquetFileFormat(
                default_fragment_scan_options=dataset.ParquetFragmentScanOptions(
                    page_checksum_verification=True
                )
            ),
            filesystem=filesystem,
        )
        return rows.to_table(columns=columns, filter=where)
    except (pa.ArrowException, OSError) as error:
        for name in names:
            if read_intact(storage, name, lambda file: _read(file, schema)) is None:
                raise _corrupt(storage, name) from error
        raise refused(storage.path(names[0]), error) from error


def numbers(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Return a numeric column without nulls as a NumPy array, without loading pandas."""
    return np.from_dlpack(column.combine_chunks())


def _read(file: pq.ParquetFile, schema: pa.Schema) -> pa.Table:
    return file.read(schema.names).cast(schema)


def _ids(file: pq.ParquetFile) -> _Ids:
    return numbers(_read(file, _ID).column("trial_id"))


def _ids_of_whole(file: pq.ParquetFile) -> _Ids:
    for group in range(file.num_row_groups):
        file.read_row_group(group)
    return _ids(file)


def _names(storage: Storage, folder: str) -> list[str]:
    return [f"{folder}/{file}" for file in storage.files(folder) if paths.is_part(file)]


def _scan(
    storage: Storage,
    names: Sequence[str],
    schema: pa.Schema,
    identity: Json,
    read: Callable[[pq.ParquetFile], _T],
) -> dict[str, _T | None]:
    """Return ``read`` of the named parts, which must be of the run; None if damaged."""
    found = read_each(storage, names, lambda file: (_footer(file), read(file)))
    scanned: dict[str, _T | None] = dict.fromkeys(names)
    for name, contents in zip(names, found, strict=True):
        if contents is not None:
            footer, scanned[name] = contents
            _check_belongs(storage.path(name), footer, schema, identity)
    return scanned


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
    if footer.identity not in {None, expected}:
        raise RunCorruptError(
            f"the part holds trials of another campaign: its identity is {footer.identity}, "
            f"expected {expected}",
            place=place,
            hint="Move it back to the run directory that it came from.",
        )
    if footer.version not in {None, str(SCHEMA_VERSION)}:
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


def _corrupt(storage: Storage, name: str) -> RunCorruptError:
    return RunCorruptError(
        "the file is damaged: its footer is intact, its data cannot be read",
        place=storage.path(name),
        hint="The same `injecttf2 run` command as before sets it aside and executes its trials "
        "again."
        if name.startswith(paths.TRIALS)
        else "Move it out of the run directory: its injections are lost, their trials are done and "
        "keep their tallies.",
    )
