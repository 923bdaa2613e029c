"""Where results come from: versions, git state, machine.

The campaign's folder may hold a repository that somebody else has set up, and git's settings may
name programs (``core.fsmonitor``, filters, hooks, ``core.sshCommand``). So git is asked only for
what it reads from its database, which runs none of them, and files are compared here.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import socket
import subprocess
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

PACKAGES = ("injecttf2", "tensorflow", "keras", "tf_keras", "numpy", "ray", "pandas", "pyarrow")

ELSEWHERE = {
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_NAMESPACE"),
    *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CONFIG", "GIT_PREFIX"),
}
"""Variables by which git would look at another repository, as within one of its own hooks."""

NAMES = 200
"""Files that git is asked for at once, so that their paths fit into a command line."""

READ_ONLY = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",  # of what a partial clone lacks; by older versions not known:
    "GIT_ALLOW_PROTOCOL": "none",  # no way to fetch, which could run a program, is allowed
    "GIT_TERMINAL_PROMPT": "0",
}


def provenance(
    folder: Path, files: Iterable[Path] = (), packages: Collection[str] = ()
) -> dict[str, Any]:
    """Return what a successor needs to know to run a campaign again; nothing of it is run.

    Args:
        folder: The campaign file's folder; its git commit is recorded where it has one.
        files: Files that the campaign consists of; whether those in the repository are as in the
            commit is recorded.
        packages: Names by which the user's own code imports what is installed.
    """
    versions = {name: _version(name) for name in PACKAGES}
    return {
        "packages": {**versions, **_versions(set(packages) - set(PACKAGES))},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "cpus": os.cpu_count(),
        "git": _git(folder, files),
        "folder": str(folder),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _versions(modules: Collection[str]) -> dict[str, str | None]:
    """Return the versions of the packages that modules are of, by the packages' names."""
    if not modules:
        return {}
    known = importlib.metadata.packages_distributions()
    packages = {package for name in modules for package in known.get(name, [name])}
    return {package: _version(package) for package in sorted(packages)}


def _git(folder: Path, files: Iterable[Path]) -> dict[str, Any] | None:
    """Return the commit of the folder's repository, and whether files of it differ from that."""
    said = _run_git(folder, "rev-parse", "--show-toplevel", "HEAD")
    if said is None:
        return None
    top, commit = said.rsplit("\n", 1)
    within = [file for file in _resolved(files) if file.is_relative_to(top)]
    committed = _committed(Path(top), within)
    return {"commit": commit, "dirty": any(_differs(file, committed) for file in within)}


def _resolved(files: Iterable[Path]) -> list[Path]:
    return [file.resolve() for file in files]


def _committed(top: Path, files: Collection[Path]) -> dict[Path, str]:
    """Return the names that git gives to the contents of those files that are in the commit."""
    found: dict[Path, str] = {}
    names = [f":(literal){file.relative_to(top).as_posix()}" for file in files]
    for begin in range(0, len(names), NAMES):
        some = names[begin : begin + NAMES]
        listed = _run_git(top, "ls-tree", "-z", "HEAD", "--", *some) or ""
        for entry in filter(None, listed.split("\0")):
            said, _, name = entry.partition("\t")
            found[top / name] = said.split()[-1]
    return found


def _differs(file: Path, names: Mapping[Path, str]) -> bool:
    """Return whether a file is another than in the commit, or not in it."""
    committed = names.get(file)
    if committed is None:
        return True
    try:
        content = file.read_bytes()
    except OSError:
        return True
    return committed not in {_blob(content, committed), _blob(_unix(content), committed)}


def _unix(content: bytes) -> bytes:
    """Return text as git keeps it where it was told to change the ends of lines."""
    return content.replace(b"\r\n", b"\n")


def _blob(content: bytes, like: str) -> str:
    """Return the name that git gives to a content, by the algorithm of another name."""
    algorithm = "sha256" if len(like) == 64 else "sha1"
    return hashlib.new(algorithm, b"blob %d\0%b" % (len(content), content)).hexdigest()


def _run_git(folder: Path, *arguments: str) -> str | None:
    environment = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    try:
        result = subprocess.run(  # noqa: S603 - fixed words, a folder and the name of a file
            ["git", "-C", str(folder), *arguments],  # noqa: S607
            env={**environment, **READ_ONLY},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return os.fsdecode(result.stdout).removesuffix("\n") if result.returncode == 0 else None
