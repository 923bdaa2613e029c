"""Fault models that users write: a frozen dataclass with one method.

    @fault("drift")
    @dataclass(frozen=True)
    class Drift:
        draws: ClassVar[int] = 1
        width: float

        def corrupt(self, values, draws):
            return (values + self.width * (draws[:, 0] - 0.5)).astype(values.dtype)

``values`` is [sites] in the layer's dtype, ``draws`` float64 [sites, draws], uniform in [0, 1).
``corrupt`` returns the new values, same shape and dtype. It must be pure and work on each site by
itself, because sites of any number of trials are corrupted together. A fault has no bit, so its
sites are whole words.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from injecttf2 import bits
from injecttf2.config.parameters import plain, shown
from injecttf2.errors import FaultError
from injecttf2.faults.fault_model import FaultedElements
from injecttf2.faults.value_faults import ValueFault, cast
from injecttf2.user_code.files import Code
from injecttf2.user_code.importing import Parcel, code_of_loaded

CODE = "@code"
"""Key of the digest of the class's code among the parameters; no parameter can have this name."""

CHECKED_SITES = 64
"""Values on which a fault is tried at the time of planning."""


@dataclass(frozen=True, eq=False)
class UserFault(ValueFault):
    """A user's fault model, with all that the engine asks of one. Made by :func:`wrapped`.

    Args:
        model: An instance of the user's class.
        label: Its name in YAML and in the results.
        code: Digest of the code of the class.
        parcel: The instance as it travels to other processes, with its code.
    """

    model: Any
    label: str
    code: str
    parcel: Parcel

    @property
    def name(self) -> str:
        """The name in YAML and in the results."""
        return self.label

    @property
    def draws(self) -> int:
        """How many uniform numbers a site needs."""
        return int(getattr(type(self.model), "draws", 0))

    @property
    def needs_values(self) -> bool:
        """Whether the changes depend on the values that are hit."""
        return True

    def corrupt(self, values: npt.NDArray[Any], draws: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        """Return what the user's class makes of some values.

        Raises:
            FaultError: It raises, or returns something else than as many values of this dtype.
        """
        if not len(values):
            return values
        # Functions of NumPy may round differently where arrays lie differently in memory.
        values, draws = np.ascontiguousarray(values), np.ascontiguousarray(draws)
        given = f"{values.dtype.name} [{len(values)}]"
        try:
            with np.errstate(all="ignore"):
                result = self.model.corrupt(values, draws)
        except Exception as error:
            raise self._error(
                f"raised {type(error).__name__} for values {given}: {error}"
            ) from error
        if not isinstance(result, np.ndarray):
            raise self._error(f"returned {type(result).__name__} for values {given}")
        if (result.dtype, result.shape) != (values.dtype, values.shape):
            shape = ", ".join(map(str, result.shape))
            raise self._error(f"returned {result.dtype.name} [{shape}] for values {given}")
        return result

    def changes(self, hits: FaultedElements) -> Any:
        """Return what happens at some sites: new values, whatever was there."""
        values = None if hits.values is None else hits.values.copy()
        return super().changes(dataclasses.replace(hits, values=values))

    def check(self, dtype: str) -> None:
        """Try the fault on a few values of ``dtype``.

        Raises:
            FaultError: It raises, changes dtype or shape, writes into its arguments, or its results
                depend on anything but the value and the draws of a site.
        """
        values, draws = _examples(dtype, self.draws)
        first = self.corrupt(values, draws)
        self._check_untouched(values, draws, dtype)
        words = bits.encode(np.ascontiguousarray(first)).copy()
        order = np.arange(CHECKED_SITES)[::-1]
        tries: dict[str, Any] = {
            "when it is called again with the same values": slice(None),
            "when the same sites come in another order": order,
            "when only some of the sites come": slice(10, 20),
            "when a site comes alone": slice(5, 6),
        }
        for when, chosen in tries.items():
            again = self.corrupt(values[chosen].copy(), draws[chosen].copy())
            if not np.array_equal(bits.encode(np.ascontiguousarray(again)), words[chosen]):
                raise self._error(
                    f"has other results {when} ({dtype})",
                    hint="each site's result depends on its value and its row of draws alone: no "
                    "random numbers of its own, no sums or sizes over the sites, no memory",
                )

    def parameters(self) -> dict[str, Any]:
        """Return all fields of the user's class, and the digest of its code."""
        return {**_fields(self.model), CODE: self.code}

    def _check_untouched(
        self, values: npt.NDArray[Any], draws: npt.NDArray[np.float64], dtype: str
    ) -> None:
        before_values, before_draws = _examples(dtype, self.draws)
        for name, after, before in (
            ("values", bits.encode(values), bits.encode(before_values)),
            ("draws", draws, before_draws),
        ):
            if not np.array_equal(after, before):
                raise self._error(
                    f"writes into the {name} that it is given",
                    hint=f"let it work on a copy, {name}.copy()",
                )

    def _error(self, message: str, hint: str | None = None) -> FaultError:
        name = type(self.model).__qualname__
        return FaultError(
            f"{name}.corrupt {message}",
            place=self.label,
            hint=hint
            or "it returns a NumPy array of the shape and dtype of the values; "
            "`.astype(values.dtype)` brings a result back to theirs",
        )

    def __reduce__(self) -> tuple[Callable[..., UserFault], tuple[str, str, Parcel]]:
        # The module of the class may not be there where the fault arrives.
        return _unpacked, (self.label, self.code, self.parcel)


def wrapped(model: Any, label: str, code: Code | None = None) -> UserFault:
    """Return an instance of a user's class as a fault.

    Args:
        model: The instance.
        label: Its name in YAML and in the results.
        code: Code of the user's that counts beside that of the class, which always does.

    Raises:
        FaultError: The class is no frozen dataclass with a method ``corrupt``, or a parameter is
            none that JSON can hold.
        CampaignError: A file of its code cannot be read, or has changed since it was imported.
    """
    from injecttf2.user_code.digest import class_digest, class_modules  # loads Keras

    check_class(type(model), label)
    try:
        _fields(model)
    except ValueError as error:
        raise FaultError(str(error), place=label) from error
    code = (code or Code()) | code_of_loaded(class_modules(type(model)))
    return UserFault(model, label, class_digest(type(model), code.digest), Parcel.of(model, code))


def check_class(kind: Any, label: str) -> None:
    """See that a class can be a fault model.

    Raises:
        FaultError: It is no frozen dataclass with a method ``corrupt`` and a number of draws.
    """
    name = getattr(kind, "__qualname__", repr(kind))
    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
        wrong = f"{name} is no dataclass"
    elif not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        wrong = f"{name} is a dataclass that can be changed"
    elif not callable(getattr(kind, "corrupt", None)):
        wrong = f"{name} has no method corrupt(self, values, draws)"
    elif "draws" in {one.name for one in dataclasses.fields(kind)}:
        wrong = f"{name}.draws is a field, which may differ between two faults"
    else:
        draws = getattr(kind, "draws", 0)
        if type(draws) is int and draws >= 0:
            return
        wrong = f"{name}.draws is {draws!r}"
    raise FaultError(
        wrong,
        place=label,
        hint="expected a class below @dataclass(frozen=True) with a method corrupt(self, values, "
        "draws) and, if it needs random numbers, draws: ClassVar[int], how many for a site",
    )


def _fields(model: Any) -> dict[str, Any]:
    """Return the fields of a user's dataclass as JSON holds them.

    Raises:
        ValueError: JSON cannot hold one.
    """
    found = {}
    for one in dataclasses.fields(model):
        value = getattr(model, one.name)
        if isinstance(value, float) and not np.isfinite(value):
            raise ValueError(f"{one.name} is a finite number; received {shown(value)}")
        try:
            found[one.name] = plain(value)
        except ValueError as error:
            raise ValueError(f"{one.name}: {error}") from error
    return found


def _examples(dtype: str, draws: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Return finite values of ``dtype``, limits and 0 among them, and draws for them."""
    numpy_dtype = bits.numpy_dtype(dtype)
    generator = np.random.Generator(np.random.Philox(key=0))
    numbers = 10 * np.tan(3 * generator.random(CHECKED_SITES) - 1.5)
    values = cast(numbers, numpy_dtype)
    if dtype in bits.INTEGER_LAYOUTS:
        info: Any = np.iinfo(numpy_dtype)
    else:
        import ml_dtypes  # NumPy's own finfo does not know bfloat16

        info = ml_dtypes.finfo(numpy_dtype)
    values[:4] = [0, 1, info.min, info.max]
    return values, generator.random((CHECKED_SITES, draws))


def _unpacked(label: str, code: str, parcel: Parcel) -> UserFault:
    """Return a fault that has arrived in this process.

    Raises:
        FaultError: Its code does something else here.
    """
    from injecttf2.user_code.digest import class_digest  # loads Keras

    model = parcel.open()
    if parcel.code and class_digest(type(model), parcel.code.digest) != code:
        raise FaultError(
            "its class is not the same in this process as where the campaign was planned",
            place=label,
            hint="let its module, not a program that imports it, set the values that it uses; "
            "all machines need the same version of Python",
        )
    return UserFault(model, label, code, parcel)
