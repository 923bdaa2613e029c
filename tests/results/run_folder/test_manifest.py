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
from results.run_folder.manifest import Manifest, canonical_json, read_manifest, write_manifest
from results.storage.local import LocalStorage


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
    assert contents["schema_version"] == 5
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
        (b"[" * 100_000, "writes it anew"),
    ],
    ids=lambda given: str(given)[:20],
)
def test_text_that_is_no_manifest_is_corrupt(text: bytes, hint: str) -> None:
    message = r"^campaign.json: the file does not describe a run"
    with pytest.raises(RunCorruptError, match=message) as caught:
        Manifest.from_json(text, "campaign.json")
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("schema_version", True, "schema_version is True, expected a whole number"),
        ("created_at", 3, "created_at is 3, expected a time"),
        ("updated_at", "noon", "Invalid isoformat string: 'noon'"),
        ("campaign", [1], "campaign is [1], expected a mapping"),
        ("campaign.judge", "top1", "campaign.judge is 'top1', expected a mapping"),
        ("identity", None, "identity is None, expected a mapping"),
        ("provenance", "x" * 99, f"provenance is '{'x' * 56}..., expected a mapping"),
        ("provenance.folder", "\0", r"provenance.folder is '\x00', expected the path of a folder"),
        ("provenance.keras", [], "provenance.keras is [], expected a mapping"),
        ("plan", 1, "plan is 1, expected a mapping"),
        ("plan.trials", 2**63, f"plan.trials is {2**63}, expected a whole number"),
        ("plan.trials", 1.5, "plan.trials is 1.5, expected a whole number"),
        ("plan.layers", {"a": ""}, "plan.layers is {'a': ''}, expected a mapping of whole numbers"),
        ("plan.outside", [1], "plan.outside is [1], expected a mapping of whole numbers"),
        ("plan.exhaustive", {"x": 1},
         "plan.exhaustive is {'x': 1}, expected a mapping from ids to whole numbers"),
        ("plan.failed_outside", ["x"], "plan.failed_outside is ['x'], expected a list of ids"),
        ("plan.failed_outside", ["18446744073709551616"],
         "plan.failed_outside is ['18446744073709551616'], expected a list of ids"),
        ("columns", [1], "columns is [1], expected a list of texts"),
        ("layers", {"a": 1}, "layers is {'a': 1}, expected a mapping of mappings"),
        ("golden", 0.9, "golden is 0.9, expected a mapping, or null"),
        ("golden", {"accuracy": "0.9"}, "golden.accuracy is '0.9', expected a number"),
        ("golden", {"at_chance": 1}, "golden.at_chance is 1, expected true or false"),
        ("code", {"model": 1}, "code is {'model': 1}, expected a mapping of mappings, or null"),
        ("numerics", {}, "numerics is {}, expected a list of mappings"),
        ("earlier_provenance", [1], "earlier_provenance is [1], expected a list of mappings"),
    ],
)  # fmt: skip
def test_a_value_that_was_edited_is_named_with_what_it_must_be(
    header: RunHeader, path: str, value: object, expected: str
) -> None:
    contents = json.loads(Manifest.begin(header).to_json())
    del contents["digest"]  # that of an edited file tells no more than that it was edited
    *outer, key = path.split(".")
    (contents[outer[0]] if outer else contents)[key] = value
    with pytest.raises(RunCorruptError) as caught:
        Manifest.from_json(json.dumps(contents).encode(), "campaign.json")
    assert caught.value.message == f"the file does not describe a run: {expected}"


@pytest.mark.parametrize("path", ["created_at", "identity", "plan.trials", "layers"])
def test_a_key_that_is_gone_is_named(header: RunHeader, path: str) -> None:
    contents = json.loads(Manifest.begin(header).to_json())
    del contents["digest"]  # that of an edited file tells no more than that it was edited
    *outer, key = path.split(".")
    del (contents[outer[0]] if outer else contents)[key]
    with pytest.raises(RunCorruptError, match=f"does not describe a run: the key {path} is miss"):
        Manifest.from_json(json.dumps(contents).encode(), "campaign.json")


def test_plan_without_layers_is_refused(header: RunHeader) -> None:
    with pytest.raises(ValueError, match="'trials': 3"):
        RunHeader(header.campaign, header.identity, header.provenance, {"trials": 3})


def test_newer_version_is_refused(header: RunHeader) -> None:
    contents = json.loads(Manifest.begin(header).to_json())
    contents["schema_version"] = 6
    del contents["digest"]
    with pytest.raises(RunMismatchError, match="schema version 6, this package knows up to 5"):
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
