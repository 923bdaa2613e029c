"""Flipped bits in the files of a run directory are told, or change nothing; see ``test_parts``."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from results import ResultsWarning, RunCorruptError, RunHeader, RunWriter, open_run
from results.run_folder.manifest import read_manifest
from results.run_folder.parts import part_names
from results.storage.opening import open_storage
from results.storage.storage import Storage
from tests.results.conftest import given_up_of

Table = Callable[..., pa.Table]


@pytest.fixture
def path(tmp_path: Path, header: RunHeader, trials: Table) -> Path:
    with RunWriter.open(tmp_path, header) as writer:
        writer.append(trials(0, 1))
        writer.set_golden({"decisions": "ff", "accuracy": 0.9})
        writer.record_failures([given_up_of(7, layer="dense")], error="e", traceback="t")
        writer.heartbeat({"workers": 2})
    return tmp_path


def flips(file: Path) -> Iterator[None]:
    """Flip each bit of a file in turn."""
    contents = bytearray(file.read_bytes())
    for bit in range(len(contents) * 8):
        contents[bit // 8] ^= 1 << bit % 8
        file.write_bytes(contents)
        yield
        contents[bit // 8] ^= 1 << bit % 8
    file.write_bytes(contents)


def test_flipped_bit_in_the_manifest_is_told_or_changes_nothing(path: Path) -> None:
    """What is read in spite of a flip: the name of the digest is another, or a blank."""
    expected = read_manifest(open_storage(path))
    told: Counter[str] = Counter()
    for _ in flips(path / "campaign.json"):
        try:
            assert read_manifest(open_storage(path)) == expected
            told["the same"] += 1
        except RunCorruptError as error:
            told[str(error.hint)] += 1
    hint = "The same `injecttf2 run` command as before writes it anew and goes on."
    assert {*told} == {"the same", hint}
    assert told["the same"] < 60
    open_run(path).status()


@pytest.mark.parametrize("at", [0, 1])
def test_manifest_with_another_digit_is_written_anew_by_the_same_command(
    path: Path, header: RunHeader, at: int
) -> None:
    text = (path / "campaign.json").read_text()
    (path / "campaign.json").write_text(
        [text.replace('"trials": 48', '"trials": 49'), text.replace('"seed": 7', '"seed": 3')][at]
    )
    with pytest.raises(RunCorruptError, match="it was damaged or edited: its digest is that"):
        open_run(path)
    with RunWriter.open(path, header) as writer:
        assert len(writer.done_ids()) == 2
        assert "cannot be read and was kept as .campaign.json.torn" in writer.warnings[0]
    assert open_run(path).status().planned == 48


@pytest.mark.parametrize("name", ["heartbeat.json", "failures"])
def test_flipped_bit_in_heartbeat_or_failures_ends_no_reader(path: Path, name: str) -> None:
    file = path / name
    if file.is_dir():
        (file,) = file.iterdir()
    run = open_run(path)
    for _ in flips(file):
        assert run.status().done == 2


@pytest.mark.parametrize("byte", [-1, -100, 40])
def test_part_with_a_flipped_bit_is_left_out_and_then_executed_again(
    storage: Storage, header: RunHeader, trials: Table, byte: int
) -> None:
    run = storage.path()
    with RunWriter.open(run, header) as writer:
        writer.append(trials(0, 1))
    expected = open_run(run).trials()
    (name,) = part_names(storage, "trials")
    contents = bytearray(storage.read(name))
    contents[byte] ^= 4
    storage.publish(name, bytes(contents))
    with pytest.warns(ResultsWarning, match=f"{name} cannot be read: what it held is left out"):
        assert open_run(run).trials().empty
    assert open_run(run).status().unreadable == (name,)
    with RunWriter.open(run, header) as writer:
        assert writer.done_ids().tolist() == []
        assert f"{name} cannot be read and was renamed" in writer.warnings[0]
        writer.append(trials(0, 1))
    pd.testing.assert_frame_equal(open_run(run).trials(), expected)
