"""Private names of libraries that the package uses: told here when a release takes one away."""

from __future__ import annotations

import importlib
import re

import pytest

from tests.docs.pages import ROOT

PRIVATE = {
    "keras": ("_flatten_layers", "keras.src.backend.common.global_state"),
    "tensorflow": (
        "tensorflow.python.autograph.core.ag_ctx.ControlStatusCtx",
        "tensorflow.python.framework.function_def_to_graph.function_def_to_graph_def",
        "tensorflow.python.framework.op_def_registry.get",
        "tensorflow.python.util._pywrap_util_port.IsMklEnabled",
    ),
}


def test_no_other_private_module_is_imported() -> None:
    found = set()
    for file in [*(ROOT / "injecttf2").rglob("*.py"), *(ROOT / "orchestrator").rglob("*.py")]:
        for module, names in re.findall(
            r"from ((?:keras\.src|tensorflow\.python)[\w.]*) import (.*)", file.read_text()
        ):
            found |= {f"{module}.{name.strip()}" for name in names.split(",")}
    known = {name for names in PRIVATE.values() for name in names}
    assert {name for name in found if not any(one.startswith(name) for one in known)} == {
        "tensorflow.python.autograph.core.ag_ctx.Status"
    }


@pytest.mark.parametrize("name", [n for names in PRIVATE.values() for n in names if "." in n])
def test_it_is_there(name: str) -> None:
    module, _, last = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ImportError:
        assert hasattr(importlib.import_module(module), last)


def test_layers_tell_their_layers() -> None:
    import keras
    import tf_keras

    assert hasattr(keras.layers.Layer, "_flatten_layers")
    assert hasattr(tf_keras.layers.Layer, "_flatten_layers")
