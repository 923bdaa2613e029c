import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from results import TRIALS, ResultsError, RunCorruptError
from results.parts import (
    find_parts,
    is_whole,
    read_columns,
    read_dataset,
    read_ids,
    write_part,
)
from results.storage import LocalStorage

IDENTITY: dict[str, int | str] = {"version": 1, "model": "aa11", "seed": 7}
NAME = "trials/part-000001-0a1b2c3d.parquet"
OTHER = "trials/part-000002-0a1b2c3d.parquet"

Trials = Callable[..., pa.Table]


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


@pytest.fixture
def part(storage: LocalStorage, trials: Trials, tmp_path: Path) -> Path:
    write_part(storage, NAME, trials(*range(100)), IDENTITY)
    return tmp_path / NAME


def damage_data(part: Path) -> None:
    """Overwrite the first column's pages; the footer stays intact."""
    contents = bytearray(part.read_bytes())
    contents[4:104] = b"\xff" * 100
    part.write_bytes(contents)


def test_part_reads_back_as_it_was(storage: LocalStorage, part: Path, trials: Trials) -> None:
    assert read_dataset(storage, [NAME], TRIALS).equals(trials(*range(100)))


def test_footer_holds_version_and_identity(part: Path) -> None:
    footer = pq.read_metadata(part).metadata
    assert footer[b"injecttf2.schema_version"] == b"3"
    assert json.loads(footer[b"injecttf2.identity"]) == IDENTITY


def test_columns_are_zstd_and_strings_dictionary_encoded(part: Path) -> None:
    group = pq.read_metadata(part).row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert "RLE_DICTIONARY" in columns["layer"].encodings
    assert "RLE_DICTIONARY" not in columns["trial_id"].encodings


def test_pandas_reads_parts_alone(part: Path, tmp_path: Path, trials: Trials) -> None:
    (tmp_path / "trials" / ".part-000002-0a1b2c3d.parquet.ffffffff.tmp").write_bytes(b"PAR1")
    (tmp_path / "trials" / ".part-000003-0a1b2c3d.parquet.torn").write_bytes(b"PAR1")
    frame = pd.read_parquet(tmp_path / "trials")
    assert list(frame.columns) == TRIALS.names
    assert frame["trial_id"].tolist() == trials(*range(100)).column("trial_id").to_pylist()
    assert frame["layer"].dtype == "category"


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_torn_part_is_unreadable(
    storage: LocalStorage, part: Path, trials: Trials, keep: int
) -> None:
    write_part(storage, OTHER, trials(200), IDENTITY)
    part.write_bytes(part.read_bytes()[:keep])
    found = find_parts(storage, "trials", TRIALS, IDENTITY)
    assert (found.readable, found.unreadable) == ((OTHER,), (NAME,))


def test_damaged_footer_is_unreadable(storage: LocalStorage, part: Path) -> None:
    contents = part.read_bytes()
    part.write_bytes(contents[:-200] + b"\x99" * 192 + contents[-8:])
    assert find_parts(storage, "trials", TRIALS, IDENTITY).unreadable == (NAME,)


def test_other_files_are_no_parts(storage: LocalStorage, part: Path) -> None:
    for name in (".part-000002-0a1b2c3d.parquet.torn", "notes.txt", ".part-1.parquet"):
        (part.parent / name).touch()
    found = find_parts(storage, "trials", TRIALS, IDENTITY)
    assert (found.readable, found.unreadable) == ((NAME,), ())


def test_damaged_data_name_the_part(storage: LocalStorage, part: Path, trials: Trials) -> None:
    write_part(storage, OTHER, trials(200), IDENTITY)
    damage_data(part)
    assert find_parts(storage, "trials", TRIALS, IDENTITY).readable == (NAME, OTHER)
    assert read_ids(storage, NAME) is None
    for read in (read_dataset, read_columns):
        with pytest.raises(RunCorruptError, match="its data cannot be read") as caught:
            read(storage, [OTHER, NAME], TRIALS)
        assert caught.value.place == str(part)
        assert "sets it aside and executes its trials again" in str(caught.value.hint)


def test_bit_that_is_flipped_in_any_column_is_damage(storage: LocalStorage, part: Path) -> None:
    whole = part.read_bytes()
    group = pq.read_metadata(part).row_group(0)
    for index in range(group.num_columns):
        column = group.column(index)
        begin = column.dictionary_page_offset or column.data_page_offset
        contents = bytearray(whole)
        contents[begin + column.total_compressed_size - 1] ^= 1
        part.write_bytes(contents)
        assert not is_whole(storage, NAME)
        for read in (read_dataset, read_columns):
            with pytest.raises(RunCorruptError, match="its data cannot be read"):
                read(storage, [NAME], TRIALS)
    part.write_bytes(whole)
    assert is_whole(storage, NAME)


def test_part_of_another_campaign_is_refused(storage: LocalStorage, part: Path) -> None:
    with pytest.raises(RunCorruptError, match=r'"seed":7.*, expected .*"seed":8') as caught:
        find_parts(storage, "trials", TRIALS, {**IDENTITY, "seed": 8})
    assert caught.value.place == str(part)


def test_part_without_a_column_is_refused(
    storage: LocalStorage, part: Path, trials: Trials
) -> None:
    write_part(storage, NAME, trials(0).drop_columns(["due", "sdc"]), IDENTITY)
    with pytest.raises(RunCorruptError, match="lacks the columns sdc, due"):
        find_parts(storage, "trials", TRIALS, IDENTITY)


def test_refusing_file_system_is_not_taken_for_damage(
    storage: LocalStorage, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(storage, "open", refuse)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ResultsError, match="Permission denied"):
        find_parts(storage, "trials", TRIALS, IDENTITY)


def test_part_that_can_be_read_at_the_second_try_is_not_damaged(
    storage: LocalStorage, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> None:
        raise OSError("When reading: connection reset")

    monkeypatch.setattr(storage, "open", fail)
    assert find_parts(storage, "trials", TRIALS, IDENTITY).readable == (NAME,)


def test_part_that_goes_while_it_is_looked_for_is_told(
    storage: LocalStorage, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "files", lambda _: [Path(NAME).name, Path(OTHER).name])
    with pytest.raises(ResultsError, match="No such file or directory") as caught:
        find_parts(storage, "trials", TRIALS, IDENTITY)
    assert caught.value.place == storage.path(OTHER)


def test_rows_are_picked_by_condition_and_columns_by_name(
    storage: LocalStorage, part: Path, trial_id: Callable[[int], int]
) -> None:
    table = read_dataset(
        storage, [NAME], TRIALS, columns=["bit", "layer"], where=pa.compute.field("bit") == 31
    )
    assert table.column_names == ["bit", "layer"]
    assert set(table.column("bit").to_pylist()) == {31}


def test_no_parts_have_no_rows_but_all_columns(storage: LocalStorage) -> None:
    assert read_dataset(storage, [], TRIALS).equals(TRIALS.empty_table())
    assert read_columns(storage, [], TRIALS).equals(TRIALS.empty_table())


def test_ids_are_uint64_to_the_last_bit(
    storage: LocalStorage, part: Path, trial_id: Callable[[int], int]
) -> None:
    ids = read_ids(storage, NAME)
    assert ids is not None
    assert ids.dtype == np.uint64
    assert int(ids[0]) == trial_id(0) == 2**64 - 1
