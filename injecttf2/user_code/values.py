"""What code does, as values of JSON that are the same in every process.

Functions are told by their bytecode and by what they refer to; classes by their functions and
attributes; objects of users' classes by their class and what they hold. What is installed is told
by its name: its objects may hold what only this process has.
"""

from __future__ import annotations

import contextlib
import dis
import json
import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import cached_property, partial, partialmethod
from pathlib import Path
from re import Pattern
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any

import keras
import numpy as np

from injecttf2.user_code.files import MAIN, is_installed

LIBRARIES = frozenset({"keras", "tf_keras", "tensorflow", "numpy", "builtins", "injecttf2"})
"""Packages whose functions and classes are told by their names; of all others the code counts."""

PLAIN = bool | int | float | complex | str | bytes

HELD: dict[type, Callable[[Any], list[Any]]] = {
    partial: lambda one: [one.func, one.args, one.keywords],
    partialmethod: lambda one: [one.func, one.args, one.keywords],
    MethodType: lambda one: [one.__func__, one.__self__],
    property: lambda one: [one.fget],
    cached_property: lambda one: [one.func],
    staticmethod: lambda one: [one.__func__],
    classmethod: lambda one: [one.__func__],
    np.vectorize: lambda one: [one.pyfunc, one.signature, one.otypes],
}
"""What those hold that stand for functions."""

SHOWN = (Decimal, Fraction, Pattern, date, time, timedelta, range)
"""Classes of Python's whose objects show all that they hold."""


def value_of(value: Any) -> Any:
    """Return the value of JSON for anything that code refers to."""
    return _Telling().value(value)


def shallow(value: Any) -> Any:
    """Return the value of JSON for what an object of a library holds."""
    return _Telling().value(value, deep=False)


def classes(kind: type) -> list[Any]:
    """Return functions and plain attributes of a class and its bases, without libraries' own."""
    return [
        [base.__name__, name, _Telling().value(value, deep=not _is_installed_class(base))]
        for base, name, value in _attributes(kind)
    ]


def plain(value: Any) -> Any:
    """Return a JSON value for what a configuration or a call may hold beside plain values."""
    if isinstance(value, slice):
        return repr(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) or keras.ops.is_tensor(value):
        array = np.asarray(value)
        return [array.dtype.name, array.tolist()]
    if isinstance(value, FunctionType):
        return type(value).__name__ if _is_installed(value) else value_of(value)
    return type(value).__name__ if _is_installed_class(type(value)) else value_of(value)


def module_of(function: FunctionType) -> str:
    """Return the name of the module that a function is written in."""
    # Not __module__: a wrapper says there where the wrapped function is from.
    return str(function.__globals__.get("__name__", ""))


def is_library(module: str) -> bool:
    """Return whether a module is of a package that is told by names."""
    return module.partition(".")[0] in LIBRARIES


def modules_of(parts: Iterable[object]) -> set[str]:
    """Return the names of the modules of the classes of some objects, without libraries' own."""
    kinds = {base for part in parts for base in type(part).__mro__}
    return {one.__module__ for one in kinds if not is_library(one.__module__)}


