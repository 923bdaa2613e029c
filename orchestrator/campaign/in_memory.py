"""Models and data that a script or a notebook holds, given in the place of a source.

The campaign has a text in their place, which says what they are; they themselves lie beside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from injecttf2.config.parameters import shown
from injecttf2.config.problems import AS_IN_A_FILE
from injecttf2.errors import CampaignError
from orchestrator.campaign.paths import IN_MEMORY
from orchestrator.campaign.sources import SourceSpec, expected_in_scripts

LIBRARIES = ("keras", "tf_keras", "tensorflow")
"""Packages whose classes models are of; which of them are models, the loader knows."""


def apart(data: Any) -> tuple[Any, dict[str, Any]]:
    """Return a campaign's values with texts for what is in memory, and that itself by its key.

    Args:
        data: The values; what is no mapping stays as it is, and so does what could be no model or
            data set.

    Raises:
        CampaignError: A model or a data set is neither.
    """
    held: dict[str, Any] = {}
    if not isinstance(data, Mapping):
        return data, held
    told = dict(data)
    for key, name in (("model", _model), ("dataset", _data)):
        given = data.get(key)
        said: Mapping[str, Any] = {}
        if isinstance(given, Mapping) and not (key == "dataset" and _is_arrays(given)):
            said = given
        value = said.get("source") if said else given
        if value is None or isinstance(value, str | os.PathLike | SourceSpec):
            continue
        if (text := name(value)) is not None:
            held[key] = value
            told[key] = {**said, "source": IN_MEMORY + text}
        elif not said and not isinstance(value, Mapping):
            raise CampaignError(
                f"received {shown(value)}, expected {expected_in_scripts(key)}",
                place=key,
                hint=AS_IN_A_FILE,
            )
    return told, held


def missing(key: str, source: str) -> CampaignError:
    """Return what to say where something was in the memory of another process."""
    what, todo = {
        "model": ("the model", "save it, model.save('model.keras')"),
        "dataset": ("the data set", "save it, numpy.savez('data.npz', x=inputs, y=labels)"),
    }[key]
    return CampaignError(
        f"{what} was in the memory of the process that made the campaign "
        f"({source.removeprefix(IN_MEMORY)}), and is not in this one",
        place=key,
        hint=f"{todo}, and give the file: --{key} FILE",
    )


def _model(value: Any) -> str | None:
    """Return what a model is; None where it is none."""
    kind = type(value)
    roots = {base.__module__.partition(".")[0] for base in kind.__mro__}
    if not roots.intersection(LIBRARIES):
        return _function(value)
    name = getattr(value, "name", None)
    layers = getattr(value, "layers", None)
    count = f", {len(layers)} layers" if isinstance(layers, list) else ""
    return f"{kind.__name__}{f' {name}' if isinstance(name, str) else ''}{count}"


def _data(value: Any) -> str | None:
    """Return what data are; None where they are none."""
    if hasattr(value, "element_spec"):
        return "tf.data.Dataset"
    if isinstance(value, Mapping):
        return _shapes(value.items())
    if isinstance(value, tuple | list):
        if len(value) != 2 or not all(map(_is_array, value)):
            return None
        return _shapes(zip(("inputs", "labels"), value, strict=True))
    return _function(value)


def _shapes(named: Any) -> str:
    return ", ".join(f"{name}{_shape(value)}" for name, value in named)


def _shape(value: Any) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is None:
        return ""
    return f" [{', '.join(map(str, shape))}]{f' {dtype}' if dtype is not None else ''}"


def _is_arrays(value: Mapping[Any, Any]) -> bool:
    """Return whether a mapping holds arrays by their names, not what a file says of a source."""
    return "source" not in value and bool(value) and all(map(_is_array, value.values()))


def _is_array(value: object) -> bool:
    """Return whether a value is an array, or several in a list, a tuple or a dict."""
    return hasattr(value, "shape") or isinstance(value, list | tuple | Mapping)


def _function(value: Any) -> str | None:
    if not callable(value):
        return None
    function: Callable[[], Any] = value
    return f"function {getattr(function, '__qualname__', type(function).__name__)}"
