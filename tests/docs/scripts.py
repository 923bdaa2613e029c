"""The scripts in docs/, which are no package."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from tests.docs.pages import DOCS


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
