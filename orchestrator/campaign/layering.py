"""A campaign file on top of another (``extends``), and what the command line changes of it.

Both work on the data before they are checked, so that all are checked together, and every value
still tells where it stood.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from injecttf2.config.parameters import shown
from injecttf2.config.paths import on_disk
from injecttf2.config.problems import KeyPath
from injecttf2.config.yaml_file import YamlSource, read_yaml
from injecttf2.config.yaml_text import Origin, Places, Position, YamlData, parse_yaml
from injecttf2.errors import CampaignError, placed

EXTENDS = "extends"

OWN = ("name", EXTENDS)
"""Keys that a file does not take over: a campaign of its own has a run directory of its own."""

SHORT_FORMS = {"model": "source", "dataset": "source", "judge": "type", "sites": "file"}
"""Keys that may have a text in place of a mapping, and the key that it stands for there."""

OPTION = "-o"

OVERRIDE = re.compile(r"(?P<path>[\w-]+(?:\[\d+\]|\.[\w-]+)*)=(?P<value>.*)", re.DOTALL)

PART = re.compile(r"\[(\d+)\]|([\w-]+)")

BEGIN = Position(1, 1)


@dataclass(frozen=True)
class _Layer:
    """Data, and where each value stands; both may be changed."""

    data: dict[str, Any]
    positions: dict[KeyPath, Places]

    @classmethod
    def of(cls, source: YamlSource) -> _Layer:
        """Return the layer of a file."""
        return cls(dict(source.data), dict(source.positions))

    def forget(self, path: KeyPath) -> None:
        """Forget where the value at a path stands, and all in it."""
        for one in [one for one in self.positions if one[: len(path)] == path]:
            del self.positions[one]

    def written_out(self, path: KeyPath, value: Any) -> Any:
        """Return the mapping that a short form at a path stands for; what is none as it is."""
        long = SHORT_FORMS.get(str(path[-1])) if path else None
        if long is None or not isinstance(value, str):
            return value
        self.positions[*path, long] = self.positions[path]
        return {long: value}


def read_layers(file: Path, overrides: Sequence[str] = ()) -> YamlSource:
    """Read a campaign file with what it extends and what is changed on top of it.

    Args:
        file: The file.
        overrides: ``PATH=VALUE`` each, such as ``grid.bits=[30]``; the value is YAML, and nothing,
            or ``null``, takes the key away. Later ones count.

    Raises:
        CampaignError: A file cannot be read, files extend one another, or a path leads nowhere.
    """
    source = _extended(read_yaml(file), ())
    layer = _Layer.of(source)
    for text in overrides:
        _override(layer, text)
    return replace(source, data=layer.data, positions=layer.positions)


def _extended(source: YamlSource, above: tuple[Path, ...]) -> YamlSource:
    """Return a file on top of the one that it extends, if it does."""
    if EXTENDS not in source.data:
        return source
    given, place = source.data[EXTENDS], source.place((EXTENDS,))
    if not isinstance(given, str) or not given:
        raise CampaignError(
            f"{EXTENDS}: received {shown(given)}, expected the name of a campaign file", place=place
        )
    above = (*above, source.file)
    file = on_disk(source.file.parent / given)
    if file.resolve() in [one.resolve() for one in above]:
        raise CampaignError(
            f"the files extend one another: {' -> '.join(map(str, (*above, file)))}",
            place=place,
            hint="remove `extends` from one of them",
        )
    if not file.is_file():
        with placed(place):
            read_yaml(file)
    below = _extended(read_yaml(file), above)
    base, own = _Layer.of(below), _Layer.of(source)
    for key in OWN:
        base.data.pop(key, None)
        base.forget((key,))
    del own.data[EXTENDS]
    return replace(
        source,
        data=_merged(base, own, (), base.data, own.data),
        positions={**base.positions, **own.positions},
        files=(source.file, *below.files),
    )


def _merged(base: _Layer, above: _Layer, path: KeyPath, one: Any, other: Any) -> Any:
    """Return a value on top of another: mappings key by key, all else as a whole."""
    if isinstance(other, dict):
        one = base.written_out(path, one)
    if not isinstance(one, dict) or not isinstance(other, dict):
        base.forget(path)
        return other
    found = dict(one)
    for key, value in other.items():
        if value is None:
            found.pop(key, None)
            base.forget((*path, key))
            above.forget((*path, key))
        else:
            known = key in found
            found[key] = _merged(base, above, (*path, key), found[key], value) if known else value
    return found


def _override(layer: _Layer, text: str) -> None:
    """Change the value at a path.

    Raises:
        CampaignError: It is no path and value, or leads through something that has no keys.
    """
    given = OVERRIDE.fullmatch(text)
    if given is None:
        raise CampaignError(
            f"received {text!r}, expected PATH=VALUE, such as repetitions=50 or grid.bits=[30]",
            place=OPTION,
        )
    origin = Origin(f"{OPTION} {given['path']}", Path.cwd(), is_file=False)
    value = parse_yaml(given["value"], origin)
    parts = [int(index) if index else key for index, key in PART.findall(given["path"])]
    _set(layer, layer.data, (), parts, value, origin)


def _set(
    layer: _Layer,
    held: Any,
    path: KeyPath,
    parts: Sequence[str | int],
    value: YamlData,
    origin: Origin,
) -> Any:
    """Return what stands at a path, with a value in it; mappings that there are not are made.

    Args:
        layer: The layer that it is in.
        held: What stands there; None for nothing.
        path: The path.
        parts: The path of the value from there; an index of what is no list is passed over.
        value: The value.
        origin: The option that gives it.
    """
    if not parts:
        layer.forget(path)
        layer.positions[path] = Places(origin, BEGIN, BEGIN)
        layer.positions.update({(*path, *inner): at for inner, at in value.positions.items()})
        return value.data
    part, rest = parts[0], parts[1:]
    if isinstance(held, list):
        if not isinstance(part, int) or part >= len(held):
            told = "one entry, [0]" if len(held) == 1 else f"{len(held)} entries, from [0]"
            raise CampaignError(
                f"{_dotted(path)} is a list of {told}: received "
                f"{f'[{part}]' if isinstance(part, int) else f'the key {part!r}'}",
                place=origin.name,
            )
        held[part] = _set(layer, held[part], (*path, part), rest, value, origin)
        return held
    if isinstance(part, int):
        return _set(layer, held, path, rest, value, origin)
    held = layer.written_out(path, held)
    if held is None:
        held = {}
        layer.positions[path] = Places(origin, BEGIN, BEGIN)
    if not isinstance(held, dict):
        raise CampaignError(
            f"{_dotted(path)} is {shown(held)}, which has no key {part!r}", place=origin.name
        )
    if not rest and value.data is None:
        held.pop(part, None)
        layer.forget((*path, part))
    else:
        held[part] = _set(layer, held.get(part), (*path, part), rest, value, origin)
    return held


def _dotted(path: KeyPath) -> str:
    """Return a path as the option takes it."""
    return "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in path)[1:]
