import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from results import RunCorruptError, RunHeader, RunMismatchError, RunWriter, open_run
from results.run_folder.manifest import Manifest, write_manifest
from results.storage.local import LocalStorage
from results.writing.resume_check import check_resumable
from tests.results.conftest import write_part

Table = Callable[..., pa.Table]


def test_absent_and_empty_directories_are_free(tmp_path: Path, header: RunHeader) -> None:
    assert check_resumable(LocalStorage(tmp_path / "none"), header).header == header
    assert check_resumable(LocalStorage(tmp_path), header).golden is None
    assert list(tmp_path.iterdir()) == []


def test_directory_of_a_writer_that_died_at_once_is_free(tmp_path: Path, header: RunHeader) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / ".campaign.json.0a1b2c3d.tmp").touch()
    assert check_resumable(LocalStorage(tmp_path), header).header == header


def test_directory_with_other_files_is_refused(tmp_path: Path, header: RunHeader) -> None:
    for name in "abcd":
        (tmp_path / name).touch()
    with pytest.raises(RunMismatchError, match=r"it holds a, b, c and 1 more, but no campaign"):
        check_resumable(LocalStorage(tmp_path), header)


def test_file_is_refused(tmp_path: Path, header: RunHeader) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(RunMismatchError, match="this is a file"):
        check_resumable(LocalStorage(tmp_path / "a"), header)


def test_every_differing_field_of_the_identity_is_listed(tmp_path: Path, header: RunHeader) -> None:
    storage = LocalStorage(tmp_path)
    write_manifest(storage, Manifest.begin(header))
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "part-000001-0a1b2c3d.parquet").touch()
    other = replace(header, identity={"version": 1, "model": "cc33", "data": "bb22", "extra": 5})
    with pytest.raises(RunMismatchError) as caught:
        check_resumable(storage, other)
    assert caught.value.differences == {
        "model": ("aa11", "cc33"),
        "seed": (7, "absent"),
        "extra": ("absent", 5),
    }
    assert "model: aa11 -> cc33" in str(caught.value)
    assert "Choose another --output" in str(caught.value)


def test_directory_without_results_takes_another_identity(
    tmp_path: Path, header: RunHeader
) -> None:
    storage = LocalStorage(tmp_path)
    write_manifest(storage, Manifest.begin(header).updated(golden={"decisions": "ff"}))
    other = replace(header, identity={**header.identity, "seed": 8})
    admitted = check_resumable(storage, other)
    assert (admitted.header, admitted.golden) == (other, None)


def test_same_identity_takes_the_new_header_and_keeps_the_rest(
    tmp_path: Path, header: RunHeader
) -> None:
    storage = LocalStorage(tmp_path)
    first = Manifest.begin(header).updated(golden={"decisions": "ff"})
    write_manifest(storage, first)
    wider = replace(header, campaign={"name": "wider"}, plan={"trials": 9, "layers": {}})
    second = check_resumable(storage, wider)
    assert second.header == wider
    assert (second.created_at, second.golden) == (first.created_at, first.golden)


@pytest.mark.parametrize("name", ["lock", "events", "failures", ".campaign.json.torn"])
def test_torn_manifest_without_rows_is_begun_anew(
    tmp_path: Path, header: RunHeader, name: str
) -> None:
    (tmp_path / "campaign.json").write_text('{"schema_ver')
    (tmp_path / name).touch()
    assert check_resumable(LocalStorage(tmp_path), header).header == header
    assert (tmp_path / "campaign.json").read_text() == '{"schema_ver'


def test_torn_manifest_among_other_files_is_refused(tmp_path: Path, header: RunHeader) -> None:
    (tmp_path / "campaign.json").write_text("name: my own\n")
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunMismatchError, match=r"it holds thesis\.tex, no rows, and a campaign"):
        check_resumable(LocalStorage(tmp_path), header)


def test_other_files_beside_rows_of_the_campaign_do_not_matter(
    tmp_path: Path, header: RunHeader, trials: Callable[..., pa.Table]
) -> None:
    (tmp_path / "campaign.json").touch()
    (tmp_path / "notes.txt").touch()
    storage = LocalStorage(tmp_path)
    write_part(storage, "trials/part-000001-0a1b2c3d.parquet", trials(0), header.identity)
    assert check_resumable(storage, header).header == header


@pytest.mark.parametrize("text", ["{}", '{"name": "my own"}', "[]"])
def test_json_that_describes_no_run_is_left_alone(
    tmp_path: Path, header: RunHeader, text: str
) -> None:
    (tmp_path / "campaign.json").write_text(text)
    with pytest.raises(RunCorruptError, match="does not describe a run"):
        check_resumable(LocalStorage(tmp_path), header)


