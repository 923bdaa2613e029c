"""Run directories of schema version 1 are refused and stay as they are."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from results import (
    RunCorruptError,
    RunHeader,
    RunMismatchError,
    RunWriter,
    compact,
    open_run,
)
from results.run_folder.manifest import canonical_json

Table = Callable[..., pa.Table]

PLAN = {"trials": 0, "layers": {}}
MESSAGE = "schema version 1, of an earlier injecttf2; this package reads and writes 5"


def as_version_1(table: pa.Table, header: RunHeader, path: Path) -> None:
    """Write the part of trials or injections that version 1 made of ``table``."""
    new = {"parameters", "sampling", "sites"} if "sites" in table.column_names else {"layer"}
    footer = {
        "injecttf2.schema_version": "1",
        "injecttf2.identity": canonical_json(dict(header.identity)),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.drop_columns([*new]).replace_schema_metadata(footer), path)


@pytest.fixture
def old(tmp_path: Path, header: RunHeader, trials: Table, injections: Table) -> Path:
    path = tmp_path / "old"
    RunWriter.open(path, header).close()
    contents = json.loads((path / "campaign.json").read_text())
    del contents["columns"], contents["layers"], contents["digest"]
    (path / "campaign.json").write_text(json.dumps({**contents, "schema_version": 1}))
    for table, folder in ((trials(0, 1), "trials"), (injections(0, 1), "injections")):
        as_version_1(table, header, path / folder / "part-000001-0a1b2c3d.parquet")
    return path


def contents(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    "use", [open_run, compact, lambda path: RunWriter.open(path, RunHeader({}, {}, {}, PLAN))]
)
def test_version_1_is_refused_and_left_alone(old: Path, use: Callable[[Path], object]) -> None:
    before = contents(old)
    with pytest.raises(RunMismatchError, match=MESSAGE) as caught:
        use(old)
    assert caught.value.place == str(old / "campaign.json")
    assert "Run the campaign into another --output" in str(caught.value)
    assert contents(old) == before


def test_resuming_version_1_is_refused_and_changes_nothing(old: Path, header: RunHeader) -> None:
    before = contents(old)
    with pytest.raises(RunMismatchError, match=MESSAGE):
        RunWriter.open(old, header)
    assert contents(old) == before


def test_rows_of_version_1_can_be_read_as_the_message_says(
    old: Path, trial_id: Callable[[int], int]
) -> None:
    frame = pd.read_parquet(old / "trials")
    assert frame["trial_id"].tolist() == [trial_id(0), trial_id(1)]


def test_version_1_with_a_torn_manifest_is_left_alone(old: Path, header: RunHeader) -> None:
    (old / "campaign.json").write_text('{"schema_ver')
    before = contents(old)
    with pytest.raises(RunCorruptError, match="the part has schema version 1, expected 5"):
        RunWriter.open(old, header)
    assert contents(old) == before


def test_part_of_version_1_among_others_is_refused(
    tmp_path: Path, header: RunHeader, trials: Table
) -> None:
    """The identity is the same in both versions: an old part may be copied into a new run."""
    with RunWriter.open(tmp_path / "run", header) as writer:
        writer.append(trials(0))
    part = tmp_path / "run" / "trials" / "part-000002-0a1b2c3d.parquet"
    as_version_1(trials(1), header, part)
    before = contents(tmp_path)
    message = "the part has schema version 1, expected 5"
    for use in (compact, lambda path: open_run(path).trials()):
        with pytest.raises(RunCorruptError, match=message) as caught:
            use(tmp_path / "run")
        assert caught.value.place == str(part)
        assert "Move it out of the run directory" in str(caught.value)
    with pytest.raises(RunCorruptError, match=message):
        RunWriter.open(tmp_path / "run", header)
    assert part.read_bytes() == before[part]
