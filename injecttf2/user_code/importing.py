"""Importing the user's own code from the bytes that count as part of what it does.

So what runs is what was digested, also in another process, where the files may not be, and no
folder has to stand on the Python path.
"""

from __future__ import annotations

import marshal
import os
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import MAGIC_NUMBER, spec_from_file_location
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import cloudpickle

from injecttf2.errors import CampaignError
from injecttf2.user_code.files import (
    MAIN,
    PRODUCT,
    Code,
    CodeFile,
    Search,
    is_installed,
    is_of_bytes,
    is_own,
)

_travelling: WeakValueDictionary[tuple[Any, ...], Code] = WeakValueDictionary()
"""Code by all that it is, so that several values of one package are pickled with its files once."""


@dataclass(frozen=True)
class Parcel:
    """A value on its way to another process, with the user's code that it needs there.

    Args:
        code: The code.
        content: The value, pickled; what is of a module refers to it.
    """

    code: Code
    content: bytes

    @classmethod
    def of(cls, value: Any, code: Code) -> Parcel:
        """Return the parcel of a value."""
        parts = [(name, file.path, file.digest) for name, file in sorted(code.modules.items())]
        one = _travelling.setdefault((*parts, code.installed), code)
        return cls(one, cloudpickle.dumps(value))

    def open(self) -> Any:
        """Return the value."""
        install(self.code)
        return cloudpickle.loads(self.content)


def install(code: Code) -> None:
    """Have Python import the modules of ``code`` from their bytes, in this process.

    Modules of the same names that were imported from elsewhere, or from other bytes, are forgotten,
    so that they are imported anew.

    Raises:
        CampaignError: A file has changed since the user's own program imported it.
    """
    if not code:
        return
    forgotten = {name.partition(".")[0] for name in [*_stale(code), *_of_others(code)]}
    for name in [name for name in sys.modules if name.partition(".")[0] in forgotten]:
        del sys.modules[name]
    for finder in [one for one in sys.meta_path if isinstance(one, _Finder) and one.code == code]:
        sys.meta_path.remove(finder)
    sys.meta_path.insert(0, _Finder(code))


def _of_others(code: Code) -> list[str]:
    """Return modules that it would get though only another campaign's code has them."""
    asked = {one for name in code.modules for one in code.imported(name)}
    return [
        name
        for name in asked - code.modules.keys()
        if name.partition(".")[0] not in code.top_level
        and name in sys.modules
        and is_of_bytes(_loader(sys.modules[name]))
    ]


def code_of_loaded(names: Iterable[str]) -> Code:
    """Return the code of modules that are loaded, and of all of the user's that they import.

    A main module without a file, such as a notebook, is none of it; all modules of the user's that
    it may have imported are, since a value does not tell which module it is of.

    Raises:
        CampaignError: A file cannot be read, or has changed since it was imported.
    """
    code = Code()
    for name in sorted(set(names)):
        module = sys.modules.get(name)
        top_level = name.partition(".")[0]
        if module is None or top_level in PRODUCT:
            continue
        if file := getattr(module, "__file__", None):
            installed = Code(installed=frozenset({top_level}) - sys.stdlib_module_names)
            own = not is_installed(Path(file))
            code |= _code_of_file(name, Path(file).absolute()) if own else installed
        elif name == MAIN:
            held = {_module_of(value) for value in vars(module).values()}
            held |= {one for one, loaded in [*sys.modules.items()] if _is_of_program(loaded)}
            code |= code_of_loaded(one for one in held if one not in ("", MAIN))
    return code


def _is_of_program(module: ModuleType) -> bool:
    """Return whether a module is the user's, and was not imported for a campaign."""
    file = getattr(module, "__dict__", {}).get("__file__")  # some load when they are asked for more
    if not isinstance(file, str) or is_of_bytes(_loader(module)):
        return False
    return Path(file).is_file() and not is_installed(Path(file))


def _code_of_file(name: str, file: Path) -> Code:
    """Return the code of a module that was loaded from a file."""
    if isinstance(loader := _loader(sys.modules[name]), _Loader):  # runs what it was loaded with
        return Code(loader.code.of(name), loader.code.installed)
    above = 0 if name == MAIN else name.count(".") + (file.stem == "__init__")
    search = Search([str(file.parents[above]), *sys.path])
    spec = None if name == MAIN else search.spec(name)
    if spec is None or spec.origin is None or Path(spec.origin) != file:
        search.known[name] = spec_from_file_location(name, file)
    code = search.code([name])
    if name in _stale(code):
        raise _changed(code.modules[name].path)
    return code


def _module_of(value: Any) -> str:
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
    return name if isinstance(name, str) else ""


def _loader(module: ModuleType) -> Any:
    return getattr(getattr(module, "__spec__", None), "loader", None)


_first_seen: WeakKeyDictionary[ModuleType, tuple[Any, bytes]] = WeakKeyDictionary()
"""What the files of modules held that the user's own program imported, when first looked at.

With the specification of each, which is another one where the module was imported anew.
"""


def _stale(code: Code) -> list[str]:
    """Return those of its modules that are loaded from elsewhere, or among other bytes.

    Raises:
        CampaignError: The user's own program imported one, and the file has changed since.
    """
    return [
        name
        for name, file in code.modules.items()
        if name in sys.modules and _is_stale(sys.modules[name], file, code)
    ]


