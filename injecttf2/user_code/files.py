"""The user's own code that a campaign names: its files, found without running anything.

A fault, judge, metric, criterion or model does what its module does and the modules that this one
imports. All of their files are part of what it is, byte for byte, comments too. They are found by
reading ``import`` statements, wherever in a file they stand; modules of Python's, of this package
and of installed packages are left out. Code that is named by a variable when it is imported could
be any: all modules of the folder or package count then.

``importing`` imports from the same bytes.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import site
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from pkgutil import get_importer, iter_modules

from injecttf2.errors import CampaignError

PRODUCT = frozenset({"injecttf2", "orchestrator", "results"})

RESERVED = PRODUCT.union(
    sys.stdlib_module_names,
    ("keras", "ml_dtypes", "numpy", "scipy", "sklearn", "tensorflow"),
    ("cloudpickle", "jinja2", "pandas", "platformdirs", "plotly", "pyarrow"),
    ("pydantic", "ray", "rich", "typer", "yaml"),
)
"""Modules that no file beside a campaign stands in for: Python or this package needs them."""

IMPORTING = frozenset({"import_module", "__import__"})
"""Functions that import what they are told first."""

BY_VARIABLE = {"spec_from_file_location", "run_path", "run_module", "SourceFileLoader"}
"""Functions that import, or run, what only their arguments tell."""

LOOKING_UP = {"pkgutil": "resolve_name", "pydoc": "locate"}
"""Functions of Python's modules that import what the name of something in a module tells."""

MAIN = "__main__"


def is_of_bytes(part: object) -> bool:
    """Return whether a finder or loader is of ``importing``: it tells of an earlier campaign."""
    return getattr(part, "of_bytes", False)


@dataclass(frozen=True)
class CodeFile:
    """A file of the user's.

    Args:
        name: Its place as modules are named: ``tables.py``, ``package/__init__.py``.
        path: Where it lies on the machine that found it.
        content: Its bytes.
    """

    name: str
    path: str
    content: bytes

    @property
    def is_package(self) -> bool:
        """Whether it is the ``__init__`` of a package."""
        return Path(self.name).stem.partition(".")[0] == "__init__"

    @cached_property
    def digest(self) -> str:
        """The 128-bit blake2b digest of its bytes, hexadecimal."""
        return hashlib.blake2b(self.content, digest_size=16).hexdigest()


@dataclass(frozen=True)
class Code:
    """Files of the user's that belong together; none of what is installed.

    Args:
        modules: The files by the name of their module.
        installed: Names of the installed packages that they import.
    """

    modules: Mapping[str, CodeFile] = field(default_factory=dict)
    installed: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.modules)

    def __or__(self, other: Code) -> Code:
        for name in self.modules.keys() & other.modules.keys():
            mine, its = self.modules[name], other.modules[name]
            if mine.content != its.content:
                raise CampaignError(
                    f"two files are the module {name!r}, and a process has only one",
                    place=f"{mine.path}, {its.path}",
                    hint="give one of them another name",
                )
        return Code({**self.modules, **other.modules}, self.installed | other.installed)

    def of(self, name: str) -> dict[str, CodeFile]:
        """Return the files of one of its modules and of those that this one imports."""
        found: dict[str, CodeFile] = {}
        waiting = [name]
        while waiting:
            for one in _with_parents(waiting.pop()):
                if one in self.modules and one not in found:
                    found[one] = self.modules[one]
                    waiting += self.imported(one)
        return found

    @cached_property
    def top_level(self) -> frozenset[str]:
        """The packages, and modules in none, that its modules are in."""
        return frozenset(name.partition(".")[0] for name in self.modules)

    def imported(self, name: str) -> Iterator[str]:
        """Yield what one of its modules may import, whether it is there or not."""
        file = self.modules[name]
        package = name if file.is_package else name.rpartition(".")[0]
        for told in _imports(file.content):
            absolute = _absolute(told.rstrip("*"), package)
            if absolute is not None and told.endswith("*"):
                yield from (one for one in self.modules if one.startswith(absolute.rstrip(".")))
            elif absolute is not None:
                yield absolute

    @cached_property
    def files(self) -> dict[str, str]:
        """The digest of each file by its name."""
        return dict(sorted((file.name, file.digest) for file in self.modules.values()))

    @cached_property
    def digest(self) -> str:
        """The 128-bit blake2b digest of names and contents, hexadecimal; empty without files."""
        if not self:
            return ""
        return hashlib.blake2b(json.dumps(self.files).encode(), digest_size=16).hexdigest()


