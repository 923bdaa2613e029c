from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from results import INJECTIONS, TRIALS, frames, injections_table

Table = Callable[..., pa.Table]

TEXT = (
    *("layer", "layer_type", "target", "variable", "fault", "bit_field", "parameters"),
    *("sampling", "protection", "worker"),
)


@pytest.mark.parametrize("numbers", [(), (0, 1)])
def test_trial_dtypes(trials: Table, numbers: tuple[int, ...]) -> None:
    dtypes = frames.trials_frame(trials(*numbers)).dtypes.astype(str)
    expected = dict.fromkeys(TRIALS.names, "int64") | dict.fromkeys(TEXT, "category")
    expected |= {"trial_id": "uint64", "cell_id": "uint64", "bit": "Int16", "count": "Int64"}
    expected |= {"layer_index": "int32", "repetition": "int32"}
    floats = ("probability", "ber", "accuracy", "golden_accuracy", "seconds")
    expected |= dict.fromkeys(floats, "float64") | {"finished_at": "datetime64[us, UTC]"}
    expected |= {"listed_as": "str", "detected": "Int64", "bare_trial_id": "UInt64"}
    assert dtypes.to_dict() == expected


@pytest.mark.parametrize("numbers", [(), (0, 1)])
def test_injection_dtypes(injections: Table, numbers: tuple[int, ...]) -> None:
    dtypes = frames.injections_frame(injections(*numbers)).dtypes.astype(str)
    assert dtypes.to_dict() == {
        "trial_id": "uint64",
        "layer": "category",
        "sample": "int64",
        "variable": "category",
        "element": "int64",
        "bit": "Int16",
        "original": "float64",
        "corrupted": "float64",
        "outcome": "category",
        "golden_class": "Int32",
        "faulty_class": "Int32",
    }
    assert list(dtypes.index) == INJECTIONS.names


def test_layers_are_in_model_order_other_strings_alphabetical(trials: Table) -> None:
    table = pa.concat_tables(
        [trials(32, worker="b"), trials(0, worker="c"), trials(16, worker="a")]
    )
    frame = frames.trials_frame(table)
    assert frame["layer"].cat.categories.tolist() == ["conv2d", "dense", "activation"]
    assert frame["layer"].tolist() == ["conv2d", "dense", "activation"]
    assert frame["worker"].cat.categories.tolist() == ["a", "b", "c"]


def test_rows_are_sorted_by_layer_bit_and_repetition(trials: Table) -> None:
    numbers = np.random.default_rng(0).permutation(48)
    frame = frames.trials_frame(trials(*numbers.tolist()))
    keys = list(zip(frame["layer_index"], frame["bit"], frame["repetition"], strict=True))
    assert keys == sorted(keys)
    assert len(set(keys)) == 48


def test_parameters_of_a_fault_keep_their_repetitions_together(trials: Table) -> None:
    tables = [
        trials(number, bit=None, fault="scale", parameters=parameters, repetition=repetition)
        for number, (parameters, repetition) in enumerate(
            [('{"factor":2}', 1), ('{"factor":-1}', 0), ('{"factor":2}', 0), ('{"factor":-1}', 1)]
        )
    ]
    frame = frames.trials_frame(pa.concat_tables(tables))
    assert frame["parameters"].tolist() == ['{"factor":-1}'] * 2 + ['{"factor":2}'] * 2
    assert frame["repetition"].tolist() == [0, 1, 0, 1]


def test_sites_of_a_trial_in_several_layers_are_sorted_by_layer(injections: Table) -> None:
    rows = injections(0).to_pylist()
    both = [{**row, "layer": layer} for row in rows for layer in ("dense", "conv2d")]
    frame = frames.injections_frame(injections_table(both))
    assert frame["sample"].tolist() == [0, 0, 1, 1]
    assert frame["layer"].tolist() == ["conv2d", "dense"] * 2


def test_frame_does_not_depend_on_the_order_of_rows(trials: Table) -> None:
    numbers = list(range(48))
    assert frames.trials_frame(trials(*numbers)).equals(frames.trials_frame(trials(*numbers[::-1])))


def test_repeated_trial_is_dropped(trials: Table) -> None:
    frame = frames.trials_frame(trials(0, 1, 0))
    assert frame["repetition"].tolist() == [0, 1]
    assert frame.index.tolist() == [0, 1]


def test_repeated_injections_are_dropped_nan_included(injections: Table) -> None:
    frame = frames.injections_frame(injections(1, 0, 1))
    assert frame["sample"].tolist() == [0, 1, 0, 1]
    assert frame["trial_id"].is_monotonic_increasing
    assert np.isnan(frame["corrupted"].to_numpy()).tolist() == [False, True, False, True]


def test_missing_bit_stays_missing(trials: Table) -> None:
    frame = frames.trials_frame(pa.concat_tables([trials(0, bit=None, bit_field="any"), trials(2)]))
    assert frame["bit"].isna().tolist() == [True, False]
    assert frame["bit_field"].tolist()[0] == "any"


def test_first_occurrences_are_positions_in_order() -> None:
    ids = np.array([5, 3, 5, 2, 3], np.uint64)
    assert frames.first_occurrences(ids).tolist() == [0, 1, 3]


def test_unknown_column_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"by names 'layr', expected one of: layer"):
        frames.check_columns(["bit", "layr"], TRIALS.names, "by")


def test_null_is_a_value_that_differs() -> None:
    frame = pd.DataFrame({"layer": ["a", "a"], "variable": ["kernel", None], "bit": [1, 2]})
    assert frames.differing(frame, ["layer", "variable", "bit"]) == ["variable", "bit"]
