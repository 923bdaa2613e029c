"""What goes wrong in a simulated crowd."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Trouble:
    """What goes wrong.

    Args:
        poison: Trials that raise.
        killers: Trials that end their worker.
        hangs: Trials that are never done.
        accidents: Workers that are lost by bad luck.
        blameless: Workers that are lost with their machine.
        delays: Whether any time may pass at any moment, so that the innocent are late too.
    """

    poison: frozenset[int] = frozenset()
    killers: frozenset[int] = frozenset()
    hangs: frozenset[int] = frozenset()
    accidents: int = 0
    blameless: int = 0
    delays: bool = False

    @property
    def bad(self) -> frozenset[int]:
        return self.poison | self.killers | self.hangs
