from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from results import INJECTIONS, TRIALS, frames, injections_table
from results.run_folder.merging import merged_injections, merged_trials

Table = Callable[..., pa.Table]


def shuffled(table: pa.Table) -> pa.Table:
    order = np.random.default_rng(3).permutation(table.num_rows)
    return pa.concat_tables([table.take(pa.array([one])) for one in order])


def test_trials_are_in_the_order_of_readers(trials: Table) -> None:
    mixed = [
        trials(5, bit=None, bit_field="any"),
        trials(7, bit=None, bit_field="sign"),
        trials(9, bit=None, fault="scale", parameters='{"factor":2}'),
        trials(8, bit=None, fault="scale", parameters='{"factor":-1}'),
    ]
    table = shuffled(pa.concat_tables([trials(*range(5)), *mixed, trials(20, 40, worker="w")]))
    merged = merged_trials(TRIALS.empty_table(), table)
    assert merged.schema.equals(TRIALS)
    ordered = frames.trials_frame(table)["trial_id"].tolist()
    assert merged.column("trial_id").to_pylist() == ordered


def test_first_row_of_a_trial_stays(trials: Table, trial_id: Callable[[int], int]) -> None:
    table = pa.concat_tables([trials(0, 1, worker="first"), trials(1, 2, worker="second")])
    merged = merged_trials(TRIALS.empty_table(), table)
    ids = dict(
        zip(merged.column("trial_id").to_pylist(), merged.column("worker").to_pylist(), strict=True)
    )
    assert ids == {trial_id(0): "first", trial_id(1): "first", trial_id(2): "second"}


def test_doubled_injections_are_dropped_nan_included(injections: Table) -> None:
    merged = merged_injections(INJECTIONS.empty_table(), shuffled(injections(2, 0, 2, 1)))
    assert merged.schema.equals(INJECTIONS)
    pd.testing.assert_frame_equal(
        frames.injections_frame(merged), frames.injections_frame(injections(0, 1, 2))
    )
    assert merged.num_rows == 6
    ids = merged.column("trial_id").to_pylist()
    assert ids == sorted(ids)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("bit", None),
        ("bit", 0),
        ("layer", "dense"),
        ("variable", "kernel"),
        ("original", -0.0),
        ("corrupted", float("inf")),
        ("outcome", "benign"),
        ("golden_class", None),
        ("faulty_class", 3),
        ("element", 9),
        ("sample", 5),
        ("trial_id", 4),
    ],
)
def test_rows_that_differ_in_one_column_both_stay(
    injections: Table, column: str, value: object
) -> None:
    row = {**injections(0).to_pylist()[0], "original": 0.0}
    both = injections_table([row, {**row, column: value}])
    assert merged_injections(INJECTIONS.empty_table(), both).num_rows == 2


def test_what_is_known_is_left_out(trials: Table, injections: Table) -> None:
    assert merged_trials(trials(1, 3), trials(0, 1, 2)).equals(
        merged_trials(trials(), trials(0, 2))
    )
    merged = merged_injections(injections(1), injections(0, 1))
    pd.testing.assert_frame_equal(merged.to_pandas(), injections(0).to_pandas())
    changed = injections_table([{**injections(1).to_pylist()[0], "element": 99}])
    assert merged_injections(injections(1), changed).to_pylist() == changed.to_pylist()


@pytest.mark.parametrize(
    ("merge", "schema"), [(merged_trials, TRIALS), (merged_injections, INJECTIONS)]
)
def test_nothing_merges_into_nothing(
    merge: Callable[[pa.Table, pa.Table], pa.Table], schema: pa.Schema
) -> None:
    empty = schema.empty_table()
    assert merge(empty, empty).equals(empty)
