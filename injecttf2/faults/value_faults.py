"""Fault models of values: the whole element becomes another value.

Values are computed as float64 and written in the layer's dtype. A floating-point value is never
clamped: what is too large becomes Inf, as it would in a computation of that dtype. An integer type
has no Inf and no fractions: numbers are rounded to the nearest, half to even, and what is too large
becomes the largest (or smallest) value of the type.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from injecttf2 import bits
from injecttf2.config.parameters import number, shown
from injecttf2.faults import masks
from injecttf2.faults.fault_model import Fault, FaultedElements
from injecttf2.faults.masks import WordMasks
from injecttf2.sampling.random_numbers import SMALLEST


def cast(numbers: npt.NDArray[np.float64], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return float64 numbers, not NaN for an integer ``dtype``, as values of ``dtype``."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        if dtype.name not in bits.INTEGER_LAYOUTS:
            return numbers.astype(dtype)
        info = np.iinfo(dtype)
        rounded = np.rint(numbers)
        values: npt.NDArray[Any] = rounded.astype(dtype)
    values[rounded <= float(info.min)] = info.min
    values[rounded >= float(info.max)] = info.max
    return values


class ValueFault(Fault):
    """A fault whose sites are whole words without a bit."""

    @abstractmethod
    def corrupt(self, values: npt.NDArray[Any], draws: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        """Return what becomes of some values.

        Args:
            values: [sites] in the layer's dtype; zeros where ``needs_values`` is false.
            draws: float64 [sites, draws], uniform in [0, 1).

        Returns:
            [sites] in the same dtype.
        """

    def changes(self, hits: FaultedElements) -> WordMasks:
        """Return what happens at some sites: new values, whatever was there."""
        values = hits.values if self.needs_values else None
        if values is None:
            values = np.zeros(len(hits), bits.numpy_dtype(hits.dtype))
        return masks.replace(self.corrupt(values, hits.draws))


@dataclass(frozen=True, eq=False)
class Zero(ValueFault):
    """The element becomes 0, every bit of its word 0."""

    name: ClassVar[str] = "zero"

    def corrupt(self, values: npt.NDArray[Any], draws: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        """Return zeros."""
        del draws
        return np.zeros_like(values)


@dataclass(frozen=True, eq=False)
class Constant(ValueFault):
    """The element becomes a given value.

    Args:
        value: Any number, in a floating-point type also NaN and Inf (the texts ``nan``, ``inf``
            and ``-inf`` are read as well); rounded to the layer's dtype if that is
            floating-point. NaN is the quiet one without sign and payload.
    """

    name: ClassVar[str] = "constant"

    value: float

    def __post_init__(self) -> None:
        value = number("the value of a constant", self.value, finite=False)
        exact = isinstance(self.value, int | np.integer) and int(value) != self.value
        if math.isnan(value):
            value = math.nan
        object.__setattr__(self, "value", int(self.value) if exact else value)

    def check(self, dtype: str) -> None:
        """See that ``dtype`` can hold the value.

        Raises:
            ValueError: It cannot.
        """
        self._value(dtype)

    def corrupt(self, values: npt.NDArray[Any], draws: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        """Return the value as often as there are values."""
        del draws
        return np.full_like(values, self._value(values.dtype.name))

    def _value(self, dtype: str) -> Any:
        """Return the value as a scalar of ``dtype``."""
        _check_fits("the value of a constant", self.value, dtype, whole=True)
        return bits.numpy_dtype(dtype).type(
            self.value if dtype in bits.INTEGER_LAYOUTS else float(self.value)
        )


@dataclass(frozen=True, eq=False)
class RandomBits(ValueFault):
    """Every bit of the word becomes random.

    All words are equally likely, the old one as well, so once in 2^width nothing changes, and each
    single bit changes in half of all cases.
    """

    name: ClassVar[str] = "random_bits"

    @property
    def draws(self) -> int:
        """How many uniform numbers a site needs: one for 32 bits, the lower ones first."""
        return 2

    def corrupt(self, values: npt.NDArray[Any], draws: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        """Return values with random words."""
        word = bits.layout(values.dtype.name).word
        half = min(8 * word.itemsize, 32)
        words = (draws[:, 0] * 2.0**half).astype(word)
        if word.itemsize == 8:
            words |= (draws[:, 1] * 2.0**32).astype(word) << word.type(32)
        return bits.decode(words, values.dtype.name)


@dataclass(frozen=True, eq=False)
class RandomValue(ValueFault):
    """The element becomes a random value, whatever it was.

    Args:
        distribution: ``uniform`` with ``low`` and ``high``, or ``normal`` with ``mean`` and
            ``std``.
        low: The smallest value.
        high: Values stay below it; only rounding can reach it. In an integer type both are whole,
            and every number from ``low`` to ``high`` - 1 is equally likely.
        mean: Mean of the values.
        std: Their standard deviation, 0 or more. In an integer type, values are rounded.
    """

    name: ClassVar[str] = "random_value"

    distribution: str
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    std: float | None = None

    def __post_init__(self) -> None:
        takes = {"uniform": ("low", "high"), "normal": ("mean", "std")}
        if self.distribution not in takes:
            raise ValueError(
                f"distribution is {' or '.join(takes)}; received {shown(self.distribution)}"
            )
        given = {
            name: value
            for name in ("low", "high", "mean", "std")
            if (value := getattr(self, name)) is not None
        }
        if tuple(given) != takes[self.distribution]:
            raise ValueError(
                f"the distribution {self.distribution!r} takes "
                f"{' and '.join(takes[self.distribution])}; "
                f"received {' and '.join(given) or 'neither'}"
            )
        for name, value in given.items():
            object.__setattr__(self, name, number(name, value))
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low is below high; received low={self.low}, high={self.high}")
        if self.low is not None and self.high is not None and math.isinf(self.high - self.low):
            raise ValueError(
                f"high - low is a finite number; received low={self.low}, high={self.high}"
            )
        if self.std is not None and self.std < 0:
            raise ValueError(f"std is 0 or more; received {self.std}")

    @property
    def draws(self) -> int:
        """How many uniform numbers a site needs."""
        return 1

    def check(self, dtype: str) -> None:
        """See that ``dtype`` can hold the parameters.

        Raises:
            ValueError: It cannot.
        """
        if self.low is not None and self.high is not None:
            _check_fits("low", self.low, dtype, whole=True)
            # 256 is a good end of uint8, whose largest value is 255.
            last = self.high - 1 if dtype in bits.INTEGER_LAYOUTS else self.high
            _check_fits("high", last, dtype, whole=True)
        if self.mean is not None:
            _check_fits("mean", self.mean, dtype)

    def corrupt(self, values: npt.NDArray[Any], draws: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        """Return random values."""
        chance = draws[:, 0]
        if self.low is not None and self.high is not None:
            numbers = np.minimum(self.low + (self.high - self.low) * chance, self.high)
            if values.dtype.name in bits.INTEGER_LAYOUTS:
                numbers = np.minimum(np.floor(numbers), self.high - 1)
        else:
            from scipy.special import ndtri  # takes long to load

            with np.errstate(over="ignore"):
                numbers = self.mean + self.std * ndtri(np.maximum(chance, SMALLEST))
        return cast(numbers, values.dtype)


@dataclass(frozen=True, eq=False)
class Scale(ValueFault):
    """The element is multiplied.

    The product is computed in float64, so an integer beyond 2^53 is rounded on the way. In an
    integer type the product is rounded, half to even, and ends at the limits of the type.

    Args:
        factor: Any finite number.
    """

    name: ClassVar[str] = "scale"

    factor: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", number("the factor of a scale", self.factor))

    @property
    def needs_values(self) -> bool:
        """Whether the changes depend on the values that are hit."""
        return True

    def corrupt(self, values: npt.NDArray[Any], draws: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        """Return the products."""
        del draws
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            products = values.astype(np.float64) * self.factor
        return cast(products, values.dtype)


def _check_fits(name: str, value: float, dtype: str, *, whole: bool = False) -> None:
    """See that ``dtype`` can hold a value, in an integer type exactly where ``whole`` says so."""
    numpy_dtype = bits.numpy_dtype(dtype)
    bits.layout(dtype)
    if dtype in bits.INTEGER_LAYOUTS:
        info = np.iinfo(numpy_dtype)
        fits = info.min <= value <= info.max and (not whole or value == int(value))
        expected = f"{'a whole number ' if whole else ''}from {info.min} to {info.max}"
    else:
        with np.errstate(over="ignore"):
            fits = not math.isfinite(value) or bool(np.isfinite(numpy_dtype.type(value)))
        expected = f"a number that {dtype} can hold, or inf"
    if not fits:
        raise ValueError(f"{name} does not fit {dtype}, expected {expected}; received {value}")
