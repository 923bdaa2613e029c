from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from results import INJECTIONS, OUTCOMES, PURE_COLUMNS, TRIALS, injections_table, trials_table
from results.schema import check_table, check_tallies

TRIAL_COLUMNS = [
    "trial_id",
    "cell_id",
    "layer",
    "layer_index",
    "layer_type",
    "target",
    "variable",
    "fault",
    "bit",
    "bit_field",
    "probability",
    "count",
    "ber",
    "repetition",
    "samples",
    "injected",
    "masked",
    "benign",
    "sdc",
    "sdc_critical",
    "due",
    "accuracy",
    "golden_accuracy",
    "seconds",
    "worker",
    "finished_at",
]
NULLABLE = ["variable", "bit", "bit_field", "probability", "count", "ber"]
TEXT = pa.dictionary(pa.int32(), pa.string())


def test_trial_columns_are_those_of_the_design() -> None:
    assert TRIALS.names == TRIAL_COLUMNS


def test_injection_columns_are_those_of_the_design() -> None:
    assert INJECTIONS.names == [
        "trial_id",
        "sample",
        "variable",
        "element",
        "bit",
        "original",
        "corrupted",
        "outcome",
        "golden_class",
        "faulty_class",
    ]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (pa.uint64(), "trial_id cell_id"),
        (TEXT, "layer layer_type target variable fault bit_field worker"),
        (pa.int32(), "layer_index repetition"),
        (pa.int16(), "bit"),
        (pa.float64(), "probability ber accuracy golden_accuracy seconds"),
        (pa.int64(), "count samples injected masked benign sdc sdc_critical due"),
        (pa.timestamp("us", "UTC"), "finished_at"),
    ],
)
def test_trial_types(kind: pa.DataType, names: str) -> None:
    assert [field.name for field in TRIALS if field.type == kind] == names.split()


def test_only_what_may_not_apply_is_nullable() -> None:
    assert [field.name for field in TRIALS if field.nullable] == NULLABLE
    assert [field.name for field in INJECTIONS if field.nullable] == [
        "variable",
        "bit",
        "golden_class",
        "faulty_class",
    ]


@pytest.mark.parametrize("field", [*TRIALS, *INJECTIONS], ids=lambda field: field.name)
def test_every_field_is_described_in_one_sentence(field: pa.Field) -> None:
    description = field.metadata[b"description"].decode()
    assert description.endswith(".")
    assert description[0].isupper()


def test_pure_columns_leave_out_timing_and_worker() -> None:
    assert list(PURE_COLUMNS) == TRIAL_COLUMNS[:-3]


def test_outcomes_are_columns() -> None:
    assert OUTCOMES == ("masked", "benign", "sdc", "due")
    assert set(OUTCOMES) < set(TRIALS.names)


def test_rows_become_a_table_with_the_schema(row: Callable[[int], Any]) -> None:
    table = trials_table([row(0), row(1)])
    assert table.schema.equals(TRIALS)
    assert table.to_pylist()[1]["trial_id"] == row(1)["trial_id"]
    assert table.column("bit").to_pylist() == [31, 31]


def test_columns_become_the_same_table_as_rows(row: Callable[[int], Any]) -> None:
    rows = [row(0), row(1)]
    columns: dict[str, Any] = {name: [one[name] for one in rows] for name in TRIALS.names}
    columns["samples"] = np.array([10, 10], np.int32)
    columns["layer"] = np.array(["conv2d", "conv2d"])
    assert trials_table(columns).equals(trials_table(rows))


def test_no_rows_become_an_empty_table() -> None:
    assert trials_table([]).equals(TRIALS.empty_table())
    assert injections_table([]).equals(INJECTIONS.empty_table())


def test_nullable_columns_may_be_left_out(row: Callable[[int], Any]) -> None:
    some = {name: value for name, value in row(0).items() if name not in NULLABLE}
    table = trials_table([some])
    assert [table.column(name).null_count for name in NULLABLE] == [1] * 6


def test_missing_column_is_named(row: Callable[[int], Any]) -> None:
    columns = {name: [value] for name, value in row(0).items() if name != "samples"}
    with pytest.raises(ValueError, match="column samples is missing"):
        trials_table(columns)


def test_unknown_column_is_named(row: Callable[[int], Any]) -> None:
    with pytest.raises(ValueError, match="column sdcs is unknown"):
        trials_table([{**row(0), "sdcs": 1}])


@pytest.mark.parametrize(
    ("column", "value"),
    [("samples", "ten"), ("bit", 70_000), ("trial_id", -1), ("layer", 5)],
)
def test_value_that_does_not_fit_names_its_column(
    row: Callable[[int], Any], column: str, value: object
) -> None:
    with pytest.raises(ValueError, match=f"column {column}, "):
        trials_table([{**row(0), column: value}])


def test_null_where_a_value_is_needed_is_refused(row: Callable[[int], Any]) -> None:
    with pytest.raises(ValueError, match="column sdc has 1 nulls, expected none"):
        trials_table([{**row(0), "sdc": None}])


def test_check_names_every_wrong_column(trials: Callable[..., pa.Table]) -> None:
    table = trials(0).drop_columns("due")
    position = table.schema.names.index("bit")
    table = table.set_column(position, "bit", pa.array([1], pa.int64()))
    with pytest.raises(ValueError, match=r"due is missing; column bit is int64, expected int16"):
        check_table(table, TRIALS)


def test_check_refuses_another_order(trials: Callable[..., pa.Table]) -> None:
    with pytest.raises(ValueError, match="in the order"):
        check_table(trials(0).select(TRIALS.names[::-1]), TRIALS)


@pytest.mark.parametrize(
    "change", [{"masked": 2}, {"due": 0}, {"samples": 5}, {"sdc_critical": 3}, {"injected": 7}]
)
def test_tallies_that_do_not_add_up_are_told(
    trials: Callable[..., pa.Table], trial_id: Callable[[int], int], change: dict[str, int]
) -> None:
    table = pa.concat_tables([trials(0, 1), trials(2, **change)])
    with pytest.raises(ValueError, match=f"Trial {trial_id(2)} has the tallies"):
        check_tallies(table)


def test_tallies_that_add_up_pass(trials: Callable[..., pa.Table]) -> None:
    check_tallies(trials(0, 1))
    check_tallies(trials())
