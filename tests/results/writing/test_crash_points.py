"""A writer that is killed at any step loses nothing that it published, and can be gone on with."""

import resource
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from results import (
    ResultsError,
    ResultsWarning,
    RunCorruptError,
    RunHeader,
    RunNotFoundError,
    RunWriter,
    open_run,
    paths,
)
from results.storage.opening import open_storage
from results.storage.storage import Storage
from tests.results.conftest import given_up_of, rounded_otherwise, trial_id_of
from tests.results.writing.crash_points import BATCHES, GIVEN_UP

ROOT = Path(__file__).parents[3]
ALL = [number for batch in BATCHES for number in batch]
Table = Callable[..., pa.Table]


def kill_at_every_step(root: str, folder: Path) -> list[str]:
    """Return the names of the runs, all but the last one killed."""
    command = [sys.executable, "-m", "tests.results.writing.crash_points", root, str(folder)]
    subprocess.run(command, check=True, cwd=ROOT, timeout=200)
    return sorted(path.stem for path in folder.glob("*.said"))


def ids(numbers: list[int]) -> list[int]:
    return sorted(trial_id_of(number) for number in numbers)


def done(path: str) -> list[int]:
    """Return the ids of the done trials as a reader sees them, each as often as it is there."""
    try:
        return sorted(open_run(path).trials(["trial_id"])["trial_id"].tolist())
    except RunNotFoundError:  # killed before there was a campaign.json
        return []


def injected(path: str) -> list[int]:
    return sorted(open_run(path).injections()["trial_id"].tolist())


def go_on(path: str, header: RunHeader, trials: Table, injections: Table) -> None:
    """Do what the campaign does when it is started again, on other machines: what is not done."""
    with RunWriter.open(path, header, flush_seconds=1e9) as writer:
        finished = {*writer.done_ids().tolist()}
        missing = [number for number in ALL if trial_id_of(number) not in finished]
        if missing:
            writer.append(trials(*missing), rounded_otherwise(injections(*missing)))
        writer.record_failures([given_up_of(trial_id_of(GIVEN_UP))], error="why", traceback="where")
        writer.set_golden({"decisions": "ff"})
        assert writer.warnings == []


@pytest.mark.parametrize("storage", ["local", "s3"])
def test_killed_at_any_step_nothing_published_is_lost_and_nothing_is_doubled(
    storage: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    header: RunHeader,
    trials: Table,
    injections: Table,
) -> None:
    root = str(tmp_path / "runs") if storage == "local" else request.getfixturevalue("s3")
    (tmp_path / "said").mkdir()
    seen, seen_parts = set(), set()
    for name in kill_at_every_step(root, tmp_path / "said"):
        path = f"{root}/{name}"
        said = [int(number) for number in (tmp_path / "said" / f"{name}.said").read_text().split()]
        found, parts = done(path), count_parts(path)
        seen.add(len(found))
        assert found in [ids(ALL[:end]) for end in (0, 3, 5)]
        assert {*ids(said)} <= {*found}
        go_on(path, header, trials, injections)
        assert done(path) == ids(ALL)
        assert injected(path) == sorted(ids(ALL) * 2)
        assert open_run(path).failures()["trial_id"].tolist() == [trial_id_of(GIVEN_UP)]
        assert open_run(path).golden == {"decisions": "ff"}
        assert leftovers(path) == []
        seen_parts.add(parts)
    assert seen == {0, 3, 5}
    assert {(2, 2), (3, 2), (1, 2), (1, 3), (1, 1)} <= seen_parts


def count_parts(path: str) -> tuple[int, int]:
    storage = open_storage(path)
    trials, injections = (
        sum(file.startswith("part-") for file in storage.files(folder))
        for folder in ("trials", "injections")
    )
    return trials, injections


def leftovers(path: str) -> list[str]:
    storage = open_storage(path)
    folders = ("", "trials", "injections", "failures")
    files = [file for folder in folders for file in storage.files(folder)]
    return [file for file in files if ".tmp" in file or file == "compacting.json"]


@pytest.fixture
def newest(tmp_path: Path, header: RunHeader, trials: Table, injections: Table) -> Path:
    """The newest of two parts with trials."""
    with RunWriter.open(tmp_path, header) as writer:
        for batch in BATCHES:
            writer.append(trials(*batch), injections(*batch))
            writer.flush()
    return max((tmp_path / "trials").iterdir())


def cut(length: float) -> Callable[[bytes], bytes]:
    return lambda whole: whole[: int(len(whole) * length)]


def zeros(length: float) -> Callable[[bytes], bytes]:
    return lambda whole: cut(length)(whole).ljust(len(whole), b"\0")


