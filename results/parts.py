"""Parts: immutable Parquet files, each holding rows that were flushed together.

A part is published whole or not at all, so one that cannot be read was damaged later or copied
incompletely. Readers leave it out and say so; the next writer sets it aside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from results import paths
from results.errors import ResultsError, RunCorruptError
from results.manifest import canonical_json
from results.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from results.storage import Storage

ROW_GROUP_ROWS = 262_144
"""Rows in a row group of a part; small parts have one."""

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


def write_part(
    storage: Storage, name: str, table: pa.Table, identity: Mapping[str, int | str]
) -> None:
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
        ),
    )


def find_parts(
    storage: Storage, folder: str, schema: pa.Schema, identity: Mapping[str, int | str]
) -> Parts:
    """Return the parts in ``folder``, told apart by whether their footer can be read.

    Raises:
        RunCorruptError: A readable part holds rows of another campaign or lacks a column.
        ResultsError: The file system refuses to read a part.
    """
    names = [f"{folder}/{file}" for file in storage.files(folder) if paths.is_part(file)]
    readable = []
    for name in names:
        footer = _damaged_is_none(storage, name, pq.read_metadata)
        if footer is not None:
            _check_belongs(storage.path(name), footer, schema, identity)
            readable.append(name)
    return Parts(tuple(readable), tuple(name for name in names if name not in {*readable}))


def read_columns(storage: Storage, names: Iterable[str], schema: pa.Schema) -> pa.Table:
    """Return the columns of ``schema`` from the named parts, without loading pandas.

    Raises:
        RunCorruptError: The data of a part cannot be read.
    """
    tables = [pa.Table.from_batches([], schema)]
    for name in names:
        table = _damaged_is_none(storage, name, lambda path: _read(path, schema))
        if table is None:
            raise _corrupt(storage.path(name))
        tables.append(table)
    return pa.concat_tables(tables)


def read_ids(storage: Storage, name: str) -> npt.NDArray[np.uint64] | None:
    """Return the trial ids in the part ``name``: uint64 [rows]; None if it cannot be read."""
    schema = pa.schema([pa.field("trial_id", pa.uint64())])
    table = _damaged_is_none(storage, name, lambda path: _read(path, schema))
    return None if table is None else numbers(table.column("trial_id"))


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
    files = [storage.path(name) for name in names]
    try:
        rows = dataset.dataset(files, schema=schema, format="parquet")
        return rows.to_table(columns=columns, filter=where)
    except (pa.ArrowInvalid, OSError) as error:
        broken = next((name for name in names if _is_damaged(storage, name, schema)), None)
        raise _corrupt(storage.path(broken or paths.TRIALS)) from error


def part_rows(storage: Storage, name: str) -> int:
    """Return how many rows the footer of the part ``name`` tells.

    Raises:
        RunCorruptError: The footer cannot be read.
    """
    footer = _damaged_is_none(storage, name, pq.read_metadata)
    if footer is None:
        raise _corrupt(storage.path(name))
    return int(footer.num_rows)


def numbers(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Return a numeric column without nulls as a NumPy array, without loading pandas."""
    return np.from_dlpack(column.combine_chunks())


def _read(path: str, schema: pa.Schema) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read(schema.names).cast(schema)


def _is_damaged(storage: Storage, name: str, schema: pa.Schema) -> bool:
    return _damaged_is_none(storage, name, lambda path: _read(path, schema)) is None


def _damaged_is_none(storage: Storage, name: str, read: Any) -> Any:
    """Return ``read(path)``, or None if what it found there is not intact.

    pyarrow reports damage as ``ArrowInvalid`` or as an ``OSError`` without a number; one with a
    number comes from the file system and says nothing about the contents.
    """
    path = storage.path(name)
    try:
        return read(path)
    except pa.ArrowInvalid:
        return None
    except OSError as error:
        if error.errno is None:
            return None
        raise ResultsError(
            f"the part could not be read: {error.strerror or error}",
            place=path,
            hint="Mend the disk or the permissions and try again.",
        ) from error


def _check_belongs(
    place: str, footer: Any, schema: pa.Schema, identity: Mapping[str, int | str]
) -> None:
    recorded = (footer.metadata or {}).get(_IDENTITY_KEY.encode())
    expected = canonical_json(dict(identity))
    if recorded is not None and recorded.decode() != expected:
        raise RunCorruptError(
            f"the part holds trials of another campaign: its identity is {recorded.decode()}, "
            f"expected {expected}",
            place=place,
            hint="Move it back to the run directory that it came from.",
        )
    missing = [column for column in schema.names if column not in footer.schema.names]
    if missing:
        raise RunCorruptError(
            f"the part lacks the columns {', '.join(missing)}",
            place=place,
            hint="Move it out of the run directory: this package did not write it.",
        )


def _corrupt(place: str) -> RunCorruptError:
    return RunCorruptError(
        "the file is damaged: its footer is intact, its data cannot be read",
        place=place,
        hint="Move it out of the run directory and run the campaign again: "
        "only the trials that were in it are executed.",
    )
