"""Flipped bits in the small files of a run directory: no command ends with what nobody foresaw."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from results import ResultsError, RunHeader, RunWriter, open_run
from tests.results.conftest import given_up_of

Table = Callable[..., pa.Table]


@pytest.fixture
def path(tmp_path: Path, header: RunHeader, trials: Table) -> Path:
    with RunWriter.open(tmp_path, header) as writer:
        writer.append(trials(0, 1))
        writer.set_golden({"decisions": "ff", "accuracy": 0.9})
        writer.set_outside({"dense": 1}, writer.failed_ids())
        writer.record_failures([given_up_of(7, layer="dense")], error="e", traceback="t")
        writer.heartbeat({"workers": 2})
    return tmp_path


@pytest.mark.parametrize("name", ["campaign.json", "heartbeat.json", "failures"])
def test_flipped_bit_is_told_or_harmless(path: Path, header: RunHeader, name: str) -> None:
    file = path / name
    if file.is_dir():
        (file,) = file.iterdir()
    contents = bytearray(file.read_bytes())
    told: Counter[str] = Counter()
    for bit in range(len(contents) * 8):
        contents[bit // 8] ^= 1 << bit % 8
        file.write_bytes(contents)
        try:
            status = open_run(path).status()
            told["damaged" if status.unreadable else "read"] += 1
        except ResultsError as error:
            told[type(error).__name__] += 1
        contents[bit // 8] ^= 1 << bit % 8
    refused = {"RunCorruptError", "RunMismatchError"} if name == "campaign.json" else set()
    damaged = {"damaged"} if name == "failures" else set()
    assert {*told} == {"read", *refused, *damaged}
