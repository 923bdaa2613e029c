"""What data call the inputs and outputs of a model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Slot:
    """An input of a model, or an output that may have labels.

    Args:
        name: Its address, the name of its layer.
        key: What the model's ``predict`` calls it where that takes or gives dicts; inside others
            the path, such as ``images/left``. None where there is an order alone.
        ordered: Whether a tuple tells which is which: not where a dict's keys were written in
            another order than the one that Keras sorts them to.
    """

    name: str
    key: str | None = field(default=None, kw_only=True)
    ordered: bool = field(default=True, kw_only=True)

    @property
    def called(self) -> str:
        """What a user calls it."""
        return self.name if self.key is None else self.key


def name_in(names: Collection[str], slot: Slot, slots: Sequence[Slot]) -> str | None:
    """Return under which of some names data have a slot; None if under none.

    Keys come first, as in ``predict``; the name of a layer is no name of its slot where it is the
    key of another one.

    Args:
        names: What the data have.
        slot: The input or output.
        slots: All of the model's.
    """
    if slot.key in names:
        return slot.key
    keys = {other.key for other in slots}
    return slot.name if slot.name in names and slot.name not in keys else None


def in_words(slots: Sequence[Slot]) -> str:
    """Return what the slots are called, for a message."""
    return ", ".join(slot.called for slot in slots)
