import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from results import (
    ResultsError,
    RunCorruptError,
    RunHeader,
    RunMismatchError,
    RunNotFoundError,
)
from results.manifest import Manifest, canonical_json, read_manifest, write_manifest
from results.storage import LocalStorage


def test_manifest_round_trips(tmp_path: Path, header: RunHeader) -> None:
    storage = LocalStorage(tmp_path)
    manifest = Manifest.begin(header).updated(golden={"accuracy": 0.9, "decisions": "ff"})
    write_manifest(storage, manifest)
    assert read_manifest(storage) == manifest


def test_what_earlier_rows_were_made_with_is_kept(header: RunHeader) -> None:
    first = Manifest.begin(header)
    same = first.updated(header=header)
    assert same.earlier_provenance == ()
    upgraded = replace(header, provenance={"commit": "beef"})
    second = same.updated(header=upgraded)
    assert second.header.provenance == {"commit": "beef"}
    until = second.updated_at.isoformat()
    assert second.earlier_provenance == ({**header.provenance, "until": until},)
    assert Manifest.from_json(second.to_json(), "campaign.json") == second


def test_file_holds_the_agreed_keys(header: RunHeader) -> None:
    contents = json.loads(Manifest.begin(header).to_json())
    assert list(contents) == [
        "schema_version",
        "created_at",
        "updated_at",
        "campaign",
        "identity",
        "provenance",
        "plan",
        "columns",
        "layers",
        "code",
        "golden",
        "numerics",
        "earlier_provenance",
        "digest",
    ]
    assert contents["schema_version"] == 3
    assert contents["golden"] is None
    assert datetime.fromisoformat(contents["created_at"]).tzinfo == UTC


def test_update_keeps_what_is_not_given(header: RunHeader) -> None:
    first = Manifest.begin(header).updated(golden={"decisions": "ff"})
    second = first.updated(header=header)
    assert (second.created_at, second.golden) == (first.created_at, {"decisions": "ff"})
    assert second.updated_at >= first.updated_at


def test_missing_directory_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match=r"it holds no campaign.json") as caught:
        read_manifest(LocalStorage(tmp_path / "none"))
    assert caught.value.place == f"{tmp_path}/none"


def test_file_in_place_of_the_directory_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(RunNotFoundError):
        read_manifest(LocalStorage(tmp_path / "a"))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (b"", "writes it anew"),
        (b"{", "writes it anew"),
        (bytes(100), "writes it anew"),
        (b"\xff\xfe", "writes it anew"),
        (b"[]", "Restore it"),
        (b"null", "Restore it"),
        (b"{}", "Restore it"),
        (b'{"schema_version": "1"}', "Restore it"),
    ],
)
def test_text_that_is_no_manifest_is_corrupt(text: bytes, hint: str) -> None:
    message = r"^campaign.json: the file does not describe a run"
    with pytest.raises(RunCorruptError, match=message) as caught:
        Manifest.from_json(text, "campaign.json")
    assert hint in str(caught.value.hint)


def test_plan_without_layers_is_refused(header: RunHeader) -> None:
    with pytest.raises(ValueError, match="'trials': 3"):
        RunHeader(header.campaign, header.identity, header.provenance, {"trials": 3})


def test_newer_version_is_refused(header: RunHeader) -> None:
    contents = json.loads(Manifest.begin(header).to_json())
    contents["schema_version"] = 4
    del contents["digest"]
    with pytest.raises(RunMismatchError, match="schema version 4, this package knows up to 3"):
        Manifest.from_json(json.dumps(contents).encode(), "campaign.json")


def test_canonical_json_does_not_depend_on_order() -> None:
    assert canonical_json({"b": 1, "a": "x"}) == canonical_json({"a": "x", "b": 1})
    assert canonical_json({"b": 1, "a": "x"}) == '{"a":"x","b":1}'


def test_a_folder_named_like_the_manifest_is_told(tmp_path: Path) -> None:
    (tmp_path / "campaign.json").mkdir()
    with pytest.raises(ResultsError, match="it is a folder, expected a file") as caught:
        read_manifest(LocalStorage(tmp_path))
    assert caught.value.place == str(tmp_path / "campaign.json")


def test_a_directory_below_a_file_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunNotFoundError):
        read_manifest(LocalStorage(tmp_path / "file" / "run"))
