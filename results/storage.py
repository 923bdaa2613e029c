"""Where a run directory lives: every change of a published file goes through this module.

``LocalStorage`` is a folder on a local or mounted file system. Object storage needs a second
class with the same methods, on ``pyarrow.fs``, whose ``publish`` is a single PUT.
"""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from results import paths
from results.errors import ResultsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class LocalStorage:
    """A run directory in a local folder; names are relative to it, with ``/`` between parts.

    Args:
        root: The folder. It need not exist.

    Raises:
        ResultsError: ``root`` is a URI.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        if "://" in str(root):
            raise ResultsError(
                f"the run directory is {str(root)!r}, expected a local path",
                hint="Object storage is not supported yet: choose a folder on a mounted disk.",
            )
        self.root = Path(root)

    def path(self, name: str = "") -> str:
        """Return the full path of ``name``, for messages and for opening it."""
        return str(self.root / name)

    def files(self, folder: str = "") -> list[str]:
        """Return the sorted names of what ``folder`` holds, without the folder; [] if absent.

        Raises:
            ResultsError: The file system refused.
        """
        try:
            with _refusals("the folder cannot be read", self.root / folder):
                return sorted(path.name for path in (self.root / folder).iterdir())
        except FileNotFoundError:
            return []

    def read(self, name: str) -> bytes:
        """Return the contents of ``name``.

        Raises:
            FileNotFoundError: There is no such file.
            ResultsError: The file system refused, or it is a folder.
        """
        with _refusals("the file cannot be read", self.root / name):
            try:
                return (self.root / name).read_bytes()
            except NotADirectoryError as error:  # a file stands where a folder on the way should
                raise FileNotFoundError(self.path(name)) from error

    def is_file(self) -> bool:
        """Tell whether a file is where the run directory should be."""
        with _refusals("the folder cannot be reached", self.root):
            return self.root.is_file()

    def create(self) -> None:
        """Create the run directory unless it exists.

        Raises:
            ResultsError: The file system refused.
        """
        with _refusals("the run directory cannot be created", self.root):
            self.root.mkdir(parents=True, exist_ok=True)

    def publish(self, name: str, contents: bytes | Callable[[BinaryIO], None]) -> None:
        """Make ``name`` appear, or be replaced, all at once and durably.

        Args:
            name: The file to publish.
            contents: What it holds, or a function that writes it into an open binary file.

        Raises:
            ResultsError: The file system refused; what was there before is unchanged.
        """
        final = self.root / name
        aside = self.root / paths.aside(name, secrets.token_hex(4))
        try:
            self._create_folder(final.parent)
            with aside.open("xb") as file:
                if callable(contents):
                    contents(file)
                else:
                    file.write(contents)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(final)
            _sync_folder(final.parent)
        except OSError as error:
            raise ResultsError(
                f"the file could not be written: {error.strerror or error}",
                place=str(final),
                hint="Mend the disk (space, permissions), then run the same command to resume.",
            ) from error
        finally:
            with suppress(OSError):  # the first error is the one to tell
                aside.unlink()

    def rename(self, name: str, new_name: str) -> None:
        """Rename a file within its folder.

        Raises:
            ResultsError: The file system refused.
        """
        with _refusals("the file cannot be renamed", self.root / name):
            (self.root / name).rename(self.root / new_name)
            _sync_folder((self.root / name).parent)

    def sweep(self) -> None:
        """Remove what killed writers left aside. Only for the process that holds the lock."""
        for folder in ("", paths.TRIALS, paths.INJECTIONS, paths.FAILURES):
            for file in filter(paths.is_aside, self.files(folder)):
                path = self.root / folder / file
                with _refusals("the file cannot be removed", path):
                    path.unlink(missing_ok=True)

    def _create_folder(self, folder: Path) -> None:
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _sync_folder(folder.parent)


@contextmanager
def _refusals(what: str, path: Path) -> Iterator[None]:
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


def _sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable; a rename alone may be lost in a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
