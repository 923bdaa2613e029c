"""Trials that are in a run directory twice, as an interrupted merge leaves them: are they equal?

A row is a pure function of its trial. Where two rows of a trial differ, one of them is not of this
run, and nobody can tell which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from results.errors import RunCorruptError
from results.ids import Ids, ascending, contains
from results.run_folder.merging import bits_of, in_one_chunk
from results.run_folder.parts import ids_of, joined, read_rows
from results.run_folder.schema import PROVENANCE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from results.storage.storage import Storage


def check_doubled(
    storage: Storage, ids: Mapping[str, npt.NDArray[np.uint64] | None], schema: pa.Schema
) -> None:
    """Check that the rows of a trial agree but for timing and provenance, where it has several.

    Args:
        storage: The run directory.
        ids: The trial ids in each part, uint64 [rows]; None for one that is damaged.
        schema: The run's schema of trials.

    Raises:
        RunCorruptError: Two rows differ; the message names the trial, the column and the parts.
        ResultsError: The file system refuses to read a part.
    """
    known = {name: part for name, part in ids.items() if part is not None and len(part)}
    twice = _twice([*known.values()])
    if not len(twice):
        return
    names = [name for name, part in known.items() if contains(twice, part).any()]
    tables = read_rows(storage, names, schema)
    table = in_one_chunk(joined(tables, schema))
    order = np.argsort(ids_of(table), kind="stable")
    same = np.diff(ids_of(table)[order]) == 0
    for column in (name for name in schema.names if name not in PROVENANCE_COLUMNS):
        for values in bits_of(table.column(column)):
            differs = same & (np.diff(values[order]) != 0)
            if differs.any():
                at = order[differs.argmax() :][:2]
                counts = [0 if rows is None else rows.num_rows for rows in tables]
                parts = np.repeat(names, counts)[at].tolist()
                raise _contradiction(storage, table, at, column, parts)


def _twice(parts: list[npt.NDArray[np.uint64]]) -> Ids:
    """Return the ids that are there more than once."""
    ordered = np.sort(np.concatenate([np.empty(0, np.uint64), *parts]))
    return ascending(ordered[1:][ordered[1:] == ordered[:-1]])


def _contradiction(
    storage: Storage, table: pa.Table, at: npt.NDArray[Any], column: str, parts: list[str]
) -> RunCorruptError:
    one, other = (table.column(column)[int(position)].as_py() for position in at)
    trial = table.column("trial_id")[int(at[0])].as_py()
    return RunCorruptError(
        f"trial {trial} is there twice with different results: {column} is {one} in {parts[0]} and "
        f"{other} in {parts[1]}",
        place=storage.path(),
        hint="Move the part that is not of this run out of the run directory. If you do not know "
        "which it is, move both: the same `injecttf2 run` command as before executes what was only "
        "there again.",
    )
