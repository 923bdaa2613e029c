"""The digest of a class of the user's, and what decides what an object of one does."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from typing import Any

from injecttf2.user_code.values import classes, is_library, plain


def class_digest(kind: type, files: str = "") -> str:
    """Return the 128-bit blake2b digest of a class of the user's, hexadecimal.

    It covers the class and its bases with the functions and values that they refer to: those of a
    notebook have no file, and a program may set values that no file tells.

    Args:
        kind: The class.
        files: Digest of the files of its code, see ``user_code.files``; empty where it has none.
    """
    told = [classes(kind), files] if files else classes(kind)
    content = json.dumps(told, sort_keys=True, default=plain).encode()
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def class_modules(kind: type) -> set[str]:
    """Return the names of the modules of a class and its bases, without libraries' own."""
    return {base.__module__ for base in kind.__mro__ if not is_library(base.__module__)}


def described(part: Any) -> dict[str, Any]:
    """Return plain values for all that decides what an object does: its class, fields and code.

    The code of a class of the user's own counts as that of a layer does; what is of this package is
    told by its name, ``told_as`` where ids were made with it before it was called otherwise.

    Args:
        part: A dataclass, or an object whose attributes are all that it goes by.
    """
    kind = type(part)
    names = [one.name for one in fields(part)] if is_dataclass(part) else sorted(vars(part))
    values = {name: getattr(part, name) for name in names}
    told: dict[str, Any] = {
        "type": vars(kind).get("told_as", f"{kind.__module__}:{kind.__qualname__}"),
        "parameters": {
            name: described(value) if is_dataclass(value) else value
            for name, value in values.items()
        },
    }
    if not is_library(kind.__module__):
        told["code"] = class_digest(kind)
    plain_values: dict[str, Any] = json.loads(json.dumps(told, default=plain))
    return plain_values
