"""Importing the user's own code from the bytes that count as part of what it does.

So what runs is what was digested, also in another process, where the files may not be, and no
folder has to stand on the Python path.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import cloudpickle

from injecttf2.errors import CampaignError
from injecttf2.own_code import MAIN, RESERVED, Code, CodeFile, Search, is_installed


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
        return cls(code, cloudpickle.dumps(value))

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
    forgotten = {name.partition(".")[0] for name in _stale(code)}
    for name in [name for name in sys.modules if name.partition(".")[0] in forgotten]:
        del sys.modules[name]
    for finder in [one for one in sys.meta_path if isinstance(one, _Finder) and one.code == code]:
        sys.meta_path.remove(finder)
    sys.meta_path.insert(0, _Finder(code))


def code_of_loaded(names: Iterable[str]) -> Code:
    """Return the code of modules that are loaded, and of all of the user's that they import.

    A main module without a file, such as a notebook, is none of it; the modules that the values in
    it come from are.

    Raises:
        CampaignError: A file cannot be read, or has changed since it was imported.
    """
    code = Code()
    for name in sorted(set(names)):
        module = sys.modules.get(name)
        top_level = name.partition(".")[0]
        if module is None or top_level in RESERVED:
            continue
        if file := getattr(module, "__file__", None):
            installed = Code(installed=frozenset({top_level}))
            is_own = not is_installed(Path(file))
            code |= _code_of_file(name, Path(file).absolute()) if is_own else installed
        elif name == MAIN:
            held = {_module_of(value) for value in vars(module).values()}
            code |= code_of_loaded(one for one in held if one not in ("", MAIN))
    return code


def _code_of_file(name: str, file: Path) -> Code:
    """Return the code of a module that was loaded from a file."""
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


_first_seen: WeakKeyDictionary[ModuleType, bytes] = WeakKeyDictionary()
"""What the files of modules held that the user's own program imported, when first looked at."""


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
        before = loader.code.modules
        return any(before.get(name) not in (None, one) for name, one in code.modules.items())
    if Path(getattr(module, "__file__", None) or "").resolve() != Path(file.path).resolve():
        return module.__name__ != MAIN
    if _first_seen.setdefault(module, file.content) != file.content:
        raise _changed(file.path)
    return False


def _changed(path: str) -> CampaignError:
    return CampaignError(
        "the file has changed since this process imported it",
        place=path,
        hint="start Python anew, so that what runs is what the file says",
    )


class _Finder(MetaPathFinder):
    """Finds modules of the user's by their bytes."""

    def __init__(self, code: Code) -> None:
        self.code = code

    def find_spec(
        self,
        fullname: str,
        path: object = None,  # noqa: ARG002
        target: object = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Return how a module is loaded, None for one that is not known here."""
        file = self.code.modules.get(fullname)
        if file is None:
            return self._namespace(fullname)
        if not file.name.endswith(".py"):  # compiled: Python loads it from the file itself
            return spec_from_file_location(fullname, file.path)
        return spec_from_file_location(
            fullname,
            file.path,
            loader=_Loader(fullname, file, self.code),
            submodule_search_locations=[str(Path(file.path).parent)] if file.is_package else None,
        )

    def _namespace(self, fullname: str) -> ModuleSpec | None:
        """Return how a folder without ``__init__.py`` is loaded that holds modules known here."""
        depth = fullname.count(".") + 1
        folders = {
            str(Path(file.path).parents[name.count(".") - depth + file.is_package])
            for name, file in self.code.modules.items()
            if name.startswith(f"{fullname}.")
        }
        spec = ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = sorted(folders)
        return spec if folders else None


class _Loader(SourceFileLoader):
    """Loads a module from bytes that are known; tracebacks and resources are those of its file."""

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