def code_of(reference: str, folder: Path | None = None) -> Code:
    """Return the code of ``package.module``, and of all modules of the user's that it imports.

    Args:
        reference: The module's name, or ``package.module:function``.
        folder: Where modules are looked up before the Python path.

    Raises:
        CampaignError: A file cannot be read.
    """
    path = sys.path if folder is None else [str(folder.absolute()), *sys.path]
    return Search(path).code([reference.partition(":")[0]])


@dataclass
class Search:
    """Looks for modules on a path.

    Args:
        path: Folders, those that come first first.
        known: What was found, by the name of the module.
    """

    path: Sequence[str]
    known: dict[str, ModuleSpec | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        importlib.invalidate_caches()  # files may be newer than what Python knows of their folders

    def code(self, names: Iterable[str]) -> Code:
        """Return the code of some modules and of what they import."""
        modules: dict[str, CodeFile] = {}
        installed: set[str] = set()
        waiting = list(names)
        seen: set[str] = set()
        while waiting:
            for name in _with_parents(waiting.pop()):
                if name in seen:
                    continue
                seen.add(name)
                spec = self.spec(name)
                if spec is None:
                    break
                if not is_own(spec):
                    installed.add(name.partition(".")[0])
                    break
                if spec.origin is None or not spec.has_location:
                    continue  # a folder without __init__.py
                file = _read(name, Path(spec.origin))
                modules[name] = file
                waiting += self._imported(name, file)
        return Code(modules, frozenset(installed - sys.stdlib_module_names))

    def spec(self, name: str) -> ModuleSpec | None:
        """Return where a module lies; None where there is none."""
        if name not in self.known:
            self.known[name] = self._spec(name)
        return self.known[name]

    def _spec(self, name: str) -> ModuleSpec | None:
        above, _, _ = name.rpartition(".")
        if not above:
            if name in PRODUCT:
                return None
            beside = None if name in RESERVED else _found_in(self.path, name)
            return beside or _found_otherwise(name)
        parent = self.spec(above)
        folders = None if parent is None else parent.submodule_search_locations
        return None if folders is None else _found_in(folders, name)

    def _imported(self, name: str, file: CodeFile) -> Iterator[str]:
        """Yield the names of modules that a file may import."""
        package = name if file.is_package else name.rpartition(".")[0]
        for found in _imports(file.content):
            absolute = _absolute(found.rstrip("*"), package)
            if absolute is None:
                continue
            if not found.endswith("*"):
                yield absolute
            elif inside := absolute.rstrip("."):
                yield from self._inside(inside)
            else:
                yield from self._modules("", [str(Path(file.path).parent)])

    def _inside(self, package: str) -> Iterator[str]:
        """Yield the modules of a package of the user's, and of packages in it."""
        spec = self.spec(package)
        if spec is not None and is_own(spec):
            yield from self._modules(f"{package}.", list(spec.submodule_search_locations or ()))

    def _modules(self, prefix: str, folders: list[str]) -> Iterator[str]:
        for one in iter_modules(folders, prefix):
            yield one.name
            if one.ispkg:
                yield from self._inside(one.name)


@lru_cache(maxsize=1024)
def _imports(content: bytes) -> tuple[str, ...]:
    return tuple(_imported_names(_parsed(content)))


def _imported_names(tree: ast.Module) -> Iterator[str]:
    """Yield what a file imports: names, relative ones with dots before, ``*`` behind for all in it.

    ``from package import name`` may take a module or something of the package: both are tried.
    """
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    importing = {*IMPORTING, *BY_VARIABLE, *_looking_up(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield base
            joined = base if base.endswith(".") else f"{base}."
            yield from (joined + alias.name for alias in node.names)
            if any(alias.asname and alias.name in importing for alias in node.names):
                yield ".*"
        elif isinstance(node, ast.Name | ast.Attribute) and _name(node) in importing:
            yield from _told(calls.get(id(node)))


def _looking_up(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (LOOKING_UP.get(alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield LOOKING_UP.get(node.module or "", "")


def _told(call: ast.Call | None) -> Iterator[str]:
    """Yield what a call that is told a constant imports; all there is for any other mention."""
    given = None if call is None else _constant(call.args[:1])
    function = None if call is None else _name(call.func)
    if call is None or given is None or function in BY_VARIABLE:
        yield ".*"
        if above := _beginning(call).rpartition(".")[0]:
            yield f"{above}.*"
    elif function in LOOKING_UP.values():
        yield given.partition(":")[0]
    elif function == "__import__":
        yield given
        if len(call.args) > 1 or call.keywords:  # modules in it, or of a package above
            yield from (f"{given}.*", ".*")
    else:
        yield _relative(given, call)


def _beginning(call: ast.Call | None) -> str:
    """Return how a text begins that is put together, such as ``f"plugins.{name}"``."""
    first: ast.expr | None = call.args[0] if call is not None and call.args else None
    while isinstance(first, ast.BinOp):
        first = first.left
    if isinstance(first, ast.JoinedStr):
        return _constant(first.values[:1]) or ""
    return _constant([] if first is None else [first]) or ""


def _relative(given: str, call: ast.Call) -> str:
    """Return what ``import_module`` is told, with the package that it is told beside."""
    beside = [*call.args[1:], *(one.value for one in call.keywords if one.arg == "package")]
    if not given.startswith(".") or not beside:
        return given
    if _name(beside[0]) in {"__package__", "__name__"}:
        return given
    package = _constant(beside[:1])
    return ".*" if package is None else _absolute(given, package) or ".*"


def _constant(given: Sequence[ast.expr]) -> str | None:
    """Return the string that an argument is; None for none, or any other."""
    value = given[0].value if given and isinstance(given[0], ast.Constant) else None
    return value if isinstance(value, str) else None


def _name(called: ast.expr) -> str | None:
    return getattr(called, "attr", None) or getattr(called, "id", None)


def _parsed(content: bytes) -> ast.Module:
    """Return the tree of a source; an empty one for what is none, which cannot be imported."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):
        return ast.Module([], [])


def _absolute(name: str, package: str) -> str | None:
    """Return the absolute form of a name that may be relative to ``package``."""
    bare = name.lstrip(".")
    level = len(name) - len(bare)
    if not level:
        return bare
    parts = package.split(".") if package else []
    if level - 1 > len(parts):
        return None
    return ".".join([*parts[: len(parts) - level + 1], bare]).strip(".")


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[: end + 1]) for end in range(len(parts)) if parts[0])


def _found_in(folders: Iterable[str], name: str) -> ModuleSpec | None:
    """Return what Python would find; its own search asks for packages above that are loaded."""
    parts: list[str] = []
    for folder in folders:
        finder = get_importer(folder or str(Path.cwd()))
        spec = None if finder is None else finder.find_spec(name)
        if spec is not None and spec.loader is not None:
            return spec
        parts += [] if spec is None else spec.submodule_search_locations or ()
    if not parts:
        return None
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = parts
    return spec


def _found_otherwise(name: str) -> ModuleSpec | None:
    """Return what other ways to import find, such as those of packages in development."""
    try:
        if name in sys.modules:
            spec = find_spec(name)
            if spec is None or not is_of_bytes(spec.loader):
                return spec
        for finder in sys.meta_path:
            if not is_of_bytes(finder) and (spec := finder.find_spec(name, None)):
                return spec
    except (ImportError, ValueError):
        pass
    return None


def _read(module: str, path: Path) -> CodeFile:
    """Return a file, named by its module; a link is what it leads to."""
    ending = "".join(path.suffixes)
    stem = f"{module.replace('.', '/')}/__init__" if path.stem == "__init__" else module
    name = f"{MAIN}:{path.name}" if module == MAIN else f"{stem.replace('.', '/')}{ending}"
    try:
        return CodeFile(name, str(path), path.read_bytes())
    except OSError as error:
        raise CampaignError(
            f"cannot be read: {error.strerror or error}", place=str(path)
        ) from error


def is_own(spec: ModuleSpec) -> bool:
    """Return whether a module is the user's, neither Python's nor installed."""
    if spec.has_location and spec.origin is not None:
        return not is_installed(Path(spec.origin))
    folders = list(spec.submodule_search_locations or ())
    return any(not is_installed(Path(folder)) for folder in folders)


@cache
def _installed_folders() -> tuple[Path, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    found = [*map(sysconfig.get_path, names), *site.getsitepackages(), site.getusersitepackages()]
    return tuple(Path(one) for one in found)


def is_installed(path: Path) -> bool:
    """Return whether a file is Python's, or of a package that was installed."""
    if {"site-packages", "dist-packages"} & {*path.parts}:
        return True
    return any(path.is_relative_to(folder) for folder in _installed_folders())
