"""What every fault model says of itself; the engine knows no more of it.

A fault model tells what a site is within an element, and turns drawn sites into changes of words.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from injecttf2 import bits
from injecttf2.config.parameters import not_default
from injecttf2.faults.masks import WordMasks
from injecttf2.sampling.sites import Choice


@dataclass(frozen=True, eq=False)
class FaultedElements:
    """Sites of one fault in elements of one dtype.

    Args:
        dtype: Name of the dtype.
        bit: int64 [sites], as drawn; -1 where the fault has none.
        draws: float64 [sites, draws] in [0, 1), as drawn.
        values: [sites] of ``dtype``, the values that are hit; read only by faults that say so
            with ``needs_values``.
    """

    dtype: str
    bit: npt.NDArray[np.int64]
    draws: npt.NDArray[np.float64]
    values: npt.NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.bit)


class Fault(ABC):
    """A fault model.

    Faults are equal where their results are: same name, bits and written parameters.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The name in YAML and in the results."""

    @property
    def bit(self) -> int | None:
        """The bit that every site falls on, or None."""
        return None

    @property
    def bit_field(self) -> str | None:
        """The name in ``bits.FIELDS`` of the bits that a site may fall on, or None."""
        return None

    @property
    def one_bit(self) -> bool:
        """Whether a site is one bit of a word, rather than a whole word."""
        return False

    @property
    def draws(self) -> int:
        """How many uniform numbers a site needs beside its place."""
        return 0

    @property
    def needs_values(self) -> bool:
        """Whether the changes depend on the values that are hit."""
        return False

    def candidates(self, dtype: str) -> range | None:
        """Return the bits of a word of ``dtype`` that a site may fall on, ascending.

        None where a site has no bit.

        Raises:
            ValueError: The word has no such bits.
        """
        bits.layout(dtype)
        return None

    def field(self, dtype: str) -> str | None:
        """Return the field of ``bits.FIELDS`` that every site lies in, None where it has no bit."""
        bits.layout(dtype)
        return None

    def check(self, dtype: str) -> None:
        """See that the fault can happen to words of ``dtype``; for the time of planning.

        Raises:
            ValueError: It cannot.
        """
        self.candidates(dtype)

    def choice(self, dtype: str) -> Choice:
        """Return what is drawn for a site within an element of ``dtype``."""
        return Choice(self.candidates(dtype), self.one_bit, self.draws)

    @abstractmethod
    def changes(self, hits: FaultedElements) -> WordMasks:
        """Return what happens at some sites, one change each."""

    def parameters(self) -> dict[str, Any]:
        """Return all parameters beside ``bit`` and ``bit_field``, as JSON holds them.

        Those that have their default are left out.
        """
        told = not_default(self)
        return {name: one for name, one in told.items() if name not in ("bit", "bit_field")}

    def description(self) -> dict[str, Any]:
        """Return the keys ``fault``, ``bit``, ``bit_field`` and ``parameters``, as JSON holds them.

        ``registry.build`` takes them; a bit that is not given has no key.
        """
        places = {"bit": self.bit, "bit_field": self.bit_field}
        given = {name: value for name, value in places.items() if value is not None}
        return {"fault": self.name, **given, "parameters": self.parameters()}

    def _key(self) -> str:
        return json.dumps(self.description(), sort_keys=True)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Fault) and self._key() == other._key())

    def __hash__(self) -> int:
        return hash((self.name, self.bit, self.bit_field))  # the whole key takes long to make
