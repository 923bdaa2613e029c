"""Fault models by name: those built in, and those of users.

A name is looked up among the built-in faults, then among classes under the decorator ``@fault``,
then among the entry points of installed packages (group ``injecttf2.faults``); a name of the form
``package.module:Class`` is imported, from beside the campaign file first.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from injecttf2.config.parameters import check_names, is_required, shown
from injecttf2.config.spelling import nearest
from injecttf2.errors import FaultError, UserError
from injecttf2.faults.bit_faults import BitFault, BitFlip, StuckAt
from injecttf2.faults.custom import CODE, UserFault, check_class, wrapped
from injecttf2.faults.fault_model import Fault
from injecttf2.faults.mixture import Mixture
from injecttf2.faults.value_faults import Constant, RandomBits, RandomValue, Scale, Zero
from injecttf2.user_code.files import Code, code_of
from injecttf2.user_code.references import (
    import_function,
    installed,
    installed_names,
    is_function,
)

BUILTIN: dict[str, type[Fault]] = {
    "bit_flip": BitFlip,
    "stuck_at": StuckAt,
    "zero": Zero,
    "constant": Constant,
    "random_bits": RandomBits,
    "random_value": RandomValue,
    "scale": Scale,
    "mixture": Mixture,
}
"""The built-in fault models by the name used in YAML and in the results."""

_decorated: dict[str, type] = {}

Class = TypeVar("Class", bound=type)


def fault(name: str) -> Callable[[Class], Class]:
    """Return a decorator that makes a frozen dataclass a fault model.

    The class has a method ``corrupt(values, draws)``. ``values`` is [sites] in the layer's dtype;
    ``draws`` is float64 [sites, n], uniform in [0, 1), where the class says ``draws: ClassVar[int]
    = n``, by default 0. It returns the new values, of the same shape and dtype. It must be pure and
    work on each site by itself: sites of any number of trials come together. A fault has no bit, so
    its sites are whole words. The fields of the class are its parameters.

    Args:
        name: Its name in YAML and in the results.

    Returns:
        The decorator, which returns the class as it is.

    Raises:
        FaultError: The name is taken, or the class cannot be a fault model.

    Examples:
        >>> from dataclasses import dataclass
        >>> from injecttf2 import Campaign, fault, run
        >>> @fault("attenuate")
        ... @dataclass(frozen=True)
        ... class Attenuate:
        ...     factor: float
        ...
        ...     def corrupt(self, values, draws):
        ...         return (self.factor * values).astype(values.dtype)
        >>> campaign = Campaign(
        ...     model="builtin:digits_cnn",
        ...     dataset="digits",
        ...     grid={"fault": {"type": "attenuate", "factor": 0.5}, "counts": 100},
        ... )
        >>> trials = run(campaign, "runs/attenuate", executor="inline", quiet=True).trials()
        >>> trials["fault"].unique().tolist(), trials["sites"].tolist()
        (['attenuate'], [100, 100, 100, 100, 100, 100, 100])
    """

    def register(kind: Class) -> Class:
        check_class(kind, name)
        known = BUILTIN.get(name) or _decorated.get(name)
        if known is not None and _full_name(known) != _full_name(kind):
            raise FaultError(
                f"the name {name!r} is that of {_full_name(known)}; "
                f"received it for {_full_name(kind)}",
                hint="give it another name",
            )
        _decorated[name] = kind
        return kind

    return register


def names() -> list[str]:
    """Return the names of all fault models but those named as ``package.module:Class``."""
    return list(dict.fromkeys([*BUILTIN, *_decorated, *installed_names("faults")]))


def is_own(name: str) -> bool:
    """Return whether a fault model is the code of a user or of an installed package."""
    return name in _decorated or is_function(name) or installed("faults", name) is not None


def find(name: str, folder: Path | None = None) -> type:
    """Return the class of a fault model, a subclass of ``Fault`` or a user's own.

    Args:
        name: As in YAML and in the results.
        folder: Where the module of ``package.module:Class`` is looked up first.

    Raises:
        FaultError: There is none, or it cannot be loaded.
    """
    known = BUILTIN.get(name) or _decorated.get(name)
    if known is not None:
        return known
    reference = name if is_function(name) else installed("faults", name)
    if reference is None:
        raise FaultError(
            f"there is no fault model {name!r}{nearest(name, names())}",
            hint=f"expected one of {', '.join(names())}, or package.module:Class, a class of "
            'your own; what stands below @fault("NAME") has that name in the process that defines '
            "it, and nowhere else",
        )
    kind: Any = import_function(reference, folder, FaultError, what="class")
    check_class(kind, name)
    return kind  # type: ignore[no-any-return]


def build(
    name: str,
    parameters: Mapping[str, Any],
    *,
    bit: int | None = None,
    bit_field: str | None = None,
    folder: Path | None = None,
) -> Fault:
    """Return a fault from its name and parameters, as they stand in YAML.

    Args:
        name: The fault model.
        parameters: All parameters beside the bit. Those of a mixture are ``faults``, a list of
            mappings with the keys ``weight``, ``fault``, and optionally ``bit`` or ``bit_field``
            and ``parameters``.
        bit: The bit. A mixture gives it to those of its faults that take one and name none.
        bit_field: The field that the bit is drawn from, in place of ``bit``.
        folder: Where modules are looked up first.

    Raises:
        FaultError: There is no such fault model, or a user's own cannot be used.
        ValueError: A parameter is unknown, missing or wrong.
    """
    kind = find(name, folder)
    if kind is Mixture:
        check_names(name, ["faults"], ["faults"], parameters)
        return _mixture(parameters["faults"], bit=bit, bit_field=bit_field, folder=folder)
    given = dict(parameters)
    code = given.pop(CODE, None)
    places = {
        key: value for key, value in (("bit", bit), ("bit_field", bit_field)) if value is not None
    }
    for key in ("bit", "bit_field"):
        if places and key in given:
            raise ValueError(
                f"its {key} is given twice: received {key}: {shown(given[key])} beside bits"
            )
    given.update(places)
    fields = [one for one in dataclasses.fields(kind) if one.init]
    required = [one.name for one in fields if is_required(one)]
    check_names(name, [one.name for one in fields], required, given)
    if issubclass(kind, Fault):
        return kind(**given)
    made = _user_fault(kind, given, name, folder)
    if code is not None and code != made.code:
        raise FaultError(
            f"the code of {_full_name(kind)} is not what it was", place=name, hint="restore it"
        )
    return made


def from_row(
    name: str,
    *,
    bit: int | None,
    bit_field: str | None,
    parameters: str | None,
    folder: Path | None = None,
) -> Fault:
    """Return the fault that a results row was made with.

    Args:
        name: Column ``fault``.
        bit: Column ``bit``.
        bit_field: Column ``bit_field``, which tells the field of a given ``bit`` as well.
        parameters: The JSON text of :meth:`Fault.parameters`; None stands for none.
        folder: As for :func:`build`.

    Raises:
        FaultError: As for :func:`build`, also where the code of a user's class has changed since.
    """
    field = bit_field if bit is None else None
    return build(name, json.loads(parameters or "{}"), bit=bit, bit_field=field, folder=folder)


def own_code(fault: Fault) -> dict[str, Code]:
    """Return the user's own code of a fault, and of the faults of a mixture, by their names."""
    if isinstance(fault, Mixture):
        return {name: code for _, one in fault.faults for name, code in own_code(one).items()}
    return {fault.name: fault.parcel.code} if isinstance(fault, UserFault) else {}


