import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from results import INJECTIONS, TRIALS, injections_table, trials_schema, trials_table
from results.run_folder.tables import check_table, check_tallies

NULLABLE = ["variable", "bit", "bit_field", "parameters", "probability", "count", "ber"]


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
    assert [table.column(name).null_count for name in NULLABLE] == [1] * 7


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
    "change",
    [
        {"masked": 2},
        {"due": 0},
        {"samples": 5},
        {"sdc_critical": 3},
        {"due_changed": 2},
        {"injected": 7},
    ],
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


MORE = ("metric_error", "sdc_top5")


def test_columns_of_metrics_and_criteria_are_taken(row: Callable[[int], Any]) -> None:
    rows = [{**row(0), "metric_error": math.inf, "sdc_top5": 3}]
    table = trials_table(rows, MORE)
    assert table.schema.equals(trials_schema(MORE))
    assert table.column("metric_error").to_pylist() == [math.inf]
    assert table.column("sdc_top5").to_pylist() == [3]
    assert trials_table(rows, MORE[::-1]).equals(table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric_error": None}, "column metric_error has 1 nulls"),
        ({"sdc_top5": None}, "column sdc_top5 has 1 nulls"),
        ({"sdc_top5": "three"}, "column sdc_top5, int64"),
        ({"metric_other": 1.0}, "column metric_other is unknown"),
    ],
)
def test_metric_that_does_not_fit_is_named(
    row: Callable[[int], Any], change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        trials_table([{**row(0), "metric_error": 0.5, "sdc_top5": 3, **change}], MORE)


def test_metric_that_was_not_announced_is_refused(row: Callable[[int], Any]) -> None:
    with pytest.raises(ValueError, match="column metric_error is unknown"):
        trials_table([{**row(0), "metric_error": 0.5}])


@pytest.mark.parametrize(("met", "fits"), [(-1, False), (0, True), (6, True), (7, False)])
def test_criterion_is_met_by_injected_samples_only(
    row: Callable[[int], Any], met: int, fits: bool
) -> None:
    table = trials_table([{**row(0), "metric_error": -1.0, "sdc_top5": met}], MORE)
    expected = "sdc_critical <= sdc and due_changed <= due and 0 <= sdc_top5 <= injected"
    with nullcontext() if fits else pytest.raises(ValueError, match=expected):
        check_tallies(table)
