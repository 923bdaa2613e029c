from collections.abc import Callable

import pyarrow as pa
import pytest

from results import ResultsError, Run
from tests.results.conftest import hits_of

Table = Callable[..., pa.Table]
Make = Callable[..., Run]


def test_drift_counts_the_sdc_samples_of_each_pair_of_classes(made: Make, trials: Table) -> None:
    rows = hits_of(
        {},
        {"sample": 1},
        {"sample": 2, "faulty_class": 3},
        {"sample": 3, "golden_class": 2},
        {"sample": 4, "outcome": "benign", "faulty_class": 7},
        {"sample": 5, "outcome": "due", "faulty_class": None},
    )
    drift = made(trials(0), injections=rows).class_drift()
    assert drift.columns.tolist() == ["golden_class", "faulty_class", "count", "share"]
    assert drift.to_numpy().tolist() == [[2, 1, 1, 1], [7, 1, 2, 2 / 3], [7, 3, 1, 1 / 3]]


def test_sample_with_several_sites_counts_once(made: Make, trials: Table) -> None:
    drift = made(trials(0), injections=hits_of({"element": 1}, {"element": 2})).class_drift()
    assert drift["count"].tolist() == [1]


def test_cell_with_more_trials_leans_no_share(made: Make, trials: Table) -> None:
    """Cell 0 went to class 1 in both of its trials, cell 1 to class 3 in its only one."""
    rows = pa.concat_tables(
        [hits_of({}, number=0), hits_of({}, number=1), hits_of({"faulty_class": 3}, number=2)]
    )
    drift = made(trials(0, 1, 2), injections=rows).class_drift()
    assert drift.to_numpy().tolist() == [[7, 1, 2, 0.5], [7, 3, 1, 0.5]]


def test_model_without_classes_has_no_drift(made: Make, trials: Table) -> None:
    rows = hits_of({"golden_class": None, "faulty_class": None})
    with pytest.raises(ResultsError, match="have no classes"):
        made(trials(0), injections=rows).class_drift()


def test_what_a_protection_leaves_is_no_drift_of_the_bare_model(made: Make, trials: Table) -> None:
    rows = pa.concat_tables([hits_of({}, number=0), hits_of({"faulty_class": 3}, number=2)])
    tmr = {"protection": "tmr layers=conv2d", "detected": 0}
    assert made(trials(0), trials(2, **tmr), injections=rows).class_drift()[
        "faulty_class"
    ].tolist() == [1]
    same = made(trials(0, **tmr), trials(2, **tmr), injections=rows, name="same").class_drift()
    assert same["faulty_class"].tolist() == [1, 3]
    ecc = {"protection": "ecc target=outputs", "detected": 0}
    several = made(trials(0, **ecc), trials(2, **tmr), injections=rows, name="several")
    with pytest.raises(ResultsError, match="all trials are under one of 2 protections"):
        several.class_drift()
