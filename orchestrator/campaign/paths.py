"""What a model or data set is called, and the absolute path of one that is a file."""

from __future__ import annotations

from pathlib import Path

from injecttf2 import datasets
from injecttf2.config.applications import APPLICATIONS
from injecttf2.config.paths import on_disk
from injecttf2.errors import CampaignError
from injecttf2.user_code.references import installed, is_function

FILE_SUFFIXES = (".keras", ".h5", ".hdf5", ".npz")
"""Endings that tell a file from the name of something builtin."""

IN_MEMORY = "in memory: "
"""How the text begins that stands for a model or data in memory, in the place of a source."""


def is_in_memory(source: str) -> bool:
    """Return whether a source is the text that stands for something in memory."""
    return source.startswith(IN_MEMORY)


def checked(source: str, option: str | None) -> str:
    """Return a source that the command line names; what is on another machine is refused.

    Raises:
        CampaignError: It is, or no file can have that name.
    """
    if "\0" in source:
        raise CampaignError(
            f"received {source!r}; no path can hold the character U+0000",
            place=option,
            hint="remove it",
        )
    if "://" in source:
        from results.shown import shown_address  # pyarrow comes with it

        raise CampaignError(
            f"received {shown_address(source)!r}; only local files are supported",
            place=option,
            hint="download it and give the path of the file",
        )
    return source


def may_be_folder(source: str) -> bool:
    """Return whether ``source`` is the name of nothing else than a folder."""
    known = source in datasets.BUILTIN or is_function(source) or installed("datasets", source)
    return not known and not is_in_memory(source) and not source.lower().endswith(FILE_SUFFIXES)


def located(source: str, folder: Path) -> str:
    """Return ``source`` as an absolute path if it names a file or a folder, else as it is."""
    if source.startswith(("builtin:", APPLICATIONS)) or is_function(source):
        return source
    if source in datasets.BUILTIN or is_in_memory(source):
        return source
    named = "/" in source or source.lower().endswith(FILE_SUFFIXES)
    is_path = named or on_disk(folder / source).exists()
    return absolute(source, folder) if is_path else source


def absolute(file: str, folder: Path) -> str:
    """Return the absolute path; a link keeps its own name, because its suffix tells the format."""
    path = on_disk(folder / (Path(file).expanduser() if file.startswith("~/") else file))
    return str(path.parent.resolve() / path.name)
