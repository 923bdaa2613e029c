from datetime import UTC, datetime

import pytest

from results import paths


def test_part_name_holds_folder_sequence_and_token() -> None:
    digest = paths.digest_of(b"PAR1")
    name = paths.part("trials", 7, "0a1b2c3d", digest)
    assert name == "trials/part-000007-0a1b2c3d-0a0e356e2cd99be2d5a1be15db07f4de.parquet"
    assert paths.told_digest(name) == digest
    assert paths.flushed_with(name) == "part-000007-0a1b2c3d"


def test_failures_are_named_after_their_time() -> None:
    at = datetime(2026, 11, 23, 6, 30, 0, 1234, tzinfo=UTC)
    name = "20261123T063000.001234Z-0a1b2c3d.json"
    assert paths.failures(at, "0a1b2c3d") == f"failures/{name}"
    assert paths.is_failures(name)
    assert paths.is_failures("18446744073709551615.json")
    for other in (f".{name}.torn", f".{name}.0a1b2c3d.tmp", "notes.json", f"{name}~"):
        assert not paths.is_failures(other)


@pytest.mark.parametrize("name", ["campaign.json", "trials/part-000001-0a1b2c3d.parquet"])
def test_hidden_names_stay_in_their_folder(name: str) -> None:
    folder, _, file = name.rpartition("/")
    for hidden in (paths.aside(name, "0a1b2c3d"), paths.torn(name)):
        assert hidden.rpartition("/")[0] == folder
        assert hidden.rpartition("/")[2].startswith(f".{file}")


def test_only_our_own_unfinished_files_are_recognised() -> None:
    assert paths.is_aside(".campaign.json.0a1b2c3d.tmp")
    assert not paths.is_aside(".part-000001-0a1b2c3d.parquet.Xy12ab")
    assert not paths.is_aside("notes.0a1b2c3d.tmp")


def test_only_names_of_a_run_are_at_its_top() -> None:
    for name in ("campaign.json", ".campaign.json.torn", "lock", "trials", "report.html"):
        assert paths.is_top(name)
    for name in ("notes.txt", ".git", "campaign.yaml", ".trials.torn"):
        assert not paths.is_top(name)


def test_sequence_goes_on_after_the_highest_part_torn_or_not() -> None:
    assert paths.next_sequence([]) == 1
    assert paths.next_sequence(["part-000002-0a1b2c3d.parquet", "other.txt"]) == 3
    assert paths.next_sequence([".part-000009-0a1b2c3d.parquet.torn"]) == 10
    assert paths.next_sequence(["part-1000000-0a1b2c3d.parquet"]) == 1_000_001


def test_claims_are_recognised_by_their_whole_name() -> None:
    assert paths.is_claim(paths.claim("0123456789abcdef"))
    for name in ("lock/notes.json", "0123456789abcdef.json", "lock/0123456789abcdef.json.tmp"):
        assert not paths.is_claim(name)
