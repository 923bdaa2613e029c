"""Files by their names, also where letters such as umlauts are written in Unicode's other form.

A Mac writes ``ü`` as ``u`` and a mark, keyboards elsewhere as one letter: names that look alike and
are not equal.
"""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from pathlib import Path


def on_disk(path: Path) -> Path:
    """Return the path of what is there under a name that reads the same; the rest stays as given.

    Where several are there, and none is exactly the one given, none is taken.
    """
    if str(path).isascii() or path.exists():
        return path
    found = Path(path.anchor)
    for part in path.parts[len(found.parts) :]:
        found /= _alike(found, part)
    return found


def run_on_disk(run: str | None) -> str | None:
    """Return the name of a run directory, which may be a URI, as it is on the disk."""
    if run is None or run.isascii() or "://" in run:
        return run
    return str(on_disk(Path(run)))


def _alike(folder: Path, name: str) -> str:
    """Return what a folder holds under a name, or under the only one that reads the same."""
    if name == ".." or (folder / name).exists():
        return name
    with suppress(OSError):
        alike = [one.name for one in folder.iterdir() if composed(one.name) == composed(name)]
        if len(alike) == 1:
            return alike[0]
    return name


def composed(name: str) -> str:
    """Return a name in the form in which letters and their marks are one."""
    return unicodedata.normalize("NFC", name)
