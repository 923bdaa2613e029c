import errno
import json
import os
import random
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from results import TRIALS, ResultsError, RunCorruptError, paths
from results.run_folder.parts import (
    find_ids,
    find_rows,
    is_whole,
    named_part,
    read_parts,
    read_rows,
)
from results.storage.local import LocalStorage
from tests.results.conftest import write_part

IDENTITY: dict[str, int | str] = {"version": 1, "model": "aa11", "seed": 7}
OLD = "trials/part-000002-0a1b2c3d.parquet"

Trials = Callable[..., pa.Table]


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


@pytest.fixture
def name(storage: LocalStorage, trials: Trials) -> str:
    """A part of 100 trials."""
    name, contents = named_part("trials", 1, "0a1b2c3d", trials(*range(100)), IDENTITY)
    storage.publish(name, contents)
    return name


def ids(storage: LocalStorage) -> dict[str, list[int] | None]:
    found = find_ids(storage, "trials", TRIALS, IDENTITY)
    return {name: None if part is None else part.tolist() for name, part in found.items()}


def footer_of(contents: bytes) -> int:
    """Where the footer of a Parquet file begins."""
    return len(contents) - 8 - int.from_bytes(contents[-8:-4], "little")


def test_part_reads_back_as_it_was(storage: LocalStorage, name: str, trials: Trials) -> None:
    assert read_rows(storage, [name], TRIALS)[0].equals(trials(*range(100)))


def test_footer_holds_version_and_identity(storage: LocalStorage, name: str) -> None:
    footer = pq.read_metadata(storage.path(name)).metadata
    assert footer[b"injecttf2.schema_version"] == b"5"
    assert json.loads(footer[b"injecttf2.identity"]) == IDENTITY


def test_columns_are_zstd_and_strings_dictionary_encoded(storage: LocalStorage, name: str) -> None:
    group = pq.read_metadata(storage.path(name)).row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert "RLE_DICTIONARY" in columns["layer"].encodings
    assert "RLE_DICTIONARY" not in columns["trial_id"].encodings


def test_pandas_reads_parts_alone(
    storage: LocalStorage, name: str, tmp_path: Path, trials: Trials
) -> None:
    (tmp_path / "trials" / ".part-000002-0a1b2c3d.parquet.ffffffff.tmp").write_bytes(b"PAR1")
    (tmp_path / "trials" / ".part-000003-0a1b2c3d.parquet.torn").write_bytes(b"PAR1")
    frame = pd.read_parquet(tmp_path / "trials")
    assert list(frame.columns) == TRIALS.names
    assert frame["trial_id"].tolist() == trials(*range(100)).column("trial_id").to_pylist()
    assert frame["layer"].dtype == "category"


