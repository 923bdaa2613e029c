"""Reading parts that may be damaged, and telling damage from a refusal to read.

The name of a part tells the digest of its bytes. They are read once, compared with it and parsed
from memory: so what is read is what was written, or nothing.

Whatever reads a part does so in its own thread. A thread of Arrow's pool may still hold the bytes,
which are Python's, when the interpreter ends; to give them back then ends the process with SIGABRT.
More threads would gain little: 0.24 s for a million rows of 23 columns with two or without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from results import paths
from results.errors import ResultsError
from results.storage.local_files import NotAFileError

if TYPE_CHECKING:
    from results.storage.storage import Storage

_T = TypeVar("_T")


def read_each(storage: Storage, names: Iterable[str], read: Callable[[str], _T]) -> list[_T]:
    """Return ``read`` of every name, several at a time where that pays."""
    if storage.readers == 1:
        return [read(name) for name in names]
    with ThreadPoolExecutor(storage.readers) as pool:
        return [*pool.map(read, names)]


def while_replaced(storage: Storage, folder: str, read: Callable[[], _T]) -> _T:
    """Return ``read()`` of the parts in ``folder``, again while others are put in their place.

    Raises:
        ResultsError: What ``read`` raised, although no part has gone.
    """
    while True:
        found = {*storage.files(folder)}
        try:
            return read()
        except ResultsError:
            if found <= {*storage.files(folder)}:
                raise  # nothing is gone: it would be the same again


def read_intact(storage: Storage, name: str, read: Callable[[pq.ParquetFile], _T]) -> _T | None:
    """Return ``read`` of the part ``name``; None if it is damaged, or is no file.

    A part of an earlier version, whose name tells no digest, is read in full: every page has the
    sum that it carries. Its footer has none.

    Raises:
        ResultsError: The part cannot be read, has gone, or takes more memory than there is; or its
            bytes are those that were written, and this version of pyarrow cannot read them.
    """
    place, told = storage.path(name), paths.told_digest(name)
    try:
        contents = storage.read(name)
    except NotAFileError:
        return None
    except FileNotFoundError as error:
        raise _refused(place, error) from error
    except MemoryError as error:
        raise _too_large(place, error, sound=True) from error
    if told not in {None, paths.digest_of(contents)}:
        return None
    try:
        return _parse(contents, read, in_full=told is None)
    except ResultsError:
        raise
    except Exception as error:
        refusal = _refusal(place, error, sound=told is not None)
        if refusal is not None:
            raise refusal from error
        if told is None:  # what pyarrow makes of damage is of many classes
            return None
        raise


def _parse(contents: bytes, read: Callable[[pq.ParquetFile], _T], *, in_full: bool) -> _T:
    with _parsed(pa.BufferReader(contents)) as file:
        if in_full:
            for group in range(file.num_row_groups):
                file.read_row_group(group, use_threads=False)
        return read(file)


def _refusal(place: str, error: Exception, *, sound: bool) -> ResultsError | None:
    """Return what to tell of an error that is no sign of damage, in a part that may be ``sound``.

    None where it is one, or is of the caller's making.
    """
    if isinstance(error, MemoryError):
        return _too_large(place, error, sound=sound)
    if isinstance(error, OSError) and error.errno is not None:  # of the system, not of the bytes
        return _refused(place, error)
    if sound and isinstance(error, pa.ArrowException | OSError):
        return _unknown(place, error)
    return None


def read_end(storage: Storage, name: str, read: Callable[[pq.ParquetFile], _T]) -> _T | None:
    """Return ``read`` of a part that may be large and is not read in full; None if it is damaged.

    For what is of no consequence if it is wrong. Whatever is odd is judged by the whole part.

    Raises:
        ResultsError: As for ``read_intact``.
    """
    try:
        with storage.open(name) as file, _parsed(file) as parquet:
            return read(parquet)
    except FileNotFoundError as error:
        raise _refused(storage.path(name), error) from error
    except Exception:  # noqa: BLE001 - it is read again, and told if it is no damage
        return read_intact(storage, name, read)


def _parsed(file: Any) -> pq.ParquetFile:
    return pq.ParquetFile(file, page_checksum_verification=True)


def _refused(place: str, error: OSError) -> ResultsError:
    return ResultsError(
        f"the part could not be read: {error.strerror or error}",
        place=place,
        hint="Mend the disk or the permissions and try again.",
    )


def _too_large(place: str, error: MemoryError, *, sound: bool) -> ResultsError:
    """Return a refusal that does not judge the part: only one that is ``sound`` is no damage."""
    damage = " If it is the same with more, the part is damaged: move it out of the run directory."
    return ResultsError(
        f"there is not enough memory to read the part: {error or 'none is left'}",
        place=place,
        hint="Make memory free and try again." + ("" if sound else damage),
    )


def _unknown(place: str, error: Exception) -> ResultsError:
    return ResultsError(
        f"the part is as it was written, but cannot be read: {error}",
        place=place,
        hint="Read it with the version of pyarrow that wrote it: campaign.json names it. If "
        "another program wrote it, move it out of the run directory.",
    )
