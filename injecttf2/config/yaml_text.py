"""YAML text as plain Python data that remembers where every value stood.

Every message about a campaign names file, line and column, so the text is composed into YAML
nodes, which carry marks, and turned into data here. Nothing but text, numbers, booleans, nothing,
lists and mappings comes out: other tags are refused, never run.

Unquoted scalars are read as YAML 1.1 does, except where that would quietly change what a campaign
means:

- ``1e-3`` and ``1e3`` are numbers.
- ``1:30`` (base 60), ``010`` (octal), ``2026-11-01`` (a date), ``yes``, ``no``, ``on`` and ``off``
  (booleans) stay text. So does every key of a mapping.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from injecttf2.config.odd_characters import Odd, misleading, misplaced
from injecttf2.errors import CampaignError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from injecttf2.config.problems import KeyPath

MAX_NODES = 100_000
"""Values a file may hold with its aliases written out; far above any campaign, below any harm."""

LARGE_HINT = (
    "ranges (`bits: [0-31]`), patterns and types say much in few words; a long list of sites "
    "belongs into a file of its own, .csv or .parquet, that `sites:` names"
)

EXAMPLE_HINT = "`injecttf2 init` writes a commented campaign to start from"
CORRECT_HINT = "correct the {what} and run the command again"

_TAG_PREFIX = "tag:yaml.org,2002:"
_MERGE_TAG = f"{_TAG_PREFIX}merge"


class Position(NamedTuple):
    """Line and column in a file, both from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Origin:
    """What YAML was read from: a file, or an option of the command line.

    Args:
        name: As the user named it.
        folder: What relative paths in it are relative to, absolute.
        is_file: Whether lines and columns tell where something stands.
    """

    name: str
    folder: Path
    is_file: bool = True

    @property
    def hint(self) -> str:
        """What to do about something wrong in it."""
        return CORRECT_HINT.format(what="file" if self.is_file else "override")

    def place(self, position: Position) -> str:
        """Return ``file:line:column``, or the option."""
        return f"{self.name}:{position.line}:{position.column}" if self.is_file else self.name


class Places(NamedTuple):
    """Where the key and the value at a path stand; a list's item is its own key."""

    origin: Origin
    key: Position
    value: Position


@dataclass(frozen=True)
class YamlData:
    """What YAML holds, as plain data.

    Args:
        data: The value at its top.
        positions: Where everything stands, by its path.
    """

    data: Any
    positions: Mapping[KeyPath, Places] = field(repr=False)


def parse_yaml(text: str, origin: Origin) -> YamlData:
    """Return what a text holds; an empty one holds None.

    Raises:
        CampaignError: It is no valid YAML; a key is given twice; a tag is not allowed; an alias
            contains itself or multiplies; it holds too much.
    """
    return _parsed(text, origin)[1]


def parse_mapping(text: str, origin: Origin) -> YamlData:
    """Return the mapping that a text holds.

    Raises:
        CampaignError: As for :func:`parse_yaml`, or it holds none.
    """
    root, found = _parsed(text, origin)
    if root is None or found.data is None:
        raise CampaignError("the file is empty", place=origin.name, hint=EXAMPLE_HINT)
    if isinstance(found.data, dict):
        return found
    if isinstance(root, yaml.ScalarNode) and (odd := _odd_line(origin, text, 0, root.end_mark)):
        raise odd
    raise CampaignError(
        f"received a {'list' if isinstance(found.data, list) else 'single value'} at the top "
        "level; expected a mapping, `key: value` on every line",
        place=origin.place(_at(root.start_mark)),
        hint=EXAMPLE_HINT,
    )


def _parsed(text: str, origin: Origin) -> tuple[yaml.Node | None, YamlData]:
    builder = _Builder(origin, text)
    try:
        root = yaml.compose(text, Loader=_Loader)
        data = builder.build(root) if root is not None else None
    except yaml.YAMLError as error:
        raise _bad_yaml(origin, text, error) from None
    except _TooManyError as error:
        raise CampaignError(
            f"the file holds more than {MAX_NODES:,} values",
            place=origin.place(error.at),
            hint=LARGE_HINT,
        ) from None
    except RecursionError:
        raise CampaignError("lists and mappings are nested too deeply", place=origin.name) from None
    return root, YamlData(data, builder.positions)


class _TooManyError(Exception):
    """A file holds more values than ``MAX_NODES``."""

    def __init__(self, at: Position) -> None:
        self.at = at
        super().__init__(at)


