"""What a run directory is read and changed through; ``opening`` finds the right one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from results.storage.lock import Lock


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


class TimedStorage(Storage):
    """A storage that has a clock of its own, which all who use it share."""

    @abstractmethod
    def times(self, folder: str) -> dict[str, float]:
        """Return when each file in ``folder`` was written, by name: seconds since 1970."""
