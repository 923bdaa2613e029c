"""Routes: how the steps behind a cut are taken, and where choices are kept.

A choice is kept in the user's cache under everything that it was measured with, so that other
processes on the same machine do not measure again. A cache that cannot be read or written is no
error: what it holds is measured anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import math
import os
import platform
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import platformdirs
import tensorflow as tf

from injecttf2.rules import RULES

SETTINGS = ("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA", "XLA_FLAGS", "TF_XLA_FLAGS")
"""Environment variables that change how kernels round."""


@dataclass(frozen=True)
class Route:
    """How the steps behind a cut are taken. It changes no outcome.

    Args:
        sparse: Steps that are taken on windows, from the first; 0 for none.
        check: Steps after which samples that are golden again leave; 0 for no check.
        head_batch: Samples in a batch up to the check.
        tail_batch: Samples in a batch behind it.
        head_jit: Whether XLA compiles the steps up to the check.
        tail_jit: Whether XLA compiles those behind it.
    """

    sparse: int
    check: int
    head_batch: int
    tail_batch: int
    head_jit: bool
    tail_jit: bool


@dataclass(frozen=True)
class Way:
    """A route with what was measured of it.

    Args:
        route: The route.
        bound: Most that rounding changes the distance of an output from golden.
    """

    route: Route
    bound: float


Ways = tuple[Way, ...]
"""What was found for a cut: ways that are tried one after another, each on the samples that the
one before leaves open; level ``dense`` follows them."""


class Routes:
    """What was found for the cuts of a model, and how long the longest search took in this process.

    Args:
        file: Where they are kept; None keeps them in this process only.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.search_seconds = 0.0
        self._file = file
        self._found = {} if file is None else _read(file)

    @classmethod
    def cached(cls, conditions: Mapping[str, Any]) -> Routes:
        """Return those that any process has found under the same conditions.

        Args:
            conditions: JSON values: model, data, levels, device, ... The processor, the versions
                of the libraries and this package's code are added, because rounding depends on
                them, and with it the bounds.
        """
        content = {
            **conditions,
            "processor": _processor(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "code": _code_digest(),
            "rules": sorted({_source(one) for one in RULES.values()}),
            "settings": {name: os.environ.get(name) for name in SETTINGS},
        }
        name = _digest(json.dumps(content, sort_keys=True).encode())
        return cls(Path(platformdirs.user_cache_dir("injecttf2")) / "routes" / f"{name}.json")

    def find(self, layer: str) -> Ways | None:
        """Return what was found for a layer, by this process or another, if anything was."""
        if layer not in self._found and self._file is not None:
            self._found = {**_read(self._file), **self._found}
        return self._found.get(layer)

    def keep(self, layer: str, ways: Ways, *, seconds: float = 0.0) -> None:
        """Keep what was found, beside what other processes have kept since.

        Args:
            layer: Address of the layer.
            ways: What was found.
            seconds: How long it took to find.
        """
        self.search_seconds = max(self.search_seconds, seconds)
        self._found[layer] = ways
        if self._file is None:
            return
        self._found = {**_read(self._file), **self._found}
        content = {name: [asdict(way) for way in ways] for name, ways in self._found.items()}
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            handle, aside = tempfile.mkstemp(dir=self._file.parent)
            with os.fdopen(handle, "w") as file:
                json.dump(content, file)
            Path(aside).replace(self._file)


def _read(file: Path) -> dict[str, Ways]:
    """Return what a file holds, nothing if it is not there or is not one of this version."""
    try:
        content = json.loads(file.read_text())
        return {layer: tuple(map(_way, entries)) for layer, entries in content.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _way(entry: Mapping[str, Any]) -> Way:
    bound = float(entry["bound"])
    if not math.isfinite(bound):
        raise ValueError(f"received the bound {bound}, expected a finite one")
    return Way(Route(**entry["route"]), bound)


def _processor() -> str:
    """Return the processor's name and what it can do, as far as the system tells."""
    told = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            told[name.strip()] = value.strip()
    found = [told[name] for name in ("model name", "flags", "Features") if name in told]
    return " ".join(found) or platform.processor() or platform.machine()


def _source(function: Callable[..., Any]) -> str:
    """Return the source of a rule, or its name where that cannot be read."""
    with contextlib.suppress(OSError, TypeError):
        return inspect.getsource(function)
    return f"{function.__module__}.{function.__qualname__}"


def _code_digest() -> str:
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return _digest(b"".join(file.read_bytes() for file in files))


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
