"""Where a Ray that is started here lives, and what is said where it cannot."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from orchestrator.errors import StoppedError
from orchestrator.executors import ray_folder
from orchestrator.executors.ray_connection import Connection
from orchestrator.executors.ray_folder import private_folder
from tests.orchestrator.conftest import Command


@pytest.fixture
def made() -> Iterator[list[Path]]:
    """The folders that a test makes; they are removed."""
    folders: list[Path] = []
    yield folders
    for folder in folders:
        folder.rmdir()


@pytest.mark.parametrize("name", ["RAY_TMPDIR", "TMPDIR"])
def test_the_folder_lies_where_the_user_says_and_nobody_else_may_enter_it(
    name: str, made: list[Path]
) -> None:
    place = Path(ray_folder.SYSTEM[1])  # not where it would lie by itself
    made.append(private_folder({name: str(place)}))
    assert made[0].parent == place
    assert stat.S_IMODE(made[0].stat().st_mode) == 0o700
    assert made[0].stat().st_uid == os.getuid()


def test_a_place_may_be_told_from_the_current_folder(
    made: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Path(ray_folder.SYSTEM[1])
    monkeypatch.chdir(place.parent)
    made.append(private_folder({"RAY_TMPDIR": place.name}))
    assert made[0].parent == place  # Ray takes no relative path


@pytest.mark.parametrize("kind", ["too long", "a file", "missing", "full"])
def test_a_place_that_cannot_hold_it_is_passed_over(
    kind: str, tmp_path: Path, made: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / ("x" * 100 if kind == "too long" else "place")
    if kind == "a file":
        place.touch()
    elif kind != "missing":
        place.mkdir()
    if kind == "full":
        monkeypatch.setattr(ray_folder, "SOCKET", "/s")
        usage = shutil.disk_usage
        full = usage(place)._replace(free=2**20)
        monkeypatch.setattr(
            "shutil.disk_usage", lambda path: full if place in path.parents else usage(path)
        )
    made.append(private_folder({"TMPDIR": str(place)}))
    assert made[0].parent == Path(ray_folder.SYSTEM[0])
    assert kind in ("a file", "missing") or not list(place.iterdir())


@pytest.mark.parametrize("on_the_way", [False, True])
@pytest.mark.parametrize(("mode", "taken"), [(0o1777, True), (0o777, False), (0o770, False)])
def test_a_place_whose_folders_others_may_rename_is_passed_over(
    mode: int,
    taken: bool,
    on_the_way: bool,
    tmp_path: Path,
    made: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_folder, "SOCKET", "/s")
    (place := tmp_path / "open" / "own").mkdir(parents=True)
    (tmp_path / "open").chmod(mode)
    place = place if on_the_way else place.parent
    (link := tmp_path / "link").symlink_to(place)  # what it leads to counts
    made.append(private_folder({"RAY_TMPDIR": str(link)}))
    assert made[0].parent == (place if taken else Path(ray_folder.SYSTEM[0]))


@pytest.mark.parametrize(
    ("owner", "mode", "reason"),
    [
        (0, 0o777, "other users may rename what {} holds: it has the mode 0777"),
        (12345, 0o755, "{} belongs to another user, 12345"),
        (12345, 0o1777, "{} belongs to another user, 12345"),
    ],
)
@pytest.mark.skipif(os.getuid() != 0, reason="root alone gives a folder to another user")
def test_what_others_could_do_is_the_reason_that_is_told(
    owner: int, mode: int, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a").chmod(mode)
    os.chown(tmp_path / "a", owner, -1)
    monkeypatch.setattr(ray_folder, "SYSTEM", ())
    with pytest.raises(StoppedError) as caught:
        private_folder({"RAY_TMPDIR": str(tmp_path / "a" / "b")})
    assert reason.format(tmp_path / "a") in str(caught.value)
    assert not list((tmp_path / "a" / "b").iterdir())


def test_without_any_place_each_is_named_with_its_reason(
    campaign: Path, injecttf2: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(ray_folder, "SYSTEM", (str(tmp_path / "missing"),))
    monkeypatch.setenv("TMPDIR", str(long))
    ended = injecttf2("run", campaign, "--executor", "ray", "--output", tmp_path / "run")
    assert ended.code == 3
    said = " ".join(ended.err.split())
    assert "Ray needs a folder for its sockets and logs, and there is none" in said
    assert "bytes, 107 at most are allowed" in said
    assert "missing: No such file or directory" in said
    assert "set RAY_TMPDIR to a folder with a short path that this user alone can write to" in said
    assert "--executor inline, which needs no Ray" in said
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("no raylet"), SystemError("x")]
)
def test_a_ray_that_cannot_start_stops_the_run_and_leaves_nothing(
    error: Exception,
    campaign: Path,
    injecttf2: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders: list[Path] = []

    def failing(*_: Any, **options: Any) -> None:
        folders.append(Path(options["_temp_dir"]))
        assert folders[0].parent.is_dir()
        raise error

    monkeypatch.setattr(ray, "init", failing)
    ended = injecttf2("run", campaign, "--executor", "ray", "--output", tmp_path / "run")
    assert ended.code == 3
    assert f"stopped: Ray cannot start on this machine: {error}" in ended.err
    assert "Traceback" not in ended.err
    assert not folders[0].parent.exists()


@pytest.mark.ray
def test_a_ray_lives_in_a_folder_of_its_own_that_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    connection = Connection(None)
    try:
        node = connection.ray._private.worker.global_worker.node
        sockets = [Path(node.raylet_socket_name), Path(node.plasma_store_socket_name)]
        (folder,) = {socket.parents[3] for socket in sockets}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert max(len(os.fsencode(socket)) for socket in sockets) <= ray_folder.LONGEST
    finally:
        connection.close()
    assert not folder.exists()
    assert not list(long.iterdir())


def test_what_a_killed_driver_has_left_is_removed_and_what_a_living_one_holds_is_not(
    tmp_path: Path,
) -> None:
    folders = {}
    for name in ("killed", "living", "young", "new"):
        folders[name] = private_folder({"RAY_TMPDIR": "/tmp"})  # noqa: S108
        if name in ("killed", "living"):
            (folders[name] / "log").touch()
            os.utime(folders[name], (0, 0))
    held = os.open(folders["living"], os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        os.close(ray_folder.hold(folders["new"]))
        there = {name: folder.exists() for name, folder in folders.items()}
        assert there == {"killed": False, "living": True, "young": True, "new": True}
    finally:
        os.close(held)
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)
