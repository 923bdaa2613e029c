"""Writes a small run in forked processes, each killed one step later than the one before.

Usage: crash_points.py FOLDER|URI. The run of the process that is killed at step n is in
``FOLDER/n``; beside it, in the local folder of the second argument, ``n.said`` holds the numbers
of the trials that ``flush`` said were published. The last process is not killed.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.dataset

from results import RunWriter
from results.storage.object_store import ObjectStorage
from results.writing import compaction
from tests.results.conftest import (
    given_up_of,
    injections_table_of,
    run_header,
    trial_id_of,
    trials_table_of,
)

Tables = list[tuple[pa.Table, pa.Table]]
BATCHES = ((0, 1, 2), (3, 4))
GIVEN_UP = 40


class Bomb:
    """Kills this process at its n-th step."""

    def __init__(self, fuse: int) -> None:
        self.fuse = fuse

    def step(self) -> None:
        self.fuse -= 1
        if self.fuse == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``call`` with a step before it: what is after it is before the next one."""

        def stepped(*args: Any, **options: Any) -> Any:
            self.step()
            return call(*args, **options)

        return stepped


class Torn:
    """A file whose first write has a step in its middle."""

    def __init__(self, file: Any, bomb: Bomb) -> None:
        self._file = file
        self._bomb = bomb
        self._whole = True

    def write(self, data: Any) -> int:
        if not self._whole:
            return int(self._file.write(data))
        self._whole = False
        contents = bytes(data)
        half = len(contents) // 2
        self._file.write(contents[:half])
        self._file.flush()
        self._bomb.step()
        self._file.write(contents[half:])
        return len(contents)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def arm(bomb: Bomb) -> None:
    """Put steps around everything that changes a file or an object."""
    for name in ("fsync", "replace", "rename", "mkdir", "unlink"):
        setattr(os, name, bomb.before(getattr(os, name)))
    opened = Path.open

    def open_torn(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        if "b" not in mode or mode == "rb":
            return opened(path, mode, *args, **options)
        bomb.step()
        return Torn(opened(path, mode, *args, **options), bomb)

    setattr(Path, "open", open_torn)  # noqa: B010
    setattr(ObjectStorage, "_upload", bomb.before(ObjectStorage._upload))  # noqa: B010
    setattr(ObjectStorage, "remove", bomb.before(ObjectStorage.remove))  # noqa: B010


def write_run(root: str, said: Path, tables: Tables) -> None:
    """Write all that a run may hold: rows, injections, failures, a manifest that is replaced.

    The second parts are one too many, and all are merged.
    """
    with (
        said.open("w") as log,
        RunWriter.open(root, run_header(), flush_seconds=1e9) as writer,
    ):
        for batch, (trials, injections) in zip(BATCHES, tables, strict=True):
            writer.append(trials, injections)
            writer.flush()
            print(*batch, file=log, flush=True)
        writer.record_failures([given_up_of(trial_id_of(GIVEN_UP))], error="why", traceback="where")
        writer.set_golden({"decisions": "ff"})


def main(root: str, folder: Path) -> None:
    """Kill a process at every step; the tables are made once, since that loads pandas."""
    tables = [(trials_table_of(*batch), injections_table_of(*batch)) for batch in BATCHES]
    compaction.MANY_PARTS = 1
    for number in range(1, 10_000):
        child = os.fork()  # what is slow to import was imported
        if child == 0:
            arm(Bomb(number))
            write_run(f"{root}/{number:04d}", folder / f"{number:04d}.said", tables)
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            return
    raise RuntimeError("The run does not end.")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
