"""Functions and classes named in YAML as ``package.module:function``."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from injecttf2.errors import UserError


def is_function(reference: str) -> bool:
    """Return whether ``reference`` has the form ``package.module:function``."""
    module, colon, function = reference.partition(":")
    return (
        bool(colon)
        and function.isidentifier()
        and all(part.isidentifier() for part in module.split("."))
    )


def import_function(
    reference: str, folder: Path | None, error_type: type[UserError], *, what: str = "function"
) -> Callable[..., Any]:
    """Import the function, or class, that ``reference`` names.

    Args:
        reference: ``package.module:function``.
        folder: Where the module is looked up first; it is put in front of the Python path, so
            that the module can import its own neighbours.
        error_type: What to raise when there is no such function.
        what: What it is called then.
    """
    module_name, _, function_name = reference.partition(":")
    if folder is not None:
        _look_in_first(folder, module_name.partition(".")[0])
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output belongs to the command
            module = importlib.import_module(module_name)
    except SystemExit as error:
        raise error_type(
            f"the module {module_name!r} ends the program when it is imported, "
            f"with exit code {error.code!r}",
            place=reference,
            hint='put what it does as a script below `if __name__ == "__main__":`',
        ) from error
    except Exception as error:
        raise error_type(
            f"the module {module_name!r} cannot be imported: {type(error).__name__}: {error}",
            place=reference,
            hint="it is looked up beside the campaign file, then on the Python path",
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise error_type(
            f"the module {module_name!r} has no {what} {function_name!r}", place=reference
        )
    return function  # type: ignore[no-any-return]


def pickled(value: Any, folder: Path | None) -> bytes:
    """Pickle a value, what it takes from modules in ``folder`` by value.

    Such modules lie beside the campaign file, where other machines do not have them.
    """
    beside = modules_in(folder) if folder is not None else []
    for module in beside:
        cloudpickle.register_pickle_by_value(module)
    try:
        content: bytes = cloudpickle.dumps(value)
    finally:
        for module in beside:
            cloudpickle.unregister_pickle_by_value(module)
    return content


def modules_in(folder: Path) -> list[ModuleType]:
    """Return the imported modules whose files lie in ``folder``, not in an environment there."""
    beside = f"{folder.absolute()}{os.sep}"
    prefixes = [f"{prefix}{os.sep}" for prefix in (sys.prefix, sys.base_prefix)]
    environments = tuple(prefix for prefix in prefixes if prefix.startswith(beside))
    return [
        module
        for name, module in list(sys.modules.items())
        if (file := getattr(module, "__file__", None))
        and file.startswith(beside)
        and not file.startswith(environments)
        and module.__name__ == name  # the main module has a second entry
    ]


def _look_in_first(folder: Path, top_level: str) -> None:
    """Put ``folder`` in front of the Python path, and forget a namesake from elsewhere."""
    folder = folder.absolute()
    if str(folder) not in sys.path[:1]:
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
    here = (folder / f"{top_level}.py").is_file() or (folder / top_level).is_dir()
    loaded = sys.modules.get(top_level)
    if here and loaded is not None and loaded not in modules_in(folder):
        for name in [name for name in sys.modules if name.partition(".")[0] == top_level]:
            del sys.modules[name]
