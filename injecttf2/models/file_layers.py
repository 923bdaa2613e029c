"""What the configuration in a model file tells of the layers, without loading TensorFlow.

A mistake in a campaign is then told at once. So nothing here may be wrong, and what a configuration
does not tell is left open: what a layer holds inside, how many outputs it gives, which dtype they
have. The addresses are those of ``graph.points``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from injecttf2.datasets.model_input import ModelInput
from injecttf2.errors import ModelError

WEIGHTED = {
    *("Dense", "EinsumDense", "Embedding", "BatchNormalization", "LayerNormalization"),
    *("Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
    *("SeparableConv1D", "SeparableConv2D", "DepthwiseConv1D", "DepthwiseConv2D"),
}
"""Layers with weights in one dtype and one output in the dtype that they compute in."""

PLAIN = WEIGHTED | {
    *("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "Rescaling", "Masking"),
    *("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot"),
    *("Flatten", "Reshape", "Permute", "RepeatVector", "Dropout", "SpatialDropout1D"),
    *("SpatialDropout2D", "SpatialDropout3D", "GaussianNoise", "GaussianDropout"),
    *("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", "Cropping1D", "Cropping2D", "Cropping3D"),
    *("UpSampling1D", "UpSampling2D", "UpSampling3D", "GroupNormalization", "UnitNormalization"),
    *(
        f"{kind}Pooling{axes}D"
        for kind in ("Average", "Max", "GlobalAverage", "GlobalMax")
        for axes in (1, 2, 3)
    ),
}
"""Classes of Keras' own with one output and without layers inside."""

WEIGHTLESS = PLAIN - WEIGHTED - {"PReLU", "GroupNormalization"}
"""Classes among them without any weights."""

GRAPHS = ("Sequential", "Functional", "Model")
"""Classes of models that run a graph of Keras'."""

NO_LAYERS = ("dtype", "_initializer", "_regularizer", "_constraint")
"""Ends of keys in a configuration under which no layer is."""

SEPARATORS = ("/", "#", ":")
"""What stands between the address of a layer and what tells its parts, calls and outputs apart."""


@dataclass(frozen=True)
class FileLayer:
    """An address.

    Args:
        layer: The address.
        type: Class of the layer.
        dtypes: dtype of its outputs and that of its weights, by target, as far as they are told.
        is_input: It is an input of the model.
        is_whole: No other address begins with this one and one of ``SEPARATORS``; where one may,
            this one itself may be missing.
        is_library: It is of a class of Keras' own.
        is_weightless: It has no weights.
    """

    layer: str
    type: str
    dtypes: tuple[tuple[str, str], ...] = ()
    is_input: bool = False
    is_whole: bool = True
    is_library: bool = True
    is_weightless: bool = False

    @property
    def in_all(self) -> bool:
        """Whether ``layers: all`` takes it."""
        return not self.is_input


@dataclass(frozen=True)
class FileModelLayers:
    """What a configuration tells.

    Args:
        layers: All addresses, but for what those that are not whole stand for.
        inputs: What the model takes, in its order; None where that is not told.
        is_library: It is made of what Keras has, so that loading it runs no other code.
    """

    layers: tuple[FileLayer, ...]
    inputs: tuple[ModelInput, ...] | None
    is_library: bool


def layers_in(config: Any) -> FileModelLayers | None:
    """Return what the configuration of a model tells; None where that is not enough.

    Args:
        config: As ``keras2_files.config_of`` returns it.
    """
    try:
        if _kind(config) not in GRAPHS:
            return None
        given = [_config(one) for one in _held(config) if _kind(one) == "InputLayer"]
        if not given:
            return None  # Keras gives it a name when it is loaded
        found = [FileLayer(str(one["name"]), "InputLayer", is_input=True) for one in given]
        found += _layers(config, "", 1)
        own = {str(one).split(".")[0] for one in _modules(config)} <= {"keras", "builtins"}
        return FileModelLayers(tuple(found), _inputs(config, given), own)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ModelError):
        return None  # it is broken, or of another version: loading it will tell