def _user_fault(kind: type, given: dict[str, Any], name: str, folder: Path | None) -> UserFault:
    try:
        model = kind(**given)
    except (ValueError, UserError):
        raise
    except Exception as error:
        raise FaultError(
            f"{kind.__qualname__} cannot be made of {given}: {type(error).__name__}: {error}",
            place=name,
        ) from error
    return wrapped(model, name, code_of(name, folder) if is_function(name) else None)


def _mixture(
    faults: Any, *, bit: int | None, bit_field: str | None, folder: Path | None
) -> Mixture:
    """Build the faults of a mixture."""
    if not isinstance(faults, list | tuple) or not all(isinstance(one, Mapping) for one in faults):
        raise ValueError(
            "faults of a mixture is a list of mappings with the keys weight and fault; "
            f"received {shown(faults)}"
        )
    built = []
    for one in faults:
        known = ["weight", "fault", "bit", "bit_field", "parameters"]
        check_names("a fault of a mixture", known, known[:2], one)
        if not isinstance(one["fault"], str):
            raise ValueError(  # noqa: TRY004 - a parameter that the user may mend
                f"a fault is named by a text; received {shown(one['fault'])}"
            )
        kind = find(one["fault"], folder)
        place = {key: one[key] for key in ("bit", "bit_field") if one.get(key) is not None}
        if not place and (issubclass(kind, BitFault) or kind is Mixture):
            place = {"bit": bit, "bit_field": bit_field}
        part = build(one["fault"], one.get("parameters") or {}, **place, folder=folder)
        built.append((one["weight"], part))
    return Mixture(tuple(built))


def _full_name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"
