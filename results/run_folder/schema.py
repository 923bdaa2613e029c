"""The columns of a run directory's Parquet files: one row a trial, one row an injected site.

The metrics and criteria that a campaign asks for add columns of their own to its trials. They are
the last, in alphabetical order: so the others are where they are in every run, and the order in
which a campaign names its metrics, which its identity leaves out, makes no other files.

The writer accepts nothing else and the readers ask for nothing else. Every field carries a
one-sentence ``description`` in its metadata, from which the results reference is made.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

SCHEMA_VERSION = 5
"""Version of the run directory: of both schemas and of ``campaign.json``."""

OUTCOMES = ("masked", "benign", "sdc", "due")
"""What can become of an injected sample; exhaustive and disjoint."""

TALLIES = ("samples", "injected", "masked", "benign", "sdc", "sdc_critical", "due", "due_changed")
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
            "parameters",
            NAME,
            "Parameters of the fault model beside the bit, as JSON; null where it has none.",
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
        _field(
            "sampling",
            NAME,
            "How the trial's sites were chosen: random, paired, exhaustive or listed.",
        ),
        _field(
            "protection",
            NAME,
            "What protects the model from the fault, by type and parameters; null where nothing "
            "does.",
            nullable=True,
        ),
        _field(
            "bare_trial_id",
            pa.uint64(),
            "Identity of the trial of the same faults without the protection; null without one.",
            nullable=True,
        ),
        _field("repetition", pa.int32(), "Number of the repetition within its cell, from 0."),
        _field("sites", pa.int64(), "Sites that the trial was given, as drawn or listed."),
        _field("samples", pa.int64(), "Samples in the data set."),
        _field("injected", pa.int64(), "Samples that ran with at least one fault."),
        _field("masked", pa.int64(), "Injected samples whose output is golden up to rounding."),
        _field("benign", pa.int64(), "Injected samples whose output changed, the decision not."),
        _field("sdc", pa.int64(), "Injected samples whose decision changed."),
        _field("sdc_critical", pa.int64(), "The sdc samples whose score is lower than golden."),
        _field("due", pa.int64(), "Injected samples whose output holds NaN or Inf."),
        _field(
            "due_changed",
            pa.int64(),
            "The due samples whose largest output, the first NaN if there is one, is at another "
            "place than without the fault: critical too to injectors that compare argmax alone.",
        ),
        _field(
            "detected",
            pa.int64(),
            "The due samples that a protection stopped, whatever their output; null without one.",
            nullable=True,
        ),
        _field(
            "accuracy",
            pa.float64(),
            "Mean score of all samples, 0 to 1: for classes, the fraction decided right.",
        ),
        _field("golden_accuracy", pa.float64(), "The same mean without faults, 0 to 1."),
        _field(
            "listed_as",
            pa.string(),
            "What the fault list calls the trial: its trial, or layer, index and bit for a list of "
            "SFI; null where the sites were drawn.",
            nullable=True,
        ),
        _field("seconds", pa.float64(), "Time the trial took, its share of the chunk, in seconds."),
        _field("worker", NAME, "Worker that ran the trial."),
        _field("finished_at", pa.timestamp("us", "UTC"), "When the trial was finished, in UTC."),
    ]
)
"""One row a trial. ``masked + benign + sdc + due = injected``. See also ``trials_schema``."""

INJECTIONS = pa.schema(
    [
        _field("trial_id", pa.uint64(), "Identity of the trial that the site belongs to."),
        _field("layer", NAME, "Layer that the site is in."),
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
"""One row an injected site, and sample that it is in: a fault in weights is in all of them."""

PROVENANCE_COLUMNS = ("listed_as", "seconds", "worker", "finished_at")
"""The columns of ``TRIALS`` that tell how a row came about."""

PURE_COLUMNS = tuple(name for name in TRIALS.names if name not in PROVENANCE_COLUMNS)
"""The columns of ``TRIALS`` that are a pure function of model, data, trial and seed.

So are those of metrics and criteria.
"""

METRIC, CRITERION = "metric_", "sdc_"
"""What the names of columns of metrics and of criteria begin with."""

RATES = ("probability", "count", "ber")
"""Columns of which at most one tells how often a trial injects."""

DRAWN = (*RATES, "sampling")
"""Columns that tell how a trial's sites were chosen: how often, and by what plan."""

RATE_ENDS = ("rate", "low", "high")
"""What the names of a rate and its bounds end with, in a summary."""


def trials_schema(columns: Iterable[str]) -> pa.Schema:
    """Return ``TRIALS`` with columns of metrics and criteria after it, in alphabetical order.

    Args:
        columns: ``metric_<name>``, float64, a mean over all samples, which may be infinite; and
            ``sdc_<name>``, int64, a number of injected samples. None of them is nullable.

    Raises:
        ValueError: A name is another one, is there twice, or is that of a column which trials or
            their summary have besides.
    """
    names = sorted(columns)
    if not names:
        return TRIALS
    fields = [_column(name) for name in names]
    rated = ("sdc", *(name for name in names if name.startswith(CRITERION)))
    taken = {*TRIALS.names, *(f"{name}_{end}" for name in rated for end in RATE_ENDS)}
    for name in names:
        if name in taken or names.count(name) > 1:
            raise ValueError(f"The column {name!r} would be there twice, expected another name.")
    return pa.schema([*TRIALS, *fields])


def criteria_of(schema: pa.Schema) -> tuple[str, ...]:
    """Return the columns of criteria in a run's schema of trials."""
    return _more(schema, CRITERION)


def metrics_of(schema: pa.Schema) -> tuple[str, ...]:
    """Return the columns of metrics in a run's schema of trials."""
    return _more(schema, METRIC)


def _column(name: str) -> pa.Field:
    """Return the column of a metric or a criterion."""
    if name.startswith(METRIC) and name != METRIC:
        what = f"Mean of the metric {name.removeprefix(METRIC)} over all samples."
        return _field(name, pa.float64(), what)
    if name.startswith(CRITERION) and name != CRITERION:
        what = f"Injected samples that meet the criterion {name.removeprefix(CRITERION)}."
        return _field(name, pa.int64(), what)
    raise ValueError(
        f"{name!r} names no column of a metric or a criterion, expected {METRIC}NAME or "
        f"{CRITERION}NAME."
    )


def _more(schema: pa.Schema, prefix: str) -> tuple[str, ...]:
    return tuple(name for name in schema.names[len(TRIALS) :] if name.startswith(prefix))