class _Loader(yaml.SafeLoader):
    """The safe loader's scanner and composer, with this module's idea of unquoted scalars."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012
    count = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Return the next node, unless there were too many: a large file is not read to its end."""
        self.count += 1
        if self.count > MAX_NODES:
            raise _TooManyError(_at(self.peek_event().start_mark))  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)


for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]{1,16}|0b[01_]{1,64})", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
        r"|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
    ("merge", "<<", ["<"]),
):
    _Loader.add_implicit_resolver(_TAG_PREFIX + _name, re.compile(rf"(?:{_pattern})\Z"), _first)

_SCALARS: dict[str, Callable[[str], object]] = {
    f"{_TAG_PREFIX}str": lambda text: text.encode().decode(),  # refuses half a surrogate pair
    f"{_TAG_PREFIX}null": lambda _: None,
    f"{_TAG_PREFIX}bool": lambda text: {"true": True, "false": False}[text.lower()],
    f"{_TAG_PREFIX}int": lambda text: int(text.replace("_", ""), base=0),
    f"{_TAG_PREFIX}float": lambda text: float(re.sub(r"_|\.(?=[inIN])", "", text)),
}


class _Builder:
    """Turns nodes into data and notes where each value stands."""

    def __init__(self, origin: Origin, text: str) -> None:
        self.origin = origin
        self._text = text
        self.positions: dict[KeyPath, Places] = {}
        self._open: set[int] = set()
        self._count = 0

    def build(self, node: yaml.Node, path: KeyPath = (), key: Position | None = None) -> object:
        """Return the data of ``node``, whose key stands at ``key``."""
        self.positions[path] = Places(
            self.origin, key or _at(node.start_mark), _at(node.start_mark)
        )
        with self._inside(node):
            if isinstance(node, yaml.ScalarNode):
                return self._scalar(node)
            if isinstance(node, yaml.SequenceNode):
                self._check_tag(node, [f"{_TAG_PREFIX}seq"])
                return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
            return {
                name: self.build(value, (*path, name), position)
                for name, (position, value) in self._pairs(node).items()
            }

    def _pairs(self, node: yaml.Node) -> dict[str, tuple[Position, yaml.Node]]:
        """Return a mapping's keys, their positions and values, with ``<<`` merged in."""
        self._check_tag(node, [f"{_TAG_PREFIX}map"])
        own: dict[str, tuple[Position, yaml.Node]] = {}
        merged: dict[str, tuple[Position, yaml.Node]] = {}
        for key, value in node.value:
            if key.tag == _MERGE_TAG:
                merged = {**self._merged(value), **merged}
                continue
            name = self._key(key)
            if name in own:
                first, second = own[name][0].line, _at(key.start_mark).line
                raise self._error(
                    f"the key {name!r} is given twice, on line {first} and on line {second}",
                    key,
                    "keep one of them",
                )
            own[name] = (_at(key.start_mark), value)
        return {**merged, **own}

    def _merged(self, node: yaml.Node) -> dict[str, tuple[Position, yaml.Node]]:
        """Return what ``<<: node`` contributes; of several mappings the first one wins."""
        merged: dict[str, tuple[Position, yaml.Node]] = {}
        for parent in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(parent, yaml.MappingNode):
                raise self._error("`<<` takes an alias (*name) of a mapping, or a list", parent)
            with self._inside(parent):
                merged = {**self._pairs(parent), **merged}
        return merged

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._error("received a list or mapping as a key; expected plain text", node)
        self._scalar(node)
        return str(node.value)

    def _scalar(self, node: yaml.ScalarNode) -> object:
        self._check_tag(node, _SCALARS)
        self._check_characters(node)
        if "\0" in node.value:
            raise self._error(
                f"received {node.value!r}: no name and no path can hold the character U+0000",
                node,
                "remove it",
            )
        try:
            return _SCALARS[node.tag](node.value)
        except (ValueError, LookupError):
            message = f"received {node.value!r}, which is no {node.tag.replace(_TAG_PREFIX, '!!')}"
            raise self._error(message, node, "correct the value, or remove the tag") from None

    def _check_tag(self, node: yaml.Node, allowed: Collection[str]) -> None:
        if node.tag not in allowed:
            raise self._error(
                f"the tag {node.tag.replace(_TAG_PREFIX, '!!')} is not allowed; a campaign holds "
                "text, numbers, lists and mappings, and runs no code",
                node,
                "remove the tag",
            )

    def _check_characters(self, node: yaml.ScalarNode) -> None:
        """Refuse an unquoted text that is not what it seems."""
        start, end = node.start_mark.index, node.end_mark.index
        if node.style is None and (odd := misleading(self._text[start:end])):
            raise _bad_character(
                self.origin, end_of(self._text[: start + odd.at]), odd,
                ", or put the whole text in quotes if it belongs to it",
            )  # fmt: skip

    @contextmanager
    def _inside(self, node: yaml.Node) -> Iterator[None]:
        """Refuse aliases that contain themselves or multiply beyond reason."""
        self._count += 1
        if self._count > MAX_NODES:
            raise self._error(
                f"the file holds more than {MAX_NODES:,} values once its aliases are written out",
                node,
                "use fewer aliases (*name) inside one another",
            )
        if id(node) in self._open:
            raise self._error(
                "an alias (*name) stands inside the value that it repeats, which never ends",
                node,
                "remove the alias",
            )
        self._open.add(id(node))
        yield
        self._open.remove(id(node))

    def _error(self, message: str, node: yaml.Node, hint: str | None = None) -> CampaignError:
        return CampaignError(message, place=self.origin.place(_at(node.start_mark)), hint=hint)


