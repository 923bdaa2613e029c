"""YAML files whose top level is a mapping, and what is wrong with what they hold."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from injecttf2.config.problems import KeyPath, problems_of
from injecttf2.config.yaml_text import (
    EXAMPLE_HINT,
    LARGE_HINT,
    Origin,
    Places,
    Position,
    end_of,
    parse_mapping,
)
from injecttf2.errors import CampaignError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import BaseModel, ValidationError

MAX_BYTES = 4 * 2**20
"""Bytes a file may have, comments included: the scanner takes seconds for each million of them."""

MAX_PROBLEMS = 20
"""Problems of a file that one message names."""


@dataclass(frozen=True)
class YamlSource:
    """A YAML file that has been read, or several that were put together.

    Args:
        file: The file, as the user named it.
        folder: The folder it lies in, absolute.
        data: The top-level mapping.
        positions: Where the key and the value at each path stand; a list's item is its own key.
        files: The file, and those whose values it takes over.
    """

    file: Path
    folder: Path
    data: dict[str, Any]
    positions: Mapping[KeyPath, Places] = field(repr=False)
    files: tuple[Path, ...]

    def places(self, path: KeyPath) -> Places:
        """Return where key and value at ``path`` stand.

        A list index where the file has no list is passed over, because a campaign may give one
        value where the schema has a list. A key that the file does not have ends the path: the
        answer is then the nearest mapping around it.
        """
        known: KeyPath = ()
        for part in path:
            if (*known, part) in self.positions:
                known = (*known, part)
            elif isinstance(part, str):
                break
        return self.positions[known]

    def position(self, path: KeyPath, *, key: bool = False) -> Position:
        """Return line and column of the value at ``path``, or of its key."""
        places = self.places(path)
        return places.key if key else places.value

    def place(self, path: KeyPath, *, key: bool = False) -> str:
        """Return ``file:line:column`` of the value at ``path``, or of its key."""
        return self.places(path).origin.place(self.position(path, key=key))

    def error(self, error: ValidationError, schema: type[BaseModel]) -> CampaignError:
        """Return one error that names what is wrong with the data, in the order of each file.

        Of very many problems the first ``MAX_PROBLEMS``.
        """
        problems = {
            (
                self.places(problem.path).origin.name,
                self.position(problem.path, key=problem.is_unknown),
                self.place(problem.path, key=problem.is_unknown),
                self.places(problem.path).origin.hint,
                problem.sentence,
            )
            for problem in problems_of(error, schema)
        }
        (*_, place, hint, first), *others = sorted(problems)
        told = [f"{at}: {also}" for *_, at, _, also in others[: MAX_PROBLEMS - 1]]
        if rest := len(others) - len(told):
            told.append(f"and {rest:,} problems more")
        return CampaignError("\n".join([first, *told]), place=place, hint=hint)


def read_yaml(file: Path) -> YamlSource:
    """Read a YAML file whose top level is a mapping.

    Raises:
        CampaignError: The file cannot be read, is too large, is no valid YAML or holds no mapping;
            a key is given twice; a tag is not allowed; an alias contains itself or multiplies.
    """
    folder = file.parent.resolve()
    found = parse_mapping(_read_text(file), Origin(str(file), folder))
    return YamlSource(file, folder, found.data, found.positions, (file,))


def _read_text(file: Path) -> str:
    """Return the text of ``file``, a byte order mark removed."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise CampaignError("there is no such file", place=str(file), hint=_other(file)) from None
    except IsADirectoryError:
        raise CampaignError(
            "this is a folder; expected a campaign file", place=str(file), hint=EXAMPLE_HINT
        ) from None
    except OSError as error:
        raise CampaignError(f"cannot be read: {error.strerror}", place=str(file)) from None
    except ValueError as error:  # a path with a NUL
        raise CampaignError(f"cannot be read: {error}", place=str(file)) from None
    if len(content) > MAX_BYTES:
        raise CampaignError(
            f"the file has more than {MAX_BYTES / 2**20:.0f} MiB, which no campaign needs",
            place=str(file),
            hint=LARGE_HINT,
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode("utf-8")
        raise CampaignError(
            f"received the byte 0x{error.object[error.start]:02x}; expected UTF-8 text",
            place=Origin(str(file), file.parent).place(end_of(before)),
            hint="save the file as UTF-8",
        ) from None


def _other(missing: Path) -> str:
    """Return what to do about a missing file: its nearest neighbour, or a new one."""
    folder = missing.parent
    if not folder.is_dir():
        return f"there is no folder {str(folder)!r} either; {EXAMPLE_HINT}"
    files = [path for path in sorted(folder.glob("*")) if path.suffix in (".yaml", ".yml")]
    names = {path.stem: path.name for path in files}
    close = [names[stem] for stem in difflib.get_close_matches(missing.stem, names, n=1)]
    return f"did you mean {str(folder / close[0])!r}? {EXAMPLE_HINT}" if close else EXAMPLE_HINT
