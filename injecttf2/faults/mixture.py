"""A mixture of fault models: every site draws which of them it gets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from injecttf2.config.parameters import number, shown
from injecttf2.faults import masks
from injecttf2.faults.fault_model import Fault, FaultedElements
from injecttf2.faults.masks import WordMasks


@dataclass(frozen=True, eq=False)
class Mixture(Fault):
    """One of several faults, drawn by weight for every site.

    Where all are faults of one bit with the same ``bit`` or ``bit_field``, a site is that bit, and
    the mixture takes every rate. Otherwise a site is a whole word without a bit of its own, and
    the fault that it gets draws its bit within it.

    Of a site's numbers the first draws the fault: the first one whose weight, added to those
    before it, exceeds number * (sum of all). If sites are words, the second number draws the bit.
    The fault itself gets those that follow.

    Args:
        faults: Pairs of a weight, above 0, and a fault.
    """

    name: ClassVar[str] = "mixture"

    faults: tuple[tuple[float, Fault], ...]

    def __post_init__(self) -> None:
        if not self.faults:
            raise ValueError("a mixture takes at least one fault; received none")
        faults = []
        for weight, fault in self.faults:
            read = number("the weight of a fault", weight)
            if read <= 0:
                raise ValueError(f"the weight of a fault is above 0; received {shown(weight)}")
            if not isinstance(fault, Fault):
                raise ValueError(f"a mixture is of faults; received {fault!r}")  # noqa: TRY004
            faults.append((read, fault))
        object.__setattr__(self, "faults", tuple(faults))

    @property
    def bit(self) -> int | None:
        """The bit that every site falls on, or None."""
        return self._first.bit if self.one_bit else None

    @property
    def bit_field(self) -> str | None:
        """The field that a site's bit is drawn from, where all faults share it."""
        return self._first.bit_field if self.one_bit else None

    @property
    def one_bit(self) -> bool:
        """Whether a site is one bit of a word, rather than a whole word."""
        places = {(fault.bit, fault.bit_field) for _, fault in self.faults}
        return len(places) == 1 and all(fault.one_bit for _, fault in self.faults)

    @property
    def draws(self) -> int:
        """How many uniform numbers a site needs beside its place."""
        return self._own_draws + max(fault.draws for _, fault in self.faults)

    @property
    def needs_values(self) -> bool:
        """Whether the changes depend on the values that are hit."""
        return any(fault.needs_values for _, fault in self.faults)

    def candidates(self, dtype: str) -> range | None:
        """Return the bits that a site may fall on; None where a site is a whole word.

        Raises:
            ValueError: The word has no such bits.
        """
        return self._first.candidates(dtype) if self.one_bit else None

    def field(self, dtype: str) -> str | None:
        """Return the field that every site lies in; None where a site is a whole word."""
        return self._first.field(dtype) if self.one_bit else None

    def check(self, dtype: str) -> None:
        """See that each of the faults can happen to words of ``dtype``.

        Raises:
            ValueError: One of them cannot.
        """
        for _, fault in self.faults:
            fault.check(dtype)

    def changes(self, hits: FaultedElements) -> WordMasks:
        """Return what happens at some sites."""
        result = masks.nothing(len(hits), hits.dtype)
        for fault, chosen in self._chosen(hits.draws[:, 0]):
            change = fault.changes(self._hits_of(fault, hits, chosen))
            result.keep[chosen], result.flip[chosen] = change.keep, change.flip
        return result

    def parameters(self) -> dict[str, Any]:
        """Return the faults with their weights and all their parameters, as JSON holds them."""
        return {
            "faults": [{"weight": weight, **fault.description()} for weight, fault in self.faults]
        }

    @property
    def _first(self) -> Fault:
        return self.faults[0][1]

    @property
    def _own_draws(self) -> int:
        return 1 if self.one_bit else 2

    def _chosen(
        self, numbers: npt.NDArray[np.float64]
    ) -> Iterator[tuple[Fault, npt.NDArray[np.int64]]]:
        """Yield each fault that is drawn, with the sites that it gets, ascending."""
        ends = np.cumsum([weight for weight, _ in self.faults])
        number = np.searchsorted(ends, numbers * ends[-1], side="right")
        number = np.minimum(number, len(self.faults) - 1)  # the product may be rounded up
        for index, (_, fault) in enumerate(self.faults):
            chosen = np.flatnonzero(number == index)
            if len(chosen):
                yield fault, chosen

    def _hits_of(
        self, fault: Fault, hits: FaultedElements, chosen: npt.NDArray[np.int64]
    ) -> FaultedElements:
        """Return the sites ``chosen`` as one of the faults gets them."""
        bit = hits.bit[chosen]
        candidates = fault.candidates(hits.dtype)
        if candidates is not None and not self.one_bit:
            place = (hits.draws[chosen, 1] * len(candidates)).astype(np.int64)
            bit = candidates.start + place * candidates.step
        start = self._own_draws
        draws = np.ascontiguousarray(hits.draws[chosen, start : start + fault.draws])
        values = None if hits.values is None else hits.values[chosen]
        return FaultedElements(hits.dtype, bit, draws, values)