def test_name_tells_what_b2sum_says_of_the_contents(storage: LocalStorage, name: str) -> None:
    command = ["b2sum", "-l", "128", storage.path(name)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert paths.told_digest(name) == said.split()[0]


def test_every_bit_of_the_footer_that_is_flipped_is_found(
    storage: LocalStorage, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every bit behind the data pages, and some thousand of those before."""
    contents = bytearray(storage.read(name))
    footer = footer_of(contents) * 8
    pages = random.Random(2026).sample(range(footer), 2000)
    monkeypatch.setattr(storage, "read", lambda _: bytes(contents))
    assert is_whole(storage, name)
    missed = []
    for bit in (*pages, *range(footer, len(contents) * 8)):
        contents[bit // 8] ^= 1 << bit % 8
        missed += [bit] if is_whole(storage, name) else []
        contents[bit // 8] ^= 1 << bit % 8
    assert missed == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:0],
        lambda whole: whole[:4],
        lambda whole: whole[:100],
        lambda whole: whole[:-1],
        lambda whole: whole + b"\0",
        lambda whole: whole + whole,
        lambda whole: bytes(len(whole)),
        lambda whole: whole[:-200] + b"\x99" * 192 + whole[-8:],
        lambda whole: whole[:4] + b"\xff" * 100 + whole[104:],
    ],
)
def test_part_that_is_cut_lengthened_or_overwritten_is_damaged(
    storage: LocalStorage, name: str, trials: Trials, damage: Callable[[bytes], bytes]
) -> None:
    write_part(storage, OLD, trials(200), IDENTITY)
    storage.publish(name, damage(storage.read(name)))
    assert ids(storage) == {name: None, OLD: trials(200).column("trial_id").to_pylist()}
    assert read_rows(storage, [OLD, name], TRIALS)[1] is None


def test_parts_whose_names_were_swapped_are_damaged(
    storage: LocalStorage, name: str, trials: Trials
) -> None:
    other, contents = named_part("trials", 2, "0a1b2c3d", trials(200), IDENTITY)
    storage.publish(other, storage.read(name))
    storage.publish(name, contents)
    assert ids(storage) == {name: None, other: None}


def test_part_with_another_number_is_the_same_part(
    storage: LocalStorage, name: str, trials: Trials
) -> None:
    renamed = name.replace("000001-0a1b2c3d", "000009-ffffffff")
    storage.rename(name, renamed)
    assert ids(storage) == {renamed: trials(*range(100)).column("trial_id").to_pylist()}


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "device", "link to nowhere"])
def test_what_is_named_like_a_part_and_is_no_file_is_damaged(
    storage: LocalStorage,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    odd = tmp_path / "trials" / "part-000005-0a1b2c3d.parquet"
    if kind == "pipe":
        os.mkfifo(odd)
    elif kind == "socket":
        monkeypatch.chdir(odd.parent)  # the name of a socket may be of a hundred characters
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(odd.name)
    elif kind == "folder":
        odd.mkdir()
    else:
        odd.symlink_to("/dev/zero" if kind == "device" else tmp_path / "nowhere")
    assert [part is None for part in ids(storage).values()] == [False, True]
    found = find_rows(storage, "trials", TRIALS, IDENTITY)
    assert list(found.values()) == [100, None]


def test_link_to_a_part_is_a_part(storage: LocalStorage, name: str, tmp_path: Path) -> None:
    part = tmp_path / name
    part.rename(tmp_path / "elsewhere")
    part.symlink_to(tmp_path / "elsewhere")
    assert is_whole(storage, name)


def test_other_files_are_no_parts(storage: LocalStorage, name: str, tmp_path: Path) -> None:
    for file in (".part-000002-0a1b2c3d.parquet.torn", "notes.txt", ".part-1.parquet"):
        (tmp_path / "trials" / file).touch()
    assert [*ids(storage)] == [name]


def test_bit_that_is_flipped_in_any_column_of_an_old_part_is_damage(
    storage: LocalStorage, trials: Trials
) -> None:
    write_part(storage, OLD, trials(*range(100)), IDENTITY)
    whole = storage.read(OLD)
    group = pq.read_metadata(storage.path(OLD)).row_group(0)
    for index in range(group.num_columns):
        column = group.column(index)
        begin = column.dictionary_page_offset or column.data_page_offset
        contents = bytearray(whole)
        contents[begin + column.total_compressed_size - 1] ^= 1
        storage.publish(OLD, bytes(contents))
        assert not is_whole(storage, OLD)
        assert ids(storage) == {OLD: None}
    storage.publish(OLD, whole)
    assert is_whole(storage, OLD)


def test_flipped_footer_of_an_old_part_is_damage_or_told_or_harmless(
    storage: LocalStorage, trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a part has no digest, so some flips pass; none of them ends with another error."""
    write_part(storage, OLD, trials(*range(3)), IDENTITY)
    contents = bytearray(storage.read(OLD))
    monkeypatch.setattr(storage, "read", lambda _: bytes(contents))
    told = {}
    for bit in range(footer_of(contents) * 8, len(contents) * 8, 61):
        contents[bit // 8] ^= 1 << bit % 8
        try:
            (found,) = ids(storage).values()
            told[bit] = "damaged" if found is None else "read"
        except ResultsError as error:
            told[bit] = type(error).__name__
        contents[bit // 8] ^= 1 << bit % 8
    assert {*told.values()} == {"damaged", "read", "RunCorruptError"}


@pytest.mark.parametrize(
    ("footer", "said"),
    [
        ({**IDENTITY, "seed": 8}, r'its identity is .*"seed":8.*, expected .*"seed":7'),
        (None, r'it tells no identity, expected .*"seed":7'),
    ],
)
def test_part_of_another_campaign_is_refused(
    storage: LocalStorage, trials: Trials, footer: dict[str, int | str] | None, said: str
) -> None:
    if footer is not None:
        write_part(storage, OLD, trials(0), footer)
    else:
        table = trials(0).replace_schema_metadata(None)
        Path(storage.path("trials")).mkdir()
        pq.write_table(table, storage.path(OLD))
    for find in (find_rows, find_ids):
        with pytest.raises(RunCorruptError, match=said) as caught:
            find(storage, "trials", TRIALS, IDENTITY)
        assert caught.value.place == storage.path(OLD)


def test_part_without_a_column_is_refused(storage: LocalStorage, trials: Trials) -> None:
    write_part(storage, OLD, trials(0).drop_columns(["due", "layer"]), IDENTITY)
    for find in (find_rows, find_ids):
        with pytest.raises(RunCorruptError, match="lacks the columns layer, due"):
            find(storage, "trials", TRIALS, IDENTITY)


def test_part_of_other_types_is_told_though_its_digest_is_right(
    storage: LocalStorage, trials: Trials
) -> None:
    table = trials(0)
    at = table.column_names.index("layer_index")
    table = table.set_column(at, "layer_index", pa.array(["first"]))
    name, contents = named_part("trials", 1, "0a1b2c3d", table, IDENTITY)
    storage.publish(name, contents)
    with pytest.raises(ResultsError, match="the part is as it was written, but cannot be read"):
        read_rows(storage, [name], TRIALS)


def test_refusing_file_system_is_not_taken_for_damage(
    storage: LocalStorage, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(storage, "open", refuse)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    for find in (find_rows, find_ids):
        with pytest.raises(ResultsError, match="Permission denied"):
            find(storage, "trials", TRIALS, IDENTITY)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        pa.ArrowMemoryError("malloc of size 4096 failed"),
        OSError(errno.EMFILE, "Too many open files"),
    ],
)
def test_want_of_memory_or_files_is_not_taken_for_damage(
    storage: LocalStorage,
    name: str,
    trials: Trials,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    old: bool,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    if old:
        storage.remove(name)
        write_part(storage, OLD, trials(0), IDENTITY)
    monkeypatch.setattr(pq.ParquetFile, "read", fail)
    with pytest.raises(ResultsError, match=r"not enough memory|Too many open files") as caught:
        find_ids(storage, "trials", TRIALS, IDENTITY)
    assert caught.value.place == storage.path(OLD if old else name)
    assert "pyarrow" not in str(caught.value)


def test_end_that_can_be_read_at_the_second_try_is_not_damaged(
    storage: LocalStorage, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> None:
        raise OSError("When reading: connection reset")

    monkeypatch.setattr(storage, "open", fail)
    assert find_rows(storage, "trials", TRIALS, IDENTITY) == {name: 100}


def test_part_that_goes_while_it_is_looked_for_is_told(
    storage: LocalStorage, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "files", lambda _: [Path(name).name, Path(OLD).name])
    for find in (find_rows, find_ids):
        with pytest.raises(ResultsError, match="No such file or directory") as caught:
            find(storage, "trials", TRIALS, IDENTITY)
        assert caught.value.place == storage.path(OLD)


def test_rows_are_picked_by_condition_and_columns_by_name(storage: LocalStorage, name: str) -> None:
    found = read_parts(
        storage,
        "trials",
        TRIALS,
        IDENTITY,
        columns=pa.schema([TRIALS.field("bit"), TRIALS.field("layer")]),
        where=pa.compute.field("bit") == 31,
    )
    table = found[name]
    assert table.column_names == ["bit", "layer"]
    assert {*table.column("bit").to_pylist()} == {31}
    assert table.num_rows == 14


def test_ids_are_uint64_to_the_last_bit(
    storage: LocalStorage, name: str, trial_id: Callable[[int], int]
) -> None:
    part = find_ids(storage, "trials", TRIALS, IDENTITY)[name]
    assert part is not None
    assert part.dtype == np.uint64
    assert int(part[0]) == trial_id(0) == 2**64 - 1