@dataclass
class _Telling:
    """One walk from a value to all that it leads to.

    Args:
        seen: Functions, classes and objects that were told, with their numbers. They are kept, so
            that no other takes their address.
        inside: Addresses of the containers that are being told.
    """

    seen: dict[Any, tuple[int, Any]] = field(default_factory=dict)
    inside: tuple[int, ...] = ()

    def value(self, value: Any, *, deep: bool = True) -> Any:
        """Return a JSON value; without ``deep`` the names of all but functions and plain values."""
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, CodeType):
            return self._code(value, deep=deep)
        if deep and (told := self._deep(value)) is not None:
            return told[0]
        if value is None or isinstance(value, PLAIN):
            return repr(value)
        if isinstance(value, frozenset | set | list | tuple):
            return self._container(value, deep=deep)
        if deep and isinstance(value, np.ndarray) and value.dtype.hasobject:
            return self._container(value.tolist(), deep=deep)
        if isinstance(value, np.ndarray | np.generic | slice) or keras.ops.is_tensor(value):
            return plain(value)
        return type(value).__name__

    def _deep(self, value: Any) -> tuple[Any] | None:
        """Return what is told of objects and classes, in a tuple; None for all else."""
        kind = type(value)
        for of, parts in HELD.items():
            if isinstance(value, of):
                return ([kind.__name__, *map(self.value, parts(value))],)
        if isinstance(value, type):
            return (self._class(value),)
        if isinstance(value, ModuleType | BuiltinFunctionType | np.ufunc):
            return ([kind.__name__, value.__name__],)
        if isinstance(value, SHOWN):
            return (repr(value),)
        if isinstance(value, Enum):
            return ([self._class(kind), value.name, self._once(value, lambda: value.value)],)
        if _is_installed_class(kind):
            return self._installed(value)
        if isinstance(value, BaseException) or _is_of_keras(kind):  # may hold what it was run with
            return (self._class(kind),)
        return ([self._class(kind), self._once(value, lambda: _content(value))],)

    def _installed(self, value: Any) -> tuple[Any] | None:
        if isinstance(value, dict | MappingProxyType | deque):
            return (self._container(value),)
        if isinstance(value, SimpleNamespace):
            return (self._once(value, lambda: vars(value)),)
        wrapped = getattr(value, "__wrapped__", None)  # as of lru_cache
        return None if wrapped is None else ([type(value).__name__, self.value(wrapped)],)

    def _once(self, value: Any, content: Any) -> Any:
        """Return what an object holds, where it comes again its number."""
        if id(value) in self.seen:
            return self.seen[id(value)][0]
        self.seen[id(value)] = (len(self.seen), value)
        return self.value(content())

    def _container(self, value: Any, *, deep: bool = True) -> Any:
        """Return what is in it; what is in several places is told in each, as copies are."""
        if id(value) in self.inside:
            return ["inside", len(self.inside) - self.inside.index(id(value))]
        within = _Telling(self.seen, (*self.inside, id(value)))
        if isinstance(value, dict | MappingProxyType):
            keys = {within._apart(key): key for key in value}
            return [[key, within.value(value[keys[key]])] for key in sorted(keys)]
        if isinstance(value, frozenset | set):
            return sorted(within._apart(item) if deep else repr(item) for item in value)
        return [within.value(item, deep=deep) for item in value]

    def _apart(self, value: Any) -> str:
        """Return the text of something whose place among others is not the same everywhere."""
        if value is None or (isinstance(value, PLAIN) and not isinstance(value, Enum)):
            return repr(value)
        return json.dumps(_Telling(dict(self.seen), self.inside).value(value), default=plain)

    def _class(self, kind: type) -> Any:
        if _is_installed_class(kind):
            return f"{kind.__module__}.{kind.__qualname__}"
        if id(kind) in self.seen:
            return [kind.__qualname__, self.seen[id(kind)][0]]
        self.seen[id(kind)] = (len(self.seen), kind)
        return [
            kind.__qualname__,
            [
                [base.__name__, name, self.value(value, deep=not _is_installed_class(base))]
                for base, name, value in _attributes(kind)
            ],
        ]

    def _function(self, function: FunctionType) -> Any:
        """Return code, defaults, closure and globals of a function; the name of a library's."""
        code = function.__code__
        deep = not _is_installed(function)
        key = id(function) if deep else code
        if is_library(module_of(function)):
            return function.__qualname__
        if key in self.seen:
            return [function.__qualname__, self.seen[key][0]] if deep else function.__qualname__
        self.seen[key] = (len(self.seen), function)
        holds: list[Any] = [function.__defaults__, sorted((function.__kwdefaults__ or {}).items())]
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # an empty cell
                holds.append(cell.cell_contents)
        for name in sorted(_global_names(code) & function.__globals__.keys()):
            value = function.__globals__[name]
            known = isinstance(value, FunctionType) and _is_installed(value)
            holds.append([name, value.__qualname__ if known else value])
        return [self._code(code, deep=deep), self.value(holds, deep=deep)]

    def _code(self, code: CodeType, *, deep: bool) -> list[Any]:
        """Return what a code object does, without where it was written."""
        return [code.co_code.hex(), list(code.co_names), self.value(code.co_consts, deep=deep)]


def _attributes(kind: type) -> Iterable[tuple[type, str, Any]]:
    """Yield functions and plain attributes of a class and its bases, without libraries' own."""
    for base in kind.__mro__:
        if is_library(base.__module__):
            continue
        for name, value in sorted(vars(base).items()):
            held = _unwrapped(value)
            if isinstance(held, MemberDescriptorType) and not _is_installed_class(base):
                continue  # a slot, of which a class that was pickled may tell nothing
            if isinstance(held, FunctionType) or not name.startswith("__"):
                yield base, name, held


def _unwrapped(value: Any) -> Any:
    """Return the function in a method or property of a class, anything else as it is."""
    if isinstance(value, property):
        return value.fget
    return value.__func__ if isinstance(value, staticmethod | classmethod) else value


def _content(value: Any) -> list[Any]:
    """Return what an object of a user's class holds: attributes, slots, items, its own value."""
    held = {
        name: slot.__get__(value)
        for base in type(value).__mro__
        for name, slot in vars(base).items()
        if isinstance(slot, MemberDescriptorType) and hasattr(value, name)
    }
    held.update(getattr(value, "__dict__", {}))
    for base in (dict, list, tuple, set, frozenset, deque):
        if isinstance(value, base):
            return [held, base(value)]
    return [held, repr(value)] if isinstance(value, PLAIN) else [held]


def _is_of_keras(kind: type) -> bool:
    return any(one.__module__.partition(".")[0] in {"keras", "tensorflow"} for one in kind.__mro__)


def _is_installed(function: FunctionType) -> bool:
    file = function.__code__.co_filename
    if file.startswith("<"):
        return _is_installed_module(module_of(function))
    return is_installed(Path(file))


def _is_installed_class(kind: type) -> bool:
    return is_library(kind.__module__) or _is_installed_module(kind.__module__)


def _is_installed_module(name: str) -> bool:
    if name == MAIN:  # a class of a notebook, where it runs in a worker
        return False
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None:
        return name.partition(".")[0] in sys.stdlib_module_names
    return is_installed(Path(file))


def _global_names(code: CodeType) -> set[str]:
    """Return the globals that code reads, also in the functions inside it."""
    names = {one.argval for one in dis.get_instructions(code) if one.opname == "LOAD_GLOBAL"}
    inside = (_global_names(const) for const in code.co_consts if isinstance(const, CodeType))
    return names.union(*inside)
