"""The folder of a Ray that is started here: for this user alone, and with a short path."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from orchestrator.errors import StoppedError

RAY = "r"
"""Name of the folder in it that Ray makes, and opens to all users."""

SOCKET = f"/{RAY}/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
"""What Ray appends for the longest path of a socket."""

LONGEST = 107
"""Bytes that the path of a socket may have: ``sun_path`` of unix(7), less its ending zero."""

LEAST_FREE = 100 * 2**20
"""Bytes that must be free: Ray writes logs there, and objects that its memory does not hold."""

PREFIX = "injecttf2-"

SETTLED_SECONDS = 60.0
"""Age from which a folder that no process holds is a killed one's, not one that is being made."""

GOING_SECONDS = 5.0
"""Time that Ray's servers have to end."""

WITHOUT_RAY = "run with --executor inline, which needs no Ray"

SYSTEM = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - folders with random names are made there


def private_folder(environment: Mapping[str, str]) -> Path:
    """Make a folder that only this user may enter, and return it; Ray takes ``RAY`` in it.

    Ray's own default is a folder that all users of a machine share, in which others could put
    sockets of theirs in the place of Ray's. A place is passed over where others could put a folder
    of theirs in the place of this one, or of one that it lies in.

    Args:
        environment: ``RAY_TMPDIR`` and ``TMPDIR`` name the first places to try.

    Raises:
        StoppedError: No place is short, writable, safe from others and has room.
    """
    named = [environment[name] for name in ("RAY_TMPDIR", "TMPDIR") if environment.get(name)]
    reasons = []
    for place in dict.fromkeys([*named, *SYSTEM]):
        try:
            whole = Path(place).resolve(strict=True)  # a link on the way is not followed again
            if (reason := _open_to_others(whole)) is not None:
                reasons.append(f"{place}: {reason}")
                continue
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=whole))
        except (OSError, ValueError) as error:
            reasons.append(f"{place}: {getattr(error, 'strerror', None) or error}")
            continue
        if (reason := _unusable(folder)) is None:
            return folder
        folder.rmdir()
        reasons.append(f"{place}: {reason}")
    raise StoppedError(
        f"Ray needs a folder for its sockets and logs, and there is none ({'; '.join(reasons)})\n"
        "  set RAY_TMPDIR to a folder with a short path that this user alone can write to, "
        f"or {WITHOUT_RAY}"
    )


def hold(folder: Path) -> int:
    """Mark a folder as a living process's, and remove what killed ones have left beside it.

    Returns:
        The descriptor that holds it; it ends with the process.
    """
    held = os.open(folder, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    for other in folder.parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            _remove_left(other)
    return held


def _remove_left(folder: Path) -> None:
    """Remove a folder that nobody holds.

    Raises:
        OSError: It is another user's, is held, or is no folder.
    """
    found = folder.lstat()
    if found.st_uid != os.getuid() or time.time() - found.st_mtime < SETTLED_SECONDS:
        return
    left = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(left)


def remove(folder: Path) -> None:
    """Remove a folder whose servers end now: until they have, they may write into it."""
    until = time.monotonic() + GOING_SECONDS
    shutil.rmtree(folder, ignore_errors=True)
    while folder.exists() and time.monotonic() < until:
        time.sleep(0.1)
        shutil.rmtree(folder, ignore_errors=True)


def _open_to_others(place: Path) -> str | None:
    """Return how other users could move what lies in a folder aside; None if they cannot.

    Whoever owns a folder on the way, or may write to it, renames what it holds. Where the sticky
    bit is set, as in ``/tmp``, writers may rename only what is theirs.

    Args:
        place: The folder, with no links on the way.
    """
    trusted = _trusted()
    for folder in (place, *place.parents):
        found = folder.stat()
        if found.st_uid not in trusted:
            return f"{folder} belongs to another user, {found.st_uid}"
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX:
            return f"other users may rename what {folder} holds: it has the mode " + (
                f"{stat.S_IMODE(found.st_mode):04o}"
            )
    return None


def _trusted() -> set[int]:
    """Return the users whose folders are safe: this one and root.

    In a container that has users of its own, root's folders from outside are those of the user who
    stands for all that are not known.
    """
    trusted = {os.getuid(), 0}
    with suppress(OSError):
        if Path("/proc/self/uid_map").read_text().split() != ["0", "0", str(2**32 - 1)]:
            trusted.add(int(Path("/proc/sys/kernel/overflowuid").read_text()))
    return trusted


def _unusable(folder: Path) -> str | None:
    """Return why Ray cannot live in a folder; None if it can."""
    length = len(os.fsencode(folder)) + len(SOCKET)
    if length > LONGEST:
        return f"the path of a socket in it has {length} bytes, {LONGEST} at most are allowed"
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE:
        return f"{free / 2**20:.0f} MB are free, {LEAST_FREE / 2**20:.0f} at least are needed"
    return None
