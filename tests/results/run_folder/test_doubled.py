"""Parts of the same trials: harmless where they agree, told where they do not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from results import RunCorruptError, RunHeader, RunWriter, compact, open_run
from results.reading.status import StatusReader
from results.run_folder.parts import named_part
from results.storage.opening import open_storage

Table = Callable[..., pa.Table]


@pytest.fixture
def path(tmp_path: Path, header: RunHeader, trials: Table) -> Path:
    with RunWriter.open(tmp_path, header) as writer:
        writer.append(trials(*range(10)))
    return tmp_path


def add(path: Path, table: pa.Table, header: RunHeader) -> str:
    name, contents = named_part("trials", 2, "0a1b2c3d", table, header.identity)
    open_storage(path).publish(name, contents)
    return name


def readers(path: Path, header: RunHeader, trial_id: int) -> dict[str, Callable[[], Any]]:
    return {
        "run": lambda: RunWriter.open(path, header).close(),
        "trials": lambda: open_run(path).trials(),
        "layers": lambda: open_run(path).trials(["layer"]),
        "summary": lambda: open_run(path).summary(),
        "trial": lambda: open_run(path).trial(trial_id),
        "failures": lambda: open_run(path).failures(),
        "compact": lambda: compact(path),
    }


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"sdc": 3, "benign": 1}, "benign is 2 in .* and 1 in"),
        ({"accuracy": 0.75}, "accuracy is 0.8 in .* and 0.75 in"),
        ({"layer": "other"}, "layer is conv2d in .* and other in"),
        ({"bit": None}, "bit is 31 in .* and None in"),
    ],
)
def test_trial_with_two_results_is_refused_by_all_who_read_it(
    path: Path,
    header: RunHeader,
    trials: Table,
    trial_id: Callable[[int], int],
    change: dict[str, object],
    column: str,
) -> None:
    name = add(path, trials(1, 20, **change), header)
    before = sorted(file.name for file in (path / "trials").iterdir())
    for read in readers(path, header, trial_id(1)).values():
        with pytest.raises(RunCorruptError, match=f"{column} {name}") as caught:
            read()
        assert f"trial {trial_id(1)} is there twice" in caught.value.message
        assert "executes what was only there again" in str(caught.value.hint)
    assert sorted(file.name for file in (path / "trials").iterdir()) == before


def test_status_of_a_trial_with_two_results_tells_it_and_counts_it_once(
    path: Path, header: RunHeader, trials: Table, trial_id: Callable[[int], int]
) -> None:
    reader = StatusReader(open_storage(path))
    assert reader.read().contradiction is None
    name = add(path, trials(1, 20, accuracy=0.75), header)
    for _ in range(2):
        status = reader.read()
        assert status.done == 11
        assert f"trial {trial_id(1)} is there twice" in (status.contradiction or "")
    (path / name).unlink()
    assert (reader.read().done, reader.read().contradiction) == (10, None)


def test_trial_that_is_there_twice_with_one_result_is_one(
    path: Path, header: RunHeader, trials: Table, trial_id: Callable[[int], int]
) -> None:
    """Timing and provenance may differ: it was executed twice."""
    add(path, trials(1, 1, 20, seconds=9.0, worker="worker-7"), header)
    for read in readers(path, header, trial_id(1)).values():
        read()
    assert open_run(path).status().contradiction is None
    assert len(open_run(path).trials()) == 11