def _layers(graph: Any, within: str, calls: int) -> Iterator[FileLayer]:
    """Yield the layers of a graph that is called a number of times."""
    if not _has_its_masks(graph):
        raise ValueError
    for entry in _held(graph):
        path = within + _name(entry)
        kind = _kind(entry)
        if kind == "InputLayer":
            continue
        count = calls * (len(entry["inbound_nodes"]) if "inbound_nodes" in entry else 1)
        if kind in GRAPHS and _is_library(entry):
            yield from _layers(entry, f"{path}/", count)
            continue
        whole = _is_plain(entry)
        dtypes = _dtypes(entry) if whole and kind in WEIGHTED else ()
        for number in range(1, count + 1 if whole else 2):
            name = path if number == 1 else f"{path}#{number}"
            # The weights are those of the first call.
            known = dtypes if number == 1 else dtypes[:1]
            yield FileLayer(
                name,
                kind,
                known,
                is_whole=whole,
                is_library=_is_library(entry),
                is_weightless=whole and kind in WEIGHTLESS,
            )


def _modules(value: Any) -> Iterator[Any]:
    """Yield the names of modules in a configuration, from which it is made again."""
    if isinstance(value, dict):
        yield from (one for key, one in value.items() if key == "module" and one is not None)
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _modules(one)


def _inputs(config: Any, given: list[Any]) -> tuple[ModelInput, ...] | None:
    """Return what a model takes; None where it is more than one input or several in an order."""
    by_name = {str(one["name"]): _input(one) for one in given}
    if "input_layers" not in _config(config):
        return tuple(by_name.values())
    listed = _config(config)["input_layers"]
    if not isinstance(listed, list) or not listed:
        return None
    entries = listed if isinstance(listed[0], list) else [listed]
    if any(Counter(map(type, one)) != {str: 1, int: 2} for one in entries):
        return None
    return tuple(by_name[one[0]] for one in entries)


def _input(config: Any) -> ModelInput:
    shape = config.get("batch_shape") or config["batch_input_shape"]
    if not isinstance(config["dtype"], str):
        raise TypeError
    return ModelInput.named(str(config["name"]), tuple(shape[1:]), config["dtype"])


def _dtypes(entry: Any) -> tuple[tuple[str, str], ...]:
    """Return the dtype of outputs and that of weights, as the policy of a layer says."""
    policy = _config(entry).get("dtype")
    if isinstance(policy, dict):
        if _kind(policy) not in ("DTypePolicy", "Policy"):
            return ()
        policy = _config(policy)["name"]
    if policy in ("float16", "bfloat16", "float32", "float64"):
        return (("outputs", policy), ("weights", policy))
    if policy in ("mixed_float16", "mixed_bfloat16"):
        return (("outputs", policy.removeprefix("mixed_")), ("weights", "float32"))
    return ()


def _is_plain(entry: Any) -> bool:
    """Return whether a layer is one of Keras' own that has no layers inside and one output."""
    inner = (value for key, value in _config(entry).items() if not key.endswith(NO_LAYERS))
    return _kind(entry) in PLAIN and _is_library(entry) and not any(map(_holds_layer, inner))


def _has_its_masks(graph: Any) -> bool:
    """Return whether the operations by which masks are made are among the layers of a graph.

    Else Keras makes them, and their names, when the graph is loaded.
    """
    if _kind(graph) == "Functional" and "module" in graph:
        return True
    return not any(
        _kind(one) == "Masking" or _config(one).get("mask_zero")
        for one in _held(graph)
        if not (_kind(one) in GRAPHS and _is_library(one))
    ) and all(_is_plain(one) or _kind(one) in (*GRAPHS, "InputLayer") for one in _held(graph))


def _holds_layer(value: Any) -> bool:
    """Return whether a value in a configuration may be a layer, such as an activation."""
    if isinstance(value, dict):
        return "class_name" in value or any(map(_holds_layer, value.values()))
    return isinstance(value, list) and any(map(_holds_layer, value))


def _is_library(entry: Any) -> bool:
    module = entry.get("module") or "keras"  # an .h5 file does not tell
    own = str(module).split(".")[0] == "keras"
    return own and entry.get("registered_name") in (None, _kind(entry))


def _held(graph: Any) -> list[Any]:
    return list(_config(graph)["layers"])


def _config(entry: Any) -> dict[str, Any]:
    config = entry["config"]
    if not isinstance(config, dict):
        raise TypeError
    return config


def _name(entry: Any) -> str:
    name = str(_config(entry).get("name") or entry["name"])
    if {"#", ":"} & {*name}:
        raise ValueError  # numbers of calls and outputs avoid such names
    return name


def _kind(entry: Any) -> str:
    return str(entry["class_name"])
