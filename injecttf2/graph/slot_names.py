"""What a model's own ``predict`` calls its inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from injecttf2.config.spelling import nearest
from injecttf2.datasets.slots import Slot, in_words
from injecttf2.errors import ModelError


def keys_of(structure: Any) -> tuple[list[str | None], bool]:
    """Return the keys of a model's inputs or outputs, and whether a tuple of them has an order.

    Args:
        structure: What the model was made from: tensors, alone or in dicts, lists and tuples. Keras
            sorts the keys of dicts.

    Returns:
        For each tensor in Keras' order its key, None where the model knows an order alone; and
        whether that order is the one in which the tensors were written.
    """
    flat = keras.tree.flatten_with_path(structure)
    by_key = isinstance(structure, dict) or any(len(path) > 1 for path, _ in flat)
    keys = ["/".join(map(str, path)) if by_key else None for path, _ in flat]
    return keys, [id(one) for one in _as_written(structure)] == [id(one) for _, one in flat]


def _as_written(structure: Any) -> Iterator[Any]:
    inner = structure.values() if isinstance(structure, dict) else structure
    if not isinstance(structure, dict | list | tuple):
        yield structure
        return
    for one in inner:
        yield from _as_written(one)


def slots_of(structure: Any, names: Sequence[str]) -> tuple[Slot, ...]:
    """Return what a model's outputs are called.

    Args:
        structure: What the model was made from.
        names: Their addresses.
    """
    keys, ordered = keys_of(structure)
    return tuple(
        Slot(name, key=key, ordered=ordered) for name, key in zip(names, keys, strict=True)
    )


def chosen(name: str, slots: Sequence[Slot], model: str) -> int:
    """Return which of a model's outputs a name means: a key, or an address that is no other's key.

    Args:
        name: What the campaign says.
        slots: The outputs.
        model: Name of the model, for the message.

    Raises:
        ModelError: There is no such output.
    """
    keys, names = [slot.key for slot in slots], [slot.name for slot in slots]
    if name in keys:
        return keys.index(name)
    if name in names:
        return names.index(name)
    known = [one for one in (*keys, *names) if one is not None]
    raise ModelError(
        f"the model {model!r} has no output {name!r}{nearest(name, known)}",
        hint=f"expected one of {in_words(slots)}",
    )
