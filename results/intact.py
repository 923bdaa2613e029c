"""Reading Parquet files that may be damaged, and telling damage from a refusal to read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from results.errors import ResultsError

if TYPE_CHECKING:
    from results.storage import Storage

_T = TypeVar("_T")


def read_each(
    storage: Storage, names: Iterable[str], read: Callable[[pq.ParquetFile], _T]
) -> list[_T | None]:
    """Return ``read`` of every part, several at a time where that pays; None if damaged."""
    if storage.readers == 1:
        return [read_intact(storage, name, read) for name in names]
    with ThreadPoolExecutor(storage.readers) as pool:
        return [*pool.map(lambda name: read_intact(storage, name, read), names)]


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
    """Return ``read`` of the part ``name``, or None if its contents are damaged.

    pyarrow says of damage and of a refusal much the same. So where it fails, the bytes are read
    without looking at them: they are damaged if that succeeds and they still make no sense.

    Raises:
        ResultsError: The part cannot be read, or has gone.
    """
    try:
        with storage.open(name) as file:
            return _parsed(file, read)
    except FileNotFoundError as error:
        raise refused(storage.path(name), error) from error
    except (pa.ArrowException, OSError):
        pass
    try:
        contents = storage.read(name)
    except FileNotFoundError as error:
        raise refused(storage.path(name), error) from error
    try:
        return _parsed(pa.BufferReader(contents), read)
    except (pa.ArrowException, OSError):
        return None


def _parsed(file: Any, read: Callable[[pq.ParquetFile], _T]) -> _T:
    with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        return read(parquet)


def refused(place: str, error: Exception) -> ResultsError:
    """Return the error of a part that cannot be read though it may be intact."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ResultsError(
        f"the part could not be read: {reason}",
        place=place,
        hint="Mend the disk or the permissions and try again.",
    )
