"""The rows of several parts as those of one: in the order of readers, nothing doubled.

Pure functions on tables, of memory in proportion to them and without pandas.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from results.frames import INJECTION_ORDER, TRIAL_ORDER, first_occurrences
from results.ids import Ids, contains
from results.run_folder.parts import numbers


def merged_trials(known: pa.Table, table: pa.Table) -> pa.Table:
    """Return the first row of every ``trial_id`` that is not known, by ``frames.TRIAL_ORDER``.

    Args:
        known: Rows of a run's schema of trials that are in other parts.
        table: Rows of the same schema.
    """
    both = _joined(known, table)
    first = np.zeros(both.num_rows, bool)
    first[first_occurrences(numbers(both.column("trial_id")))] = True
    order = _order(both, TRIAL_ORDER)
    return both.take(pa.array(order[first[order] & (order >= known.num_rows)]))


def merged_injections(known: pa.Table, table: pa.Table) -> pa.Table:
    """Return the rows that are not doubled or known, by ``frames.INJECTION_ORDER``.

    A row is taken for doubled only if every column, bit for bit, is that of the row before. So a
    site that is hit twice in a trial with other values keeps both of its rows.

    Args:
        known: Rows of ``INJECTIONS`` that are in other parts.
        table: Rows of ``INJECTIONS``.
    """
    both = _joined(known, table)
    order = _order(both, INJECTION_ORDER)
    new = np.zeros(both.num_rows, bool)
    new[:1] = True
    for column in both.columns:
        for values in bits_of(column):
            new[1:] |= np.diff(values[order]) != 0
    return both.take(pa.array(order[new & (order >= known.num_rows)]))


def rows_of(ids: Ids, table: pa.Table) -> pa.Table:
    """Return the rows of ``table`` that are of trials in ``ids``, ascending."""
    return table.filter(pa.array(contains(ids, numbers(table.column("trial_id")))))


def in_one_chunk(table: pa.Table) -> pa.Table:
    """Return ``table`` with one chunk a column, which costs no memory where it has one already."""
    return table.unify_dictionaries().combine_chunks()


def _joined(known: pa.Table, table: pa.Table) -> pa.Table:
    return in_one_chunk(pa.concat_tables([known, table]) if known.num_rows else table)


def _order(table: pa.Table, names: tuple[str, ...]) -> npt.NDArray[np.intp]:
    """Return the positions that sort ``table`` by some columns: text alphabetically, nulls last."""
    keys = [_key(table.column(name)) for name in reversed(names)]
    return np.lexsort([key for key in keys if len(key) and key.min() < key.max()] or [keys[0]])


def _key(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Return numbers that are in the order of the values."""
    if pa.types.is_dictionary(column.type):
        names = _one(column).dictionary.to_pylist()
        rank: npt.NDArray[np.int64] = np.empty(len(names) + 1, np.int64)
        rank[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
        rank[-1] = len(names)
        return np.take(rank, _filled(_one(column).indices, len(names)))
    kind = np.dtype(column.type.to_pandas_dtype())
    return _filled(_one(column), np.inf if kind.kind == "f" else np.iinfo(kind).max)


def bits_of(column: pa.ChunkedArray) -> Iterator[npt.NDArray[Any]]:
    """Yield whole numbers that are equal where the values are: which are null, and the others.

    Args:
        column: Numbers or strings, in one chunk if they are strings.

    Yields:
        Integers [rows], of one or two kinds.
    """
    array = _one(column)
    if array.null_count:
        yield _nulls(array)
    values = array.indices if pa.types.is_dictionary(array.type) else array
    numbers = _filled(values, 0)
    yield numbers.view(np.int64) if numbers.dtype == np.float64 else numbers


def _filled(array: pa.Array, value: float) -> npt.NDArray[Any]:
    """Return numbers with ``value`` where they are null; a scalar of pyarrow would load pandas."""
    if not array.null_count:
        return np.from_dlpack(array)
    kind = np.dtype(array.type.to_pandas_dtype())
    numbers = np.frombuffer(array.buffers()[1], kind)[array.offset : array.offset + len(array)]
    return np.where(_nulls(array), kind.type(value), numbers)


def _nulls(array: pa.Array) -> npt.NDArray[Any]:
    return np.from_dlpack(pc.is_null(array).cast(pa.int8()))


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()
