"""Where a run directory lives: every file of it is read and changed through a ``Storage``.

``open_storage`` returns ``LocalStorage`` for a folder of a local or mounted file system, and
``results.storage.object_store.ObjectStorage`` for a place on S3, Google Cloud Storage or Azure.
"""

from __future__ import annotations

import os
import secrets
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from results import paths
from results.errors import ResultsError
from results.storage.local_files import (
    check_file,
    create_folder,
    not_written,
    refusals,
    sync_folder,
)
from results.storage.lock import Lock, RunLock

__all__ = ["LocalStorage", "Lock", "Storage", "open_storage"]


def open_storage(root: str | os.PathLike[str]) -> Storage:
    """Return the storage of the run directory ``root``, a path or a URI. Nothing is read yet.

    Raises:
        ResultsError: ``root`` is a URI of a kind that is not known, or is not complete; or no file
            can have that name.
    """
    if "\0" in os.fspath(root):
        raise ResultsError(
            "no path can hold the character U+0000",
            place=os.fspath(root),
            hint="Choose another --output.",
        )
    if "://" in os.fspath(root):
        from results.storage.object_store import ObjectStorage

        return ObjectStorage.from_uri(os.fspath(root))
    return LocalStorage(root)


class Storage(ABC):
    """A run directory; the names of its files are relative to it, with ``/`` between parts.

    Every method that reaches the files raises ``ResultsError`` where they are refused.

    Attributes:
        readers: How many files it is worth reading at the same time.
    """

    readers = 1

    @abstractmethod
    def path(self, name: str = "") -> str:
        """Return the full path or URI of ``name``, for messages: without credentials."""

    @abstractmethod
    def files(self, folder: str = "") -> list[str]:
        """Return the sorted names of what ``folder`` holds, without the folder; [] if absent."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Return how many bytes ``name`` has.

        Raises:
            FileNotFoundError: There is no such file.
        """

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the contents of ``name``.

        Raises:
            FileNotFoundError: There is no such file.
        """

    @abstractmethod
    def open(self, name: str) -> Any:
        """Return ``name`` as a ``pyarrow.NativeFile`` for random access, to be closed.

        Raises:
            FileNotFoundError: There is no such file.
            OSError: It was refused. What the file raises later is an ``OSError`` too.
        """

    @abstractmethod
    def is_file(self) -> bool:
        """Tell whether a file is where the run directory should be."""

    @abstractmethod
    def create(self) -> None:
        """Create the run directory unless it exists."""

    @abstractmethod
    def publish(self, name: str, contents: bytes) -> None:
        """Make ``name`` with ``contents`` appear, or be replaced, all at once and durably.

        Raises:
            ResultsError: It was refused; what was there before is unchanged.
        """

    @abstractmethod
    def append(self, name: str, contents: bytes) -> None:
        """Add ``contents`` to the end of ``name``, which is created if absent.

        For small files that one writer has to itself. Not durable at once.
        """

    @abstractmethod
    def rename(self, name: str, new_name: str) -> None:
        """Rename a file within its folder."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file; an absent one is harmless."""

    @abstractmethod
    def sweep(self) -> None:
        """Remove what killed writers left aside. Only for the process that holds the lock."""

    @abstractmethod
    def lock(self) -> Lock:
        """Keep other writers out of the run directory, which must have been created.

        Raises:
            RunLockedError: Another writer is in it.
        """


class LocalStorage(Storage):
    """A run directory in a local folder.

    Args:
        root: The folder. It need not exist.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    def path(self, name: str = "") -> str:
        """Return the full path of ``name``."""
        return str(self.root / name)

    def files(self, folder: str = "") -> list[str]:
        """Return the sorted names of what ``folder`` holds, without the folder; [] if absent."""
        try:
            with refusals("the folder cannot be read", self.root / folder):
                return sorted(path.name for path in (self.root / folder).iterdir())
        except FileNotFoundError:
            return []

    def size(self, name: str) -> int:
        """Return how many bytes ``name`` has."""
        with refusals("the file cannot be read", self.root / name):
            check_file(self.root / name)
            return (self.root / name).stat().st_size

    def read(self, name: str) -> bytes:
        """Return the contents of ``name``."""
        with refusals("the file cannot be read", self.root / name):
            try:
                check_file(self.root / name)
                return (self.root / name).read_bytes()
            except NotADirectoryError as error:  # a file stands where a folder on the way should
                raise FileNotFoundError(self.path(name)) from error

    def open(self, name: str) -> Any:
        """Return ``name`` as a ``pyarrow.NativeFile``."""
        check_file(self.root / name)
        return pa.OSFile(self.path(name), "rb")

    def is_file(self) -> bool:
        """Tell whether a file is where the run directory should be."""
        with refusals("the folder cannot be reached", self.root):
            return self.root.is_file()

    def create(self) -> None:
        """Create the run directory unless it exists."""
        with refusals("the run directory cannot be created", self.root):
            create_folder(self.root)

    def publish(self, name: str, contents: bytes) -> None:
        """Write a file aside, make it durable and rename it to ``name``."""
        final = self.root / name
        aside = self.root / paths.aside(name, secrets.token_hex(4))
        try:
            create_folder(final.parent)
            with aside.open("xb") as file:
                file.write(contents)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(final)
            sync_folder(final.parent)
        except OSError as error:
            raise not_written(final, error) from error
        finally:
            with suppress(OSError):  # the first error is the one to tell
                aside.unlink()

    def append(self, name: str, contents: bytes) -> None:
        """Add ``contents`` to the end of ``name``, which is created if absent."""
        try:
            create_folder((self.root / name).parent)
            with (self.root / name).open("ab") as file:
                file.write(contents)
        except OSError as error:
            raise not_written(self.root / name, error) from error

    def rename(self, name: str, new_name: str) -> None:
        """Rename a file within its folder."""
        with refusals("the file cannot be renamed", self.root / name):
            (self.root / name).rename(self.root / new_name)
            sync_folder((self.root / name).parent)

    def remove(self, name: str) -> None:
        """Remove a file; an absent one is harmless."""
        with refusals("the file cannot be removed", self.root / name):
            (self.root / name).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what killed writers left aside. Only for the process that holds the lock."""
        for folder in ("", paths.TRIALS, paths.INJECTIONS, paths.FAILURES):
            for file in filter(paths.is_aside, self.files(folder)):
                self.remove(f"{folder}/{file}" if folder else file)

    def lock(self) -> RunLock:
        """Lock the file ``lock`` in the folder."""
        with refusals("the run directory cannot be locked", self.root / paths.LOCK):
            return RunLock.acquire(self.path(paths.LOCK))