def coded(header: RunHeader, **code: dict[str, str]) -> RunHeader:
    return replace(header, code=code)


def test_files_that_differ_in_what_both_name_are_listed(
    tmp_path: Path, header: RunHeader, trials: Table
) -> None:
    first = coded(header, model={"nets.py": "aa"}, gain={"gain.py": "bb", "tables.py": "cc"})
    with RunWriter.open(tmp_path, first) as writer:
        writer.append(trials(0))
    changed = coded(header, model={"nets.py": "aa"}, gain={"gain.py": "bb", "other.py": "dd"})
    with pytest.raises(RunMismatchError) as caught:
        RunWriter.open(tmp_path, changed)
    assert str(caught.value) == (
        f"{tmp_path}: code that the campaign uses is not what it was; digests of files, recorded "
        "-> received:\n  tables.py: cc -> absent\n  other.py: absent -> dd\n"
        "  Restore the files, or choose another --output for the trials of the new code."
    )
    wider = coded(header, gain=dict(first.code["gain"]), drift={"drift.py": "ee"})
    RunWriter.open(tmp_path, wider).close()
    assert open_run(tmp_path).header.code == {**first.code, "drift": {"drift.py": "ee"}}


def of_before(path: Path, header: RunHeader, trials: Table) -> None:
    """A run of a version that did not record the user's code."""
    with RunWriter.open(path, header) as writer:
        writer.append(trials(0))
    contents = json.loads((path / "campaign.json").read_text())
    del contents["code"], contents["digest"]
    (path / "campaign.json").write_text(json.dumps(contents))


def test_a_run_of_before_goes_on_with_code_that_it_did_not_name(
    tmp_path: Path, header: RunHeader, trials: Table
) -> None:
    of_before(tmp_path, header, trials)
    wider = replace(coded(header, gain={"gain.py": "bb"}), campaign={"grid": [{"fault": "gain"}]})
    for _ in range(2):
        RunWriter.open(tmp_path, wider).close()
    assert open_run(tmp_path).header.code == wider.code
    with pytest.raises(RunMismatchError, match=r"gain\.py: bb -> cc"):
        RunWriter.open(tmp_path, coded(header, gain={"gain.py": "cc"}))


def test_a_run_of_before_does_not_go_on_with_code_that_it_has_not_recorded(
    tmp_path: Path, header: RunHeader, trials: Table
) -> None:
    header = replace(
        header, campaign={"grid": [{"fault": {"gain": {"by": 2}}}, {"fault": "drift"}]}
    )
    of_before(tmp_path, header, trials)
    with pytest.raises(RunMismatchError, match=r"\n  gain\.py: not recorded -> bb\n"):
        RunWriter.open(tmp_path, coded(header, gain={"gain.py": "bb"}))
    RunWriter.open(tmp_path, header).close()
    assert open_run(tmp_path).header.code is None


def test_code_that_a_damaged_manifest_tells_still_counts(
    tmp_path: Path, header: RunHeader, trials: Table
) -> None:
    first = coded(header, gain={"gain.py": "bb"}, drift={"drift.py": "ee"})
    with RunWriter.open(tmp_path, first) as writer:
        writer.append(trials(0))
    file = tmp_path / "campaign.json"
    file.write_text(file.read_text().replace('"seed": 7', '"seed": 3'))
    with pytest.raises(RunMismatchError, match=r"gain\.py: bb -> cc\n.* take the key `code` out"):
        RunWriter.open(tmp_path, coded(header, gain={"gain.py": "cc"}))
    with RunWriter.open(tmp_path, coded(header, gain={"gain.py": "bb"})) as writer:
        (warning,) = writer.warnings
    assert "places of exhaustive cells that only earlier grids have" in warning
    assert "user's code" not in warning
    assert open_run(tmp_path).header.code == first.code


@pytest.mark.parametrize("code", ['"code": 3', '"cods": {}', ""])
def test_lost_code_is_told(tmp_path: Path, header: RunHeader, trials: Table, code: str) -> None:
    with RunWriter.open(tmp_path, coded(header, gain={"gain.py": "bb"})) as writer:
        writer.append(trials(0))
    file = tmp_path / "campaign.json"
    contents = json.loads(file.read_text())
    del contents["code"]
    file.write_text(json.dumps(contents).replace("{", "{" + f"{code}, ", 1) if code else "{")
    with RunWriter.open(tmp_path, coded(header, gain={"gain.py": "cc"})) as writer:
        (warning,) = writer.warnings
    assert warning.endswith(" Whether the user's code is what it was is not known.")
