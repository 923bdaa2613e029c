"""Sites that are listed instead of drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from injecttf2.faults.value_faults import ValueFault, cast
from injecttf2.sampling.rates import Rate
from injecttf2.sampling.sites import Sites, WeightSites


@dataclass(frozen=True)
class FromFaultList(Rate):
    """The rate of a trial whose sites are given.

    Args:
        value: Digest of the sites, hexadecimal; trials with equal ones are equal.
        outputs: The sites in each layer that is hit; empty for weights.
        weights: The sites in weights, whose ``variable`` counts within the cell's variables; None
            for outputs.
        label: What the list calls the trial; trials that differ in it alone are equal.
    """

    name: ClassVar[str] = "sites"
    sampling: ClassVar[str] = "listed"

    value: str
    outputs: tuple[Sites, ...] = field(default=(), compare=False)
    weights: WeightSites | None = field(default=None, compare=False)
    label: str | None = field(default=None, compare=False)

    @property
    def sites(self) -> int:
        """How many sites there are."""
        return sum(map(len, self.outputs)) + (0 if self.weights is None else len(self.weights))

    @property
    def samples(self) -> int:
        """How many samples are hit in outputs."""
        return len({sample for one in self.outputs for sample in one.sample.tolist()})

    def share_hit(self, samples: int, sites: int) -> float:  # noqa: ARG002
        """Return the share of samples that are in the list."""
        return self.samples / samples

    def expected_sites(self, samples: int, sites: int) -> float:  # noqa: ARG002
        """Return how many sites are in the list."""
        return self.sites


@dataclass(frozen=True, eq=False)
class SetValue(ValueFault):
    """The element becomes the value that the list of sites gives for it.

    The value comes in place of a uniform number.
    """

    name: ClassVar[str] = "set_value"

    @property
    def draws(self) -> int:
        """One number a site: the value."""
        return 1

    def corrupt(self, values: npt.NDArray[Any], draws: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        """Return the values of the list in the layer's dtype."""
        return cast(draws[:, 0], values.dtype)
