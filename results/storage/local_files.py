"""Folders and names that outlast a power cut, and what a file system refuses, told to the user."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from results.errors import ResultsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotAFileError(ResultsError):
    """What stands there is no file: it is not opened, since to read it may take for ever."""


def check_file(path: Path) -> None:
    """Check that ``path`` is a regular file, or a link to one.

    Raises:
        NotAFileError: It is something else, or a link that leads nowhere.
        FileNotFoundError: There is nothing.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        if not path.is_symlink():
            raise
        kind = stat.S_IFLNK
    if kind != stat.S_IFREG:
        found = _KINDS.get(kind, "a link that leads nowhere")
        raise NotAFileError(
            f"the file cannot be read: it is {found}, expected a file",
            place=str(path),
            hint="Move it out of the run directory.",
        )


@contextmanager
def refusals(what: str, path: Path) -> Iterator[None]:
    """Tell the user what the file system refused; a missing file is the caller's to judge."""
    try:
        yield
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:
        files = [str(parent) for parent in path.parents if parent.is_file()]
        reason = f"{files[0]} is a file, expected a folder" if files else "a folder is a file"
        raise ResultsError(
            f"{what}: {reason}", place=str(path), hint="Choose another --output."
        ) from error
    except OSError as error:
        raise ResultsError(
            f"{what}: {error.strerror or error}",
            place=str(path),
            hint="Mend its permissions, or what stands in its place, or choose another --output.",
        ) from error


def not_written(path: Path, error: OSError) -> ResultsError:
    """Return the error of a file that could not be written."""
    return ResultsError(
        f"the file could not be written: {error.strerror or error}",
        place=str(path),
        hint="Mend the disk (space, permissions), then run the same command to resume.",
    )


def create_folder(folder: Path) -> None:
    """Create a folder durably, and those that it lies in."""
    if folder.exists():
        return
    create_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable; a rename alone may be lost in a power cut."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows, which opens no folders
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
