"""What every protection says of itself; the engine knows no more of it."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from injecttf2.config.parameters import not_default
from injecttf2.faults.fault_model import Fault

MOST_NAMED = 6
"""Layers that a label names one by one; of more it has a digest, so that others differ."""


@dataclass(frozen=True, eq=False)
class WordSites:
    """Sites in one tensor a sample, or one weight, ascending by owner, then element, then bit.

    Args:
        layers: Addresses of the layers that it is of: the one that gives it out, or all that
            compute with the weight.
        target: ``outputs`` or ``weights``.
        dtype: Of the words that are hit.
        owner: int64 [sites], equal where sites are in the same: a sample of a trial, or the weight.
        element: int64 [sites], into the flattened tensor, row-major.
        bit: int64 [sites], counted from the least significant; -1 where the fault has none.
    """

    layers: tuple[str, ...]
    target: str
    dtype: str
    owner: npt.NDArray[np.int64]
    element: npt.NDArray[np.int64]
    bit: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.owner)


class Fates(NamedTuple):
    """What a protection makes of sites.

    Args:
        corrected: bool [sites], whether the site has no effect.
        detected: bool [sites], whether the system knows that something is wrong there and stops.
    """

    corrected: npt.NDArray[np.bool_]
    detected: npt.NDArray[np.bool_]


class Protection(ABC):
    """A protection against faults.

    It is equal to another of the same name and parameters.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The type, as in YAML."""

    def parameters(self) -> dict[str, Any]:
        """Return its parameters, as JSON holds them: part of the ids of its trials."""
        return not_default(self)

    def covers(self, target: str, layers: Iterable[str]) -> bool:
        """Return whether it may do something about faults in what is of some layers; see ``fates``.

        Args:
            target: ``outputs`` or ``weights``.
            layers: As in ``WordSites``.
        """
        del target, layers
        return True

    def check(self, fault: Fault) -> None:
        """See that it can be told what becomes of a fault.

        Raises:
            ValueError: It cannot; the message says why.
        """
        del fault

    def fates(self, sites: WordSites) -> Fates | None:
        """Return what becomes of sites; None where it does nothing about any."""
        del sites
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return ``type`` and parameters, as JSON holds them."""
        return {"type": self.name, **self.parameters()}

    @cached_property
    def label(self) -> str:
        """What results call it: ``tmr layers=conv1,logits``, of many the first and the last."""
        words = (f"{name}={_word(value)}" for name, value in self.parameters().items())
        return " ".join([self.name, *words])

    @cached_property
    def _key(self) -> str:
        return json.dumps(self.to_dict(), sort_keys=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Protection) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def _word(value: object) -> str:
    if not isinstance(value, list):
        return str(value)
    text = ",".join(map(str, value))
    if len(value) <= MOST_NAMED:
        return text
    digest = hashlib.blake2b(text.encode(), digest_size=3).hexdigest()
    return f"{value[0]},...,{value[-1]} ({len(value)}: {digest})"
