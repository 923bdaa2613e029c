"""A run directory on S3, Google Cloud Storage or Azure, through ``pyarrow.fs``.

There are no folders and no renames: an object appears whole, or not at all, when its upload is
completed. Nothing is left aside by a writer that was killed (S3 may keep the invisible parts of
an upload of more than 10 MB; a lifecycle rule of the bucket removes those).
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from results import paths
from results.errors import ResultsError
from results.storage.connections import Connection, connect
from results.storage.lease import Lease
from results.storage.storage import TimedStorage

if TYPE_CHECKING:
    from collections.abc import Iterator

_HINTS = {
    ("NO_SUCH_BUCKET", "bucket does not exist"): "Create the bucket, or correct its name.",
    ("DENIED", "ACCESS_KEY_ID", "SIGNATURE", "EXPIRED", "TOKEN", "redential", "uthenticat"): (
        "Give valid credentials in the environment, as the tools of the service find them (S3: "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile), of one who may read, write, "
        "list and remove objects there."
    ),
    (
        "NETWORK_CONNECTION",
        "UNAVAILABLE",
    ): "See that the endpoint is right and that the network is there, then "
    "run the same command to resume.",
}
_RESUME = "When the service is well again, run the same command to resume."


class ObjectStorage(TimedStorage):
    """A run directory in a bucket.

    Args:
        connection: Where it is.
    """

    readers = 16

    def __init__(self, connection: Connection) -> None:
        self._filesystem = connection.filesystem
        self._base = connection.base
        self._shown = connection.shown
        self._told = connection.told
        self._appended: dict[str, bytes] = {}

    @classmethod
    def from_uri(cls, uri: str) -> Self:
        """Return the storage of the run directory ``uri``.

        Raises:
            ResultsError: The URI is not known or not complete.
        """
        return cls(connect(uri))

    def path(self, name: str = "") -> str:
        """Return the URI of ``name``, without credentials and options."""
        return f"{self._shown}/{name}" if name else self._shown

    def files(self, folder: str = "") -> list[str]:
        """Return the sorted names of what ``folder`` holds, without the folder; [] if absent."""
        from pyarrow import fs

        with self._refusals("the objects cannot be listed", folder):
            selector = fs.FileSelector(self._full(folder), allow_not_found=True)
            return sorted(info.base_name for info in self._filesystem.get_file_info(selector))

    def times(self, folder: str) -> dict[str, float]:
        """Return when each file in ``folder`` was written: seconds since 1970, by its own clock."""
        from pyarrow import fs

        with self._refusals("the objects cannot be listed", folder):
            selector = fs.FileSelector(self._full(folder), allow_not_found=True)
            infos = self._filesystem.get_file_info(selector)
        return {f"{folder}/{info.base_name}": info.mtime_ns / 1e9 for info in infos if info.is_file}

    def size(self, name: str) -> int:
        """Return how many bytes ``name`` has."""
        from pyarrow import fs

        with self._refusals("the object cannot be read", name):
            info = self._filesystem.get_file_info(self._full(name))
        if info.type != fs.FileType.File:
            raise FileNotFoundError(self.path(name))
        return int(info.size)

    def read(self, name: str) -> bytes:
        """Return the contents of ``name``."""
        with self._refusals("the object cannot be read", name), self.open(name) as file:
            return bytes(file.read())

    def open(self, name: str) -> Any:
        """Return ``name`` as a ``pyarrow.NativeFile``."""
        return self._filesystem.open_input_file(self._full(name))

    def is_file(self) -> bool:
        """Tell whether an object is where the run directory should be."""
        from pyarrow import fs

        with self._refusals("the run directory cannot be reached"):
            return bool(self._filesystem.get_file_info(self._base).type == fs.FileType.File)

    def create(self) -> None:
        """Do nothing: there are no folders, and the bucket is not ours to create."""

    def publish(self, name: str, contents: bytes) -> None:
        """Upload ``name``."""
        try:
            self._put(name, contents)
        except OSError as error:
            raise self._refusal("the object could not be written", name, error) from error

    def append(self, name: str, contents: bytes) -> None:
        """Publish ``name`` anew, with ``contents`` after what was appended to it before.

        What another ``ObjectStorage`` appended to it is lost.
        """
        whole = self._appended.get(name, b"") + contents
        self.publish(name, whole)
        self._appended[name] = whole

    def rename(self, name: str, new_name: str) -> None:
        """Copy an object and remove the first one."""
        with self._refusals("the object cannot be renamed", name):
            self._filesystem.copy_file(self._full(name), self._full(new_name))
        self.remove(name)

    def remove(self, name: str) -> None:
        """Remove an object; an absent one is harmless."""
        try:
            with self._refusals("the object cannot be removed", name):
                self._filesystem.delete_file(self._full(name))
        except FileNotFoundError:
            return

    def sweep(self) -> None:
        """Remove what killed writers left aside, which only Azure has."""
        if self._uploads_in_steps:
            for folder in ("", paths.TRIALS, paths.INJECTIONS, paths.FAILURES):
                for file in filter(paths.is_aside, self.files(folder)):
                    self.remove(f"{folder}/{file}" if folder else file)

    def lock(self) -> Lease:
        """Claim the run directory by an object in ``lock/``."""
        return Lease.acquire(self)

    @property
    def _uploads_in_steps(self) -> bool:
        """Whether an object is there, empty, before its upload is completed."""
        return bool(self._filesystem.type_name == "abfs")

    def _put(self, name: str, contents: bytes) -> None:
        if self._uploads_in_steps:
            aside = paths.aside(name, secrets.token_hex(4))
            self._upload(aside, contents)
            self._filesystem.copy_file(self._full(aside), self._full(name))
            self._filesystem.delete_file(self._full(aside))
        else:
            self._upload(name, contents)

    def _upload(self, name: str, contents: bytes) -> None:
        with self._filesystem.open_output_stream(self._full(name)) as stream:
            stream.write(contents)

    def _full(self, name: str) -> str:
        return f"{self._base}/{name}" if name else self._base

    @contextmanager
    def _refusals(self, what: str, name: str = "") -> Iterator[None]:
        """Tell the user what the service refused; a missing object is the caller's to judge."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._refusal(what, name, error) from error

    def _refusal(self, what: str, name: str, error: OSError) -> ResultsError:
        reason = str(error)
        hints = [hint for codes, hint in _HINTS.items() if any(code in reason for code in codes)]
        return ResultsError(
            f"{what}: {self._told(reason)}", place=self.path(name), hint=[*hints, _RESUME][0]
        )
