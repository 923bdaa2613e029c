"""Rows as tables that fit a schema, and whether a table does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from results.run_folder.schema import INJECTIONS, TALLIES, criteria_of, trials_schema

Rows = Sequence[Mapping[str, object]] | Mapping[str, Sequence[object]]
"""Rows as mappings, or columns by name (lists or 1-d arrays of one length)."""


def trials_table(rows: Rows, columns: Iterable[str] = ()) -> pa.Table:
    """Return ``rows`` as a table with the schema ``trials_schema(columns)``.

    A nullable column that is left out is null.

    Args:
        rows: The trials: a sequence of mappings, or a mapping of columns, lists or 1-d arrays of
            one length.
        columns: Names of the columns of metrics and criteria.

    Returns:
        The table, its columns in the order of the schema.

    Raises:
        ValueError: A column is unknown or missing, or a value does not fit its column.
    """
    return _table(rows, trials_schema(columns))


def injections_table(rows: Rows) -> pa.Table:
    """Return ``rows`` as a table with the schema ``INJECTIONS``.

    Args:
        rows: As for ``trials_table``.

    Raises:
        ValueError: As for ``trials_table``.
    """
    return _table(rows, INJECTIONS)


def check_table(table: pa.Table, schema: pa.Schema) -> None:
    """Check that ``table`` has the columns of ``schema``, in order, without forbidden nulls.

    Raises:
        ValueError: It has not; the message names every column that is wrong, nulls last: they
            are looked for where all the types are right.
    """
    problems = [] if table.schema.equals(schema) else _type_problems(table.schema, schema)
    nulls = zip(schema, table.columns, strict=True) if not problems else ()
    problems += [
        f"column {field.name} has {column.null_count} nulls, expected none"
        for field, column in nulls
        if not field.nullable and column.null_count
    ]
    _raise_if(problems)


def check_tallies(trials: pa.Table) -> None:
    """Check that the outcomes of every trial add up, and that no criterion exceeds them.

    Args:
        trials: A table with a run's schema of trials.

    Raises:
        ValueError: They do not; the message tells the first such row.
    """
    criteria = criteria_of(trials.schema)
    count = {
        name: np.asarray(np.from_dlpack(trials.column(name).combine_chunks()), np.int64)
        for name in (*TALLIES, *criteria)
    }
    total = count["masked"] + count["benign"] + count["sdc"] + count["due"]
    wrong = (
        (total != count["injected"])
        | (count["injected"] > count["samples"])
        | (count["sdc_critical"] > count["sdc"])
        | (count["due_changed"] > count["due"])
    )
    for name in criteria:
        wrong |= (count[name] < 0) | (count[name] > count["injected"])
    if wrong.any():
        position = int(wrong.argmax())
        row = {name: int(column[position]) for name, column in count.items()}
        raise ValueError(
            f"Trial {trials.column('trial_id')[position]} has the tallies {row}, expected masked + "
            "benign + sdc + due = injected <= samples, sdc_critical <= sdc and due_changed <= due"
            + "".join(f" and 0 <= {name} <= injected" for name in criteria)
            + "."
        )


def _table(rows: Rows, schema: pa.Schema) -> pa.Table:
    columns = rows if isinstance(rows, Mapping) else _columns(rows, schema)
    required = [field.name for field in schema if not field.nullable or field.name in columns]
    _raise_if(_name_problems(list(columns), required))
    length = len(columns[schema.names[0]])
    arrays = [
        _array(columns[field.name], field)
        if field.name in columns
        else pa.nulls(length, field.type)
        for field in schema
    ]
    table = pa.table(arrays, schema=schema)
    check_table(table, schema)
    return table


def _columns(rows: Sequence[Mapping[str, object]], schema: pa.Schema) -> dict[str, list[object]]:
    names = dict.fromkeys([*schema.names, *(name for row in rows for name in row)])
    return {name: [row.get(name) for row in rows] for name in names}


def _array(values: Any, field: pa.Field) -> pa.Array:
    if pa.types.is_dictionary(field.type):
        values = list(values)
    try:
        return pa.array(values, field.type)
    except (pa.ArrowException, OverflowError) as error:
        raise ValueError(
            f"The table does not fit the schema: column {field.name}, {field.type}: {error}"
        ) from error


def _type_problems(received: pa.Schema, expected: pa.Schema) -> list[str]:
    problems = _name_problems(received.names, expected.names)
    if not problems and received.names != expected.names:
        problems = [f"columns are in the order {received.names}, expected {expected.names}"]
    once = [field for field in expected if received.names.count(field.name) == 1]
    return problems + [
        f"column {field.name} is {received.field(field.name).type}, expected {field.type}"
        for field in once
        if received.field(field.name).type != field.type
    ]


def _name_problems(received: Sequence[str], expected: Sequence[str]) -> list[str]:
    problems = [f"column {name} is missing" for name in expected if name not in received]
    problems += [f"column {name} is unknown" for name in received if name not in expected]
    problems += [f"column {name} appears twice" for name in {*received} if received.count(name) > 1]
    return problems


def _raise_if(problems: Sequence[str]) -> None:
    if problems:
        raise ValueError("The table does not fit the schema: " + "; ".join(problems) + ".")
