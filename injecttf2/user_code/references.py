"""Functions and classes named in YAML as ``package.module:function``, or by an installed package.

A package names its faults, judges, metrics, criteria, data sets and listeners as entry points, in
the groups ``injecttf2.faults``, ``injecttf2.judges``, ``injecttf2.metrics``,
``injecttf2.criteria``, ``injecttf2.datasets`` and ``injecttf2.listeners``.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from injecttf2.errors import UserError
from injecttf2.user_code.files import PRODUCT, RESERVED, Search, code_of
from injecttf2.user_code.importing import install


def is_function(reference: str) -> bool:
    """Return whether ``reference`` has the form ``package.module:function``."""
    module, colon, function = reference.partition(":")
    return (
        bool(colon)
        and function.isidentifier()
        and all(part.isidentifier() for part in module.split("."))
    )


def installed(group: str, name: str) -> str | None:
    """Return the ``package.module:function`` that an installed package names; None if none does.

    Args:
        group: What it is one of, such as ``faults``.
        name: Its name.
    """
    found = importlib.metadata.entry_points(group=f"injecttf2.{group}", name=name)
    return next(iter(found)).value.replace(" ", "") if found else None


def installed_names(group: str) -> list[str]:
    """Return the names that installed packages give in a group, alphabetically."""
    return sorted(importlib.metadata.entry_points(group=f"injecttf2.{group}").names)


def call(
    function: Callable[[], Any],
    place: str,
    error_type: type[UserError],
    *,
    what: str = "the function",
) -> Any:
    """Return what a function of the user's returns; what it prints goes to the standard error.

    Args:
        function: The function.
        place: What the user calls it.
        error_type: What to raise when it raises; errors of the user's pass as they are.
        what: How the message then begins.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output belongs to the command
            return function()
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise error_type(
            f"{what} raised {type(error).__name__}: {first_line(error)}", place=place
        ) from error


def first_line(error: BaseException) -> str:
    """Return the first line of the reason, which Keras gives last and with the configuration."""
    reason = str(error).rpartition("Exception encountered: ")[2].strip()
    return re.split(r"\n| Full object config: ", reason)[0] or type(error).__name__


def import_function(
    reference: str, folder: Path | None, error_type: type[UserError], *, what: str = "function"
) -> Callable[..., Any]:
    """Import the function, or class, that ``reference`` names.

    Args:
        reference: ``package.module:function``.
        folder: Where the module, and what it imports, is looked up before the Python path.
        error_type: What to raise when there is no such function.
        what: What it is called then.
    """
    module_name, _, function_name = reference.partition(":")
    _check_name(module_name.partition(".")[0], reference, folder, error_type)
    install(code_of(module_name, folder))
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
        raise _not_imported(reference, error, error_type) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise error_type(
            f"the module {module_name!r} has no {what} {function_name!r}", place=reference
        )
    return function  # type: ignore[no-any-return]


def check_module(reference: str, folder: Path | None, error_type: type[UserError]) -> None:
    """Refuse a module that is nowhere, as :func:`import_function` would; nothing is imported.

    Only the package is looked for that the module is in: what it holds its own code may decide.
    """
    package = reference.partition(":")[0].partition(".")[0]
    _check_name(package, reference, folder, error_type)
    path = sys.path if folder is None else [str(folder.absolute()), *sys.path]
    if package not in {*PRODUCT, *sys.modules} and Search(path).spec(package) is None:
        missing = ModuleNotFoundError(f"No module named {package!r}")
        raise _not_imported(reference, missing, error_type)


def _not_imported(reference: str, error: Exception, error_type: type[UserError]) -> UserError:
    return error_type(
        f"the module {reference.partition(':')[0]!r} cannot be imported: "
        f"{type(error).__name__}: {error}",
        place=reference,
        hint="it is looked up beside the campaign file, then on the Python path",
    )


@contextlib.contextmanager
def findable(folder: Path | None) -> Iterator[None]:
    """Let Python find all modules in ``folder``, behind those of the Python path.

    For code whose results are digested themselves, so that it may import what it likes.
    """
    if folder is None:
        yield
        return
    entry = str(folder.absolute())
    sys.path.append(entry)
    try:
        yield
    finally:
        sys.path.reverse()
        with contextlib.suppress(ValueError):
            sys.path.remove(entry)
        sys.path.reverse()


def _check_name(
    top_level: str, reference: str, folder: Path | None, error_type: type[UserError]
) -> None:
    """Refuse a file that has the name of a module that Python or this package needs."""
    if folder is None or top_level not in RESERVED:
        return
    for file in (folder / f"{top_level}.py", folder / top_level / "__init__.py"):
        if file.is_file():
            raise error_type(
                f"{file} has the name of a module that Python or injecttf2 needs",
                place=reference,
                hint="give it another name",
            )