def _at(mark: yaml.Mark) -> Position:
    return Position(mark.line + 1, mark.column + 1)


def end_of(text: str) -> Position:
    """Return the position right after ``text``."""
    lines = text.split("\n")
    return Position(len(lines), len(lines[-1]) + 1)


_PROBLEMS = (
    (r"character '\\t'", "received a tab; expected spaces"),
    (r"mapping values are not allowed", "a ':' cannot stand here: the line is indented too deeply, "
     "or the text before it needs quotes"),
    (r"could not find expected ':'", "expected a ':' after the key"),
    (r"expected ',' or '\]'", "a list that is opened with '[' is not closed with ']'"),
    (r"expected ',' or '}'", "a mapping that is opened with '{' is not closed with '}'"),
    (r"while scanning a quoted scalar", "a quoted text is not closed"),
    (r"expected <block end>", "the indentation fits none of the lines above"),
    (r"cannot start any token", "text that starts with this character needs quotes"),
    (r"alias", "text that starts with '*' needs quotes; without them it is an alias, *name, of an "
     "anchor, &name, further up"),
    (r"another document", "received a second document; expected one, without a '---' line inside"),
)  # fmt: skip
"""What PyYAML reports, as patterns, and what it means to someone who writes a campaign."""


def _bad_yaml(origin: Origin, text: str, error: yaml.YAMLError) -> CampaignError:
    if isinstance(error, yaml.reader.ReaderError):
        message = f"received the control character U+{ord(text[error.position]):04X}; expected text"
        place = origin.place(end_of(text[: error.position]))
    elif isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        reported = f"{error.context or ''} {error.problem or ''}".strip()
        begin = (error.context_mark or error.problem_mark).line
        quotes = "a quoted scalar" in reported
        if odd := _odd_line(origin, text, begin, error.problem_mark, quotes=quotes):
            return odd
        known = (plain for pattern, plain in _PROBLEMS if re.search(pattern, reported))
        message = next(known, f"this is no valid YAML: {reported}")
        place = origin.place(_at(error.problem_mark))
        if error.context_mark and error.context_mark.line != error.problem_mark.line:
            message += f" (see line {error.context_mark.line + 1})"
    else:
        message, place = f"this is no valid YAML: {error}", origin.name
    return CampaignError(message, place=place, hint=origin.hint)


def _odd_line(
    origin: Origin, text: str, begin: int, end: yaml.Mark, *, quotes: bool = False
) -> CampaignError | None:
    """Return the error of a character by which YAML may have gone wrong, the nearest to its end.

    Args:
        origin: What it was read from.
        text: What it holds.
        begin: The line, from 0, where what went wrong begins; the line with text before it may
            belong to it, too.
        end: Where it was noticed.
        quotes: Whether only quotes can be the reason.
    """
    lines = text.split("\n")
    before = [number for number in range(begin) if lines[number].partition("#")[0].strip()]
    first = before[-1] if before else 0
    for number in range(text[: end.index].count("\n"), first - 1, -1):
        if odd := misplaced(lines[number], quotes=quotes):
            return _bad_character(origin, Position(number + 1, odd.at + 1), odd)
    return None


def _bad_character(origin: Origin, at: Position, odd: Odd, otherwise: str = "") -> CampaignError:
    message = f"received a character that is not what it looks like, {odd.name}: {odd.remedy}"
    return CampaignError(f"{message}{otherwise}", place=origin.place(at), hint=origin.hint)