@pytest.mark.parametrize("folder", ["trials", "injections"])
@pytest.mark.parametrize("damage", [cut(0), cut(0.001), cut(0.5), cut(0.99), zeros(0), zeros(0.9)])
def test_newest_part_that_a_power_cut_tore_is_set_aside_and_its_trials_are_done_again(
    newest: Path,
    folder: str,
    damage: Callable[[bytes], bytes],
    header: RunHeader,
    trials: Table,
    injections: Table,
) -> None:
    path = newest.parents[1]
    (part,) = (path / folder).glob(f"{paths.flushed_with(newest.name)}-*.parquet")
    part.write_bytes(damage(part.read_bytes()))
    remaining = ALL if folder == "injections" else [*BATCHES[0]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResultsWarning)
        assert done(str(path)) == ids(remaining)
    with RunWriter.open(path, header) as writer:
        assert writer.done_ids().tolist() == ids(remaining)
        (warning,) = writer.warnings
        assert warning.startswith(f"{part} cannot be read and was renamed")
    assert (path / folder / f".{part.name}.torn").exists()
    go_on(str(path), header, trials, injections)
    assert done(str(path)) == ids(ALL)
    assert injected(str(path)) == sorted(ids(ALL if folder == "trials" else [*BATCHES[0]]) * 2)


@pytest.mark.parametrize("storage", ["local", "s3"], indirect=True)
@pytest.mark.parametrize(
    "damage", [cut(0), cut(0.001), cut(0.3), cut(0.6), cut(0.99), zeros(0), zeros(0.9)]
)
def test_manifest_that_a_power_cut_tore_is_kept_aside_and_written_anew(
    storage: Storage,
    damage: Callable[[bytes], bytes],
    header: RunHeader,
    trials: Table,
    injections: Table,
) -> None:
    path = storage.path()
    with RunWriter.open(path, header) as writer:
        writer.append(trials(*BATCHES[0]), injections(*BATCHES[0]))
        writer.set_golden({"decisions": "ff"})
    torn = damage(storage.read("campaign.json"))
    storage.publish("campaign.json", torn)
    with pytest.raises(RunCorruptError, match="The same `injecttf2 run` command") as caught:
        open_run(path)
    assert caught.value.place == storage.path("campaign.json")
    with RunWriter.open(path, header) as writer:
        assert writer.done_ids().tolist() == ids([*BATCHES[0]])
        (warning,) = writer.warnings
        assert warning.startswith(f"{path}/campaign.json cannot be read and was kept as .campaign")
    assert storage.read(".campaign.json.torn") == torn
    assert open_run(path).golden is None
    go_on(path, header, trials, injections)
    assert done(path) == ids(ALL)
    assert open_run(path).golden == {"decisions": "ff"}


def test_torn_manifest_is_mended_by_the_next_process_if_this_one_ends(
    tmp_path: Path, header: RunHeader, trials: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunWriter.open(tmp_path, header) as writer:
        writer.append(trials(0))
    manifest = tmp_path / "campaign.json"
    manifest.write_bytes(manifest.read_bytes()[:100])
    for function in ("keep_torn", "write_manifest"):
        with monkeypatch.context() as patch:
            patch.setattr(f"results.writing.writer.{function}", _end)
            with pytest.raises(SystemExit):
                RunWriter.open(tmp_path, header)
        assert manifest.stat().st_size == 100
    with RunWriter.open(tmp_path, header) as writer:
        assert writer.done_ids().tolist() == ids([0])
        assert len(writer.warnings) == 1
    assert (tmp_path / ".campaign.json.torn").stat().st_size == 100


def _end(*_: object) -> None:
    raise SystemExit


def test_rows_of_another_campaign_are_not_taken_over_with_a_torn_manifest(
    newest: Path, header: RunHeader
) -> None:
    path = newest.parents[1]
    (path / "campaign.json").write_bytes(b"")
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    other = replace(header, identity={**header.identity, "seed": 8})
    with pytest.raises(RunCorruptError, match="another campaign"):
        RunWriter.open(path, other)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


@pytest.fixture
def full_disk() -> Iterator[Callable[[int], None]]:
    """Let files grow no further than a number of bytes: beyond it writing fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_full_disk_ends_the_run_with_everything_published_intact(
    tmp_path: Path,
    header: RunHeader,
    trials: Table,
    injections: Table,
    full_disk: Callable[[int], None],
) -> None:
    path = str(tmp_path)
    with RunWriter.open(path, header, flush_seconds=1e9) as writer:
        writer.append(trials(0, 1, 2), injections(0, 1, 2))
        writer.flush()
        writer.append(trials(3, 4), injections(3, 4))
        full_disk(1000)
        with pytest.raises(ResultsError, match="File too large") as caught:
            writer.flush()
        full_disk(resource.RLIM_INFINITY)
        assert "space" in str(caught.value.hint)
        assert leftovers(path) == []
        assert done(path) == ids([0, 1, 2])
    go_on(path, header, trials, injections)
    assert done(path) == ids(ALL)
    assert injected(path) == sorted(ids(ALL) * 2)
