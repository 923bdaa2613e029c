"""A run directory in a folder of a local or mounted file system."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from results import paths
from results.storage.local_files import (
    check_file,
    create_folder,
    not_written,
    refusals,
    sync_folder,
)
from results.storage.lock import RunLock
from results.storage.storage import Storage


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
