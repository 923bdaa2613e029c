"""From the path or URI of a run directory to its storage."""

from __future__ import annotations

import os

from results.errors import ResultsError
from results.storage.local import LocalStorage
from results.storage.storage import Storage


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
