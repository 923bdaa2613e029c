"""Trials that were given up on: what is recorded of them, and what that costs."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from results import GivenUp, ResultsWarning, RunHeader, RunWriter, open_run, paths
from tests.results.conftest import given_up_of

Table = Callable[..., pa.Table]
Id = Callable[[int], int]


@pytest.fixture
def path(tmp_path: Path, header: RunHeader) -> Path:
    RunWriter.open(tmp_path / "run", header).close()
    return tmp_path / "run"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "mnist"


def test_failed_trials_are_those_given_up_on_and_not_done_since(
    run: Path, header: RunHeader, trials: Table, trial_id: Id
) -> None:
    with RunWriter.open(run, header) as writer:
        assert writer.failed_ids().tolist() == []
        for numbers in ((0, 1), (2,), (2,)):
            given_up = [given_up_of(*map(trial_id, numbers))]
            writer.record_failures(given_up, error="e", traceback="t")
        assert writer.failed_ids().tolist() == [trial_id(2), trial_id(1), trial_id(0)]
        writer.append(trials(1, 3))
        writer.flush()
        assert writer.failed_ids().tolist() == [trial_id(2), trial_id(0)]
    with RunWriter.open(run, header) as writer:
        assert writer.failed_ids().dtype == np.uint64
        assert writer.failed_ids().tolist() == [trial_id(2), trial_id(0)]


def test_failures_are_on_disk_at_once_in_one_file(
    run: Path, header: RunHeader, trial_id: Id
) -> None:
    given_up = [
        given_up_of(trial_id(0), trial_id(1), repetition=3, layer="conv2d", bit=0),
        given_up_of(trial_id(2), layer="conv2d", bit=1),
    ]
    with RunWriter.open(run, header) as writer:
        writer.record_failures(given_up, error="ValueError: x", traceback="Traceback …\udce9")
        (file,) = (run / "failures").iterdir()
        contents = json.loads(file.read_text())
    assert paths.is_failures(file.name)
    assert contents.pop("failed_at").endswith("+00:00")
    assert contents == {
        "error": "ValueError: x",
        "traceback": "Traceback …?",
        "cells": [
            {
                "trial": {"layer": "conv2d", "bit": 0},
                "repetition": 3,
                "trial_ids": [str(trial_id(0)), str(trial_id(1))],
            },
            {
                "trial": {"layer": "conv2d", "bit": 1},
                "repetition": None,
                "trial_ids": [str(trial_id(2))],
            },
        ],
    }


def test_failures_are_listed_until_the_trial_succeeds(
    path: Path, header: RunHeader, trials: Table, trial_id: Id
) -> None:
    with RunWriter.open(path, header) as writer:
        for number in (3, 1, 2):
            given_up = [given_up_of(trial_id(number), bit=number)]
            writer.record_failures(given_up, error=f"error {number}", traceback="…")
        writer.append(trials(1))
    frame = open_run(path).failures()
    assert frame.dtypes.astype(str).to_dict() == {
        "trial_id": "uint64",
        "error": "str",
        "traceback": "str",
        "failed_at": "datetime64[us, UTC]",
        "trial": "object",
    }
    assert frame["trial_id"].tolist() == [trial_id(3), trial_id(2)]
    assert frame["error"].tolist() == ["error 3", "error 2"]
    assert frame["trial"].tolist() == [{"bit": 3}, {"bit": 2}]


def test_trial_that_was_given_up_on_twice_has_its_latest_record(
    path: Path, header: RunHeader
) -> None:
    with RunWriter.open(path, header) as writer:
        writer.record_failures([given_up_of(1, 2, 3)], error="first", traceback="t")
        writer.record_failures([given_up_of(2, 1)], error="second", traceback="t")
    with RunWriter.open(path, header) as writer:
        writer.record_failures([given_up_of(1)], error="third", traceback="t")
    frame = open_run(path).failures()
    assert frame["trial_id"].tolist() == [3, 2, 1]
    assert frame["error"].tolist() == ["first", "second", "third"]
    status = open_run(path).status()
    assert [(failed.trial_id, failed.error) for failed in status.failed] == [
        (3, "first"),
        (2, "second"),
        (1, "third"),
    ]


def test_file_of_one_trial_is_read_too(path: Path, header: RunHeader) -> None:
    record = {
        "trial_id": 2**64 - 1,
        "error": "e",
        "traceback": "t",
        "trial": {"bit": 3},
        "failed_at": "2026-11-23T06:30:00+00:00",
    }
    (path / "failures").mkdir()
    (path / "failures" / f"{2**64 - 1}.json").write_text(json.dumps(record))
    (row,) = open_run(path).failures().to_dict("records")
    assert row == {**record, "failed_at": pd.Timestamp(2026, 11, 23, 6, 30, tz="UTC")}
    with RunWriter.open(path, header) as writer:
        assert writer.failed_ids().tolist() == [2**64 - 1]


def test_file_with_an_entry_for_each_trial_is_read_too(path: Path) -> None:
    contents = {
        "error": "e",
        "traceback": "t",
        "failed_at": "2026-11-23T06:30:00+00:00",
        "trials": [
            {"trial_id": 9, "trial": {"bit": 3, "repetition": 1}},
            {"trial_id": 8, "trial": {"bit": 3, "repetition": 0}},
        ],
    }
    (path / "failures").mkdir()
    name = "20261123T063000.001234Z-0a1b2c3d.json"
    (path / "failures" / name).write_text(json.dumps(contents))
    frame = open_run(path).failures()
    assert frame["trial_id"].tolist() == [8, 9]
    assert frame["trial"].tolist() == [{"bit": 3, "repetition": 0}, {"bit": 3, "repetition": 1}]


def test_ids_are_read_as_texts_and_as_the_numbers_that_they_used_to_be(path: Path) -> None:
    ids = [2**64 - 1, 2**53 + 1, 7]
    (path / "failures").mkdir()
    for second, written in enumerate([ids, [str(one) for one in ids[:2]]]):
        contents = {
            "error": f"e{second}",
            "traceback": "t",
            "failed_at": f"2026-11-23T06:30:0{second}+00:00",
            "cells": [{"trial": {}, "repetition": None, "trial_ids": written}],
        }
        name = f"20261123T06300{second}.001234Z-0a1b2c3d.json"
        (path / "failures" / name).write_text(json.dumps(contents))
    frame = open_run(path).failures()
    assert frame["trial_id"].tolist() == [7, 2**53 + 1, 2**64 - 1]
    assert frame["error"].tolist() == ["e0", "e1", "e1"]


def test_repetitions_of_a_cell_are_told_one_by_one(path: Path, header: RunHeader) -> None:
    with RunWriter.open(path, header) as writer:
        cells = [given_up_of(7, 5, 6, repetition=4, bit=31), given_up_of(8, repetition=0, bit=2)]
        writer.record_failures(cells, error="e", traceback="t")
    frame = open_run(path).failures()
    assert frame["trial_id"].tolist() == [5, 6, 7, 8]
    assert frame["trial"].tolist() == [
        {"bit": 31, "repetition": 5},
        {"bit": 31, "repetition": 6},
        {"bit": 31, "repetition": 4},
        {"bit": 2, "repetition": 0},
    ]


def test_trial_that_is_given_up_on_takes_some_tens_of_bytes(path: Path, header: RunHeader) -> None:
    count = 100_000
    ids = np.arange(2**63, 2**63 + count, dtype=np.uint64)
    cells = [
        GivenUp(part, {"layer": "dense", "bit": bit, "probability": 0.5}, 0)
        for bit, part in enumerate(np.array_split(ids, 10))
    ]
    tracemalloc.start()
    try:
        with RunWriter.open(path, header) as writer:
            writer.record_failures(cells, error="e", traceback="t")
        with RunWriter.open(path, header) as writer:
            assert len(writer.failed_ids()) == count
        status = open_run(path).status()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (status.failures, status.layers["dense"].failed) == (count, count)
    assert [failed.trial_id for failed in status.failed] == ids[:20].tolist()
    assert status.failed[19].trial == "layer dense, bit 0, probability 0.5, repetition 19"
    assert peak < 200 * count
    (file,) = (path / "failures").iterdir()
    assert file.stat().st_size < 25 * count


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"error": "e", "traceback": "t", "failed_at": 5, "trials": []}',
        '{"error": "e", "traceback": "t", "failed_at": "2026-11-23", "trials": [7]}',
        '{"error": "e", "traceback": "t", "failed_at": "2026-11-23",'
        ' "trials": [{"trial_id": -1, "trial": {}}]}',
        '{"error": "e", "traceback": "t", "failed_at": "2026-11-23",'
        ' "cells": [{"trial_ids": [1, "two"], "trial": {}, "repetition": 0}]}',
        '{"error": "e", "traceback": "t", "failed_at": "2026-11-23",'
        ' "cells": [{"trial_ids": ["18446744073709551616"], "trial": {}, "repetition": 0}]}',
        '{"error": "e", "traceback": "t", "failed_at": "2026-11-23",'
        ' "cells": [{"trial_ids": [1.8446744073709552e19], "trial": {}, "repetition": 0}]}',
        '{"error": "e", "traceback": "t", "failed_at": "2026-11-23",'
        ' "cells": [{"trial_ids": [1], "trial": {}, "repetition": "first"}]}',
        '{"error": "e", "traceback": "t", "failed_at": "2026-11-23",'
        ' "cells": [{"trial_ids": [1], "trial": {"layer": [1]}, "repetition": 0}]}',
        '{"error": "e", "traceback": "t", "failed_at": "2026-11-23",'
        ' "cells": [{"trial_ids": [1], "trial": {}, "repetition": Infinity}]}',
        "[" * 100_000,
    ],
    ids=lambda text: text[-60:],
)
def test_damaged_failures_are_left_out_with_a_warning(path: Path, text: str) -> None:
    name = "20261123T063000.001234Z-0a1b2c3d.json"
    (path / "failures").mkdir()
    (path / "failures" / name).write_text(text)
    (path / "failures" / f".{name}.0a1b2c3d.tmp").write_text(json.dumps({}))
    with pytest.warns(ResultsWarning, match=f"{name} cannot be read"):
        assert len(open_run(path).failures()) == 0
