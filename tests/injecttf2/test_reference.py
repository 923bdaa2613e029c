"""The oracle knows nothing of the engine."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

ORACLE = (
    *("reference", "reference_calls", "reference_faults", "reference_protections"),
    *("reference_sites", "judging"),
)

OTHERS = {"keras", "numpy", "tensorflow", "tests"}


@pytest.mark.parametrize("name", ORACLE)
def test_the_oracle_imports_nothing_of_the_engine(name: str) -> None:
    imported = set()
    for node in ast.walk(ast.parse((TESTS / f"{name}.py").read_text())):
        if isinstance(node, ast.Import):
            imported |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {f"{node.module}.{one.name}" for one in node.names}
    assert {one.split(".")[0] for one in imported} <= OTHERS | sys.stdlib_module_names
    assert {one.split(".")[1] for one in imported if one.startswith("tests.")} <= {*ORACLE}
