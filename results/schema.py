"""The columns of a run directory's Parquet files: one row a trial, one row an injected site.

The writer accepts nothing else and the readers ask for nothing else. Every field carries a
one-sentence ``description`` in its metadata, from which the results reference is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

SCHEMA_VERSION = 1
"""Version of the run directory: of both schemas and of ``campaign.json``."""

OUTCOMES = ("masked", "benign", "sdc", "due")
"""What can become of an injected sample; exhaustive and disjoint."""

TALLIES = ("samples", "injected", "masked", "benign", "sdc", "sdc_critical", "due")
"""The columns of ``TRIALS`` that count samples, int64."""

NAME = pa.dictionary(pa.int32(), pa.string())
"""The type of a column that holds few different strings."""


def _field(name: str, kind: Any, description: str, *, nullable: bool = False) -> Any:
    return pa.field(name, kind, nullable=nullable, metadata={"description": description})


TRIALS = pa.schema(
    [
        _field("trial_id", pa.uint64(), "Identity of the trial: a hash of all that decides it."),
        _field("cell_id", pa.uint64(), "Identity of the trial's cell, shared by its repetitions."),
        _field("layer", NAME, "Path of the layer that was corrupted."),
        _field("layer_index", pa.int32(), "Position of the layer in model order, from 0."),
        _field("layer_type", NAME, "Class of the layer."),
        _field("target", NAME, "What was corrupted: outputs or weights."),
        _field("variable", NAME, "Weight variable of the layer; null for outputs.", nullable=True),
        _field("fault", NAME, "Fault model that was applied to the chosen elements."),
        _field("bit", pa.int16(), "Bit from the least significant; null if drawn.", nullable=True),
        _field(
            "bit_field",
            NAME,
            "Set of bits that each site's bit was drawn from: sign, exponent, mantissa or any; null"
            " where there is none.",
            nullable=True,
        ),
        _field(
            "probability",
            pa.float64(),
            "Rate as the probability that a sample is hit, 0 to 1; null for another rate.",
            nullable=True,
        ),
        _field(
            "count",
            pa.int64(),
            "Rate as the number of sites in the trial; null for another rate.",
            nullable=True,
        ),
        _field(
            "ber",
            pa.float64(),
            "Rate as the bit error rate, faults per bit, 0 to 1; null for another rate.",
            nullable=True,
        ),
        _field("repetition", pa.int32(), "Number of the repetition within its cell, from 0."),
        _field("samples", pa.int64(), "Samples in the data set."),
        _field("injected", pa.int64(), "Samples that ran with at least one fault."),
        _field("masked", pa.int64(), "Injected samples whose output is golden up to rounding."),
        _field("benign", pa.int64(), "Injected samples whose output changed, the decision not."),
        _field("sdc", pa.int64(), "Injected samples whose decision changed."),
        _field("sdc_critical", pa.int64(), "The sdc samples that were right and now are wrong."),
        _field("due", pa.int64(), "Injected samples whose output holds NaN or Inf."),
        _field("accuracy", pa.float64(), "Fraction of all samples decided right, 0 to 1."),
        _field("golden_accuracy", pa.float64(), "The same fraction without faults, 0 to 1."),
        _field("seconds", pa.float64(), "Time the trial took, its share of the chunk, in seconds."),
        _field("worker", NAME, "Worker that ran the trial."),
        _field("finished_at", pa.timestamp("us", "UTC"), "When the trial was finished, in UTC."),
    ]
)
"""One row a trial. ``masked + benign + sdc + due = injected``."""

INJECTIONS = pa.schema(
    [
        _field("trial_id", pa.uint64(), "Identity of the trial that the site belongs to."),
        _field("sample", pa.int64(), "Position of the sample in the data set, from 0."),
        _field("variable", NAME, "Weight variable of the layer; null for outputs.", nullable=True),
        _field("element", pa.int64(), "Flat position in the tensor, row by row, from 0."),
        _field(
            "bit",
            pa.int16(),
            "Bit from the least significant; null if the fault model has none.",
            nullable=True,
        ),
        _field("original", pa.float64(), "Value of the element before the fault."),
        _field("corrupted", pa.float64(), "Value of the element after the fault."),
        _field("outcome", NAME, "Outcome of the sample: masked, benign, sdc or due."),
        _field(
            "golden_class",
            pa.int32(),
            "Class decided without faults; null if the model does not classify.",
            nullable=True,
        ),
        _field(
            "faulty_class",
            pa.int32(),
            "Class decided with the fault; null if due or if the model does not classify.",
            nullable=True,
        ),
    ]
)
"""One row an injected site."""

PROVENANCE_COLUMNS = ("seconds", "worker", "finished_at")
"""The columns of ``TRIALS`` that tell how a row came about."""

PURE_COLUMNS = tuple(name for name in TRIALS.names if name not in PROVENANCE_COLUMNS)
"""The columns of ``TRIALS`` that are a pure function of model, data, trial and seed."""

Rows = Sequence[Mapping[str, object]] | Mapping[str, Sequence[object]]
"""Rows as mappings, or columns by name (lists or 1-d arrays of one length)."""


def trials_table(rows: Rows) -> pa.Table:
    """Return ``rows`` as a table with the schema ``TRIALS``.

    A nullable column that is left out is null.

    Raises:
        ValueError: A column is unknown or missing, or a value does not fit its column.
    """
    return _table(rows, TRIALS)


def injections_table(rows: Rows) -> pa.Table:
    """Return ``rows`` as a table with the schema ``INJECTIONS``; see ``trials_table``."""
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
    """Check that the outcomes of every trial add up to its injected samples.

    Args:
        trials: A table with the schema ``TRIALS``.

    Raises:
        ValueError: They do not; the message tells the first such row.
    """
    count = {
        name: np.asarray(np.from_dlpack(trials.column(name).combine_chunks()), np.int64)
        for name in TALLIES
    }
    total = count["masked"] + count["benign"] + count["sdc"] + count["due"]
    wrong = (
        (total != count["injected"])
        | (count["injected"] > count["samples"])
        | (count["sdc_critical"] > count["sdc"])
    )
    if wrong.any():
        position = int(wrong.argmax())
        row = {name: int(column[position]) for name, column in count.items()}
        raise ValueError(
            f"Trial {trials.column('trial_id')[position]} has the tallies {row}, expected masked + "
            "benign + sdc + due = injected <= samples and sdc_critical <= sdc."
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