def _is_stale(module: ModuleType, file: CodeFile, code: Code) -> bool:
    if isinstance(loader := _loader(module), _Loader):  # it may hold what others of its code gave
        return loader.code.of(loader.name) != code.of(loader.name)
    if Path(getattr(module, "__file__", None) or "").resolve() != Path(file.path).resolve():
        return module.__name__ != MAIN
    spec = getattr(module, "__spec__", None)
    if module not in _first_seen or _first_seen[module][0] is not spec:
        if not _may_be_of(module, file):
            raise _changed(file.path)
        _first_seen[module] = (spec, file.content)
    if _first_seen[module][1] != file.content:
        raise _changed(file.path)
    return False


def _may_be_of(module: ModuleType, file: CodeFile) -> bool:
    """Return whether a module may have been imported when its file was what it is now.

    What was imported tells its functions, and what Python has kept of it, compiled.
    """
    if type(_loader(module)) is not SourceFileLoader:
        return True  # others may load something else than what the file says
    try:
        code = compile(file.content, file.path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    if _kept(module, Path(file.path)) not in (None, code):
        return False
    codes = {*_codes(code)}
    held = [*vars(module).values()]
    held += [one for kind in held if isinstance(kind, type) for one in vars(kind).values()]
    return all(
        one.__code__ in codes
        for one in held
        if isinstance(one, FunctionType) and one.__code__.co_filename == module.__file__
    )


def _kept(module: ModuleType, file: Path) -> CodeType | None:
    """Return what Python has kept of an earlier content of a file; None where it has no such."""
    kept = Path(getattr(module, "__cached__", None) or "")
    if sys.dont_write_bytecode or not os.access(kept.parent, os.W_OK):
        return None  # it may be of an import before the one in this process
    try:
        content, now = kept.read_bytes(), file.stat()
        told = struct.unpack("<4s3I", content[:16])
        is_now = told[2:] == (int(now.st_mtime) & 0xFFFFFFFF, now.st_size & 0xFFFFFFFF)
        if told[0] != MAGIC_NUMBER or told[1] or is_now:  # told[1]: goes by the source's digest
            return None
        code = marshal.loads(content[16:])  # noqa: S302 - as an import of the module does
    except (OSError, ValueError, EOFError, TypeError, struct.error):
        return None
    return code if isinstance(code, CodeType) else None


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _codes(const)


def _changed(path: str) -> CampaignError:
    return CampaignError(
        "the file has changed since this process imported it",
        place=path,
        hint="start Python anew, so that what runs is what the file says",
    )


def _running() -> Code | None:
    """Return the code that is running, None where it is the user's program."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        loader = getattr(frame.f_globals.get("__spec__"), "loader", None)
        if isinstance(loader, _Loader):
            return loader.code
        frame = frame.f_back
    return None


class _Finder(MetaPathFinder):
    """Finds modules of the user's by their bytes."""

    of_bytes = True

    def __init__(self, code: Code) -> None:
        self.code = code

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return how a module is loaded, None for one that is not known here.

        Raises:
            ModuleNotFoundError: The code itself imports a file that does not count.
        """
        if target is not None:  # a reload, which takes what the file says now
            return None
        top_level = fullname.partition(".")[0]
        if top_level not in self.code.top_level:
            return None
        running = _running()
        if running is not None and top_level not in running.top_level:
            return None  # which is of another campaign
        file = self.code.modules.get(fullname)
        if file is None:
            spec = self._namespace(fullname, path)
            if spec is None:
                self._refuse_what_does_not_count(fullname, path)
            return spec
        if not file.name.endswith(".py"):  # compiled: Python loads it from the file itself
            return spec_from_file_location(fullname, file.path)
        return spec_from_file_location(
            fullname,
            file.path,
            loader=_Loader(fullname, file, self.code),
            submodule_search_locations=[str(Path(file.path).parent)] if file.is_package else None,
        )

    def _namespace(self, fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
        """Return how a folder without ``__init__.py`` is loaded that holds modules known here."""
        depth = fullname.count(".") + 1
        folders = {
            str(Path(file.path).parents[name.count(".") - depth + file.is_package])
            for name, file in self.code.modules.items()
            if name.startswith(f"{fullname}.")
        }
        if not folders:
            return None
        spec = ModuleSpec(fullname, None, is_package=True)
        others = PathFinder.find_spec(fullname, path)  # parts of it that are installed
        more = [] if others is None else others.submodule_search_locations or ()
        spec.submodule_search_locations = [*dict.fromkeys([*sorted(folders), *more])]
        return spec

    def _refuse_what_does_not_count(self, fullname: str, path: Sequence[str] | None) -> None:
        spec = PathFinder.find_spec(fullname, path)
        if spec is None or not spec.has_location or not is_own(spec) or _running() is None:
            return
        raise ModuleNotFoundError(
            f"{fullname}, {spec.origin}, is imported in a way that was not seen, so it does not "
            f"count as part of the code; name it in a statement, `import {fullname}`",
            name=fullname,
        )


class _Loader(SourceFileLoader):
    """Loads a module from bytes that are known; tracebacks and resources are those of its file."""

    of_bytes = True

    def __init__(self, fullname: str, file: CodeFile, code: Code) -> None:
        super().__init__(fullname, file.path)
        self.content = file.content
        self.code = code

    def get_data(self, path: str) -> bytes:
        """Return the source, or another file of the package."""
        return self.content if path == self.path else super().get_data(path)

    def path_stats(self, path: str) -> Mapping[str, Any]:
        """Refuse: compiled files go by time and size, which may be those of another content."""
        raise OSError(f"{path}: its time does not count")
