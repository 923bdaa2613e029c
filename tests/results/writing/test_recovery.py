from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from results.run_folder.failures import failures_file
from results.storage.local import LocalStorage
from results.writing.recovery import recover
from tests.results.conftest import given_up_of, run_header, write_part

HEADER = run_header()
IDENTITY = HEADER.identity
GOOD = "trials/part-000001-0a1b2c3d.parquet"
BAD = "trials/part-000007-0a1b2c3d.parquet"
Table = Callable[..., pa.Table]


@pytest.fixture
def storage(tmp_path: Path, trials: Table) -> LocalStorage:
    storage = LocalStorage(tmp_path)
    write_part(storage, GOOD, trials(2, 1, 2), IDENTITY)
    write_part(storage, BAD, trials(*range(100)), IDENTITY)
    return storage


def flipped(part: Path, column: str) -> bytes:
    """The contents of ``part`` with the last bit of a column's data flipped."""
    group = pq.read_metadata(part).row_group(0)
    chunks = [group.column(index) for index in range(group.num_columns)]
    (chunk,) = [chunk for chunk in chunks if chunk.path_in_schema == column]
    contents = bytearray(part.read_bytes())
    begin = chunk.dictionary_page_offset or chunk.data_page_offset
    contents[begin + chunk.total_compressed_size - 1] ^= 1
    return bytes(contents)


def test_ids_are_sorted_and_each_once(
    storage: LocalStorage, trial_id: Callable[[int], int]
) -> None:
    ids = recover(storage, HEADER).done_ids
    assert ids.dtype == np.uint64
    assert ids.tolist() == sorted(trial_id(number) for number in range(100))


def test_empty_directory_has_nothing_done(tmp_path: Path) -> None:
    recovered = recover(LocalStorage(tmp_path / "none"), HEADER)
    assert recovered.done_ids.dtype == np.uint64
    assert recovered.failed_ids.dtype == np.uint64
    assert (recovered.done_ids.tolist(), recovered.failed_ids.tolist()) == ([], [])
    assert (recovered.next_sequence, recovered.warnings) == (1, ())


@pytest.mark.parametrize("damage", ["footer", "trial_id", "accuracy", "worker"])
def test_damaged_part_is_hidden_and_told(
    storage: LocalStorage, trial_id: Callable[[int], int], damage: str
) -> None:
    path = Path(storage.path(BAD))
    contents = path.read_bytes()
    path.write_bytes(contents[:-50] if damage == "footer" else flipped(path, damage))
    recovered = recover(storage, HEADER)
    assert recovered.done_ids.tolist() == [trial_id(2), trial_id(1)]
    assert storage.files("trials") == [".part-000007-0a1b2c3d.parquet.torn", GOOD[7:]]
    assert recovered.next_sequence == 8
    (warning,) = recovered.warnings
    assert warning.startswith(f"{path} cannot be read and was renamed to trials/.part-000007")
    assert warning.endswith("are executed again.")
    assert len(pd.read_parquet(path.parent)) == 3


def test_damaged_injections_are_hidden_and_told(storage: LocalStorage, injections: Table) -> None:
    name = "injections/part-000009-0a1b2c3d.parquet"
    write_part(storage, name, injections(1), IDENTITY)
    Path(storage.path(name)).write_bytes(b"PAR1")
    recovered = recover(storage, HEADER)
    assert len(recovered.done_ids) == 100
    assert recovered.next_sequence == 10
    assert "injections are lost" in recovered.warnings[0]


def test_injections_without_their_trials_are_removed(
    storage: LocalStorage, trials: Table, injections: Table
) -> None:
    """A driver died in between; not so where a trial is done, or a part of trials is beside it."""
    for number, rows in ((3, [200, 201]), (4, [200, 5]), (5, [202])):
        name = f"part-00000{number}-0a1b2c3d.parquet"
        write_part(storage, f"injections/{name}", injections(*rows), IDENTITY)
        if number == 5:
            write_part(storage, f"trials/{name}", trials(5), IDENTITY)
    assert recover(storage, HEADER).warnings == ()
    assert storage.files("injections") == [
        "part-000004-0a1b2c3d.parquet",
        "part-000005-0a1b2c3d.parquet",
    ]


def test_injections_of_a_damaged_part_of_trials_are_removed(
    storage: LocalStorage, injections: Table
) -> None:
    write_part(storage, BAD.replace("trials", "injections"), injections(50, 51), IDENTITY)
    Path(storage.path(BAD)).write_bytes(b"PAR1")
    assert len(recover(storage, HEADER).warnings) == 1
    assert storage.files("injections") == []


def test_damaged_failures_are_hidden_and_told(storage: LocalStorage) -> None:
    cells = [given_up_of(2**64 - 1, 7)]
    storage.publish(*failures_file(cells, error="e", traceback="t"))
    name = "failures/20261123T063000.001234Z-0a1b2c3d.json"
    Path(storage.path(name)).write_text("{")
    recovered = recover(storage, HEADER)
    assert recovered.failed_ids.tolist() == [7, 2**64 - 1]
    assert recovered.warnings == (
        f"{storage.path(name)} cannot be read and was renamed to failures/.{name[9:]}.torn: "
        "trials that only it told were given up on are tried again.",
    )
    assert recover(storage, HEADER).warnings == ()


def test_unfinished_files_are_removed(storage: LocalStorage) -> None:
    Path(storage.path("trials/.part-000008-0a1b2c3d.parquet.ffffffff.tmp")).touch()
    recover(storage, HEADER)
    assert storage.files("trials") == [GOOD[7:], BAD[7:]]
