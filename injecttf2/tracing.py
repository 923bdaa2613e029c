"""What only shows when a model is run: shapes, masks, the layers inside a step, indices.

The whole model is traced once into a graph of TensorFlow's; nothing is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from injecttf2.errors import ModelError, todo
from injecttf2.hooks import Call, InnerOutput, watched
from injecttf2.indices import checks_in, used_as_indices
from injecttf2.steps import Step, Values, inner_layers, is_keras

UNUSUAL = (
    *(keras.layers.Lambda, keras.layers.Wrapper),
    *(keras.layers.Masking, keras.layers.Embedding),
)
"""Keras' own layers that may do what their symbolic tensors do not tell."""

TRACED_SAMPLES = 13
"""Samples in a trace of the model; a prime that is no size of a usual layer."""


@dataclass(frozen=True, eq=False)
class Trace:
    """What a trace of a model shows.

    Args:
        shapes: Shape of each tensor by key, the axis of the samples first.
        masks: Symbolic tensors of the masks that travel beside tensors.
        reads: By index of a step: the tensors that go in, each with the key of its mask or None.
        makes: By index of a step: tensors that come out beside which a new mask travels, and that.
        inner: By index of a step: what the layers inside it give out.
        silent: By index of a step: paths of layers inside it that are not called, and the layers.
        indices: Keys of tensors that are used as indices.
        checks: Types of operations that may well raise.
        tensors: Symbolic tensors that no step gives out: masks, and those inside steps.
    """

    shapes: dict[int, tuple[int | None, ...]] = field(default_factory=dict)
    masks: list[Any] = field(default_factory=list)
    reads: dict[int, list[tuple[int, int | None]]] = field(default_factory=dict)
    makes: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    inner: dict[int, list[InnerOutput]] = field(default_factory=dict)
    silent: dict[int, list[tuple[tuple[str, ...], Any]]] = field(default_factory=dict)
    indices: set[int] = field(default_factory=set)
    checks: set[str] = field(default_factory=set)
    tensors: list[Any] = field(default_factory=list)

    def read_by(self, step: Step) -> tuple[int, ...]:
        """Return the keys of what goes into a step, masks among them."""
        masks = (mask for _, mask in self.reads.get(step.index, ()) if mask is not None)
        return (*step.inputs, *masks)

    def made_by(self, step: Step) -> tuple[int, ...]:
        """Return the keys of what comes out of a step, masks among them."""
        return (*step.outputs, *(mask for _, mask in self.makes.get(step.index, ())))

    def has_masks(self, keys: Iterable[int]) -> bool:
        """Return whether masks are among or travel beside some tensors."""
        masks = {id(mask) for mask in self.masks}
        beside = {key for reads in self.reads.values() for key, mask in reads if mask is not None}
        beside |= {key for makes in self.makes.values() for key, _ in makes}
        return not (masks | beside).isdisjoint(keys)


def fixed_batch(inputs: Sequence[Any]) -> int | None:
    """Return how many samples a model takes at a time; None where that is any number.

    Args:
        inputs: Symbolic tensors that go in.

    Raises:
        ModelError: Its inputs do not agree.
    """
    given = {tensor.shape[0] for tensor in inputs} - {None}
    if len(given) > 1:
        described = ", ".join(f"{one.name} {tuple(one.shape)}" for one in inputs)
        raise ModelError(
            f"the inputs of the model take different numbers of samples at a time: {described}",
            hint="give all of them the same batch size, or none: keras.Input(shape)",
        )
    return given.pop() if given else None


def traced_samples(inputs: Sequence[Any]) -> int:
    """Return how many samples a trace of a model has."""
    return fixed_batch(inputs) or TRACED_SAMPLES


def trace(steps: Sequence[Step], keys: Sequence[int], specs: Sequence[tf.TensorSpec]) -> Trace:
    """Trace the steps of a model.

    Args:
        steps: All of them.
        keys: Keys of the model's inputs.
        specs: Shapes and dtypes of what goes in.

    Raises:
        Exception: Whatever the model raises on such inputs.
    """
    found = Trace()

    def forward(*given: Any) -> None:
        values: Values = dict(zip(keys, given, strict=True))
        masks: dict[int, tuple[Any, int]] = {}  # with the masks, so that their ids stay theirs
        for step in steps:
            if not step.is_input:
                _run(step, values, masks, found)
        found.shapes.update(
            (key, tuple(value.shape))
            for key, value in values.items()
            if value.shape.rank is not None
        )
        graph = tf.compat.v1.get_default_graph()
        used = used_as_indices(graph)
        found.checks.update(checks_in(graph, used))
        found.indices.update(
            key for key, one in values.items() if isinstance(one, tf.Tensor) and one.ref() in used
        )

    tf.function(forward, autograph=False).get_concrete_function(*specs)
    inside = [one.tensor for outputs in found.inner.values() for one in outputs]
    found.tensors.extend([*found.masks, *inside])
    return found


def traced(
    steps: Sequence[Step], inputs: Sequence[Any], shapes: Sequence[tuple[int | None, ...]]
) -> Trace:
    """Return what a trace shows; nothing where the model consists of plain layers of Keras' own.

    Args:
        steps: All steps of the model.
        inputs: Symbolic tensors that go in.
        shapes: Shapes of one sample of each.

    Raises:
        ModelError: The model cannot be run on samples of these shapes, as many as are traced.
    """
    unsized = any(None in tensor.shape[1:] for tensor in inputs)
    if not (unsized or any(map(_needs_trace, steps))):
        return Trace()
    samples = traced_samples(inputs)
    specs = [
        tf.TensorSpec((samples, *shape), tensor.dtype)
        for tensor, shape in zip(inputs, shapes, strict=True)
    ]
    try:
        return trace(steps, [id(tensor) for tensor in inputs], specs)
    except Exception as error:
        if any(None in shape for shape in shapes):
            return Trace()
        raise ModelError(
            f"the model cannot be run on {samples} samples, inputs of shape "
            f"{', '.join(str(tuple(spec.shape)) for spec in specs)}: "
            f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}",
            hint=todo(
                error,
                "it must take samples of that shape, and any number of them; one that takes a "
                "fixed number says so with keras.Input(batch_shape=(number, ...))",
            ),
        ) from error


def _run(step: Step, values: Values, masks: dict[int, tuple[Any, int]], found: Trace) -> None:
    """Run a step and note the masks that travel, and what the layers inside it give out."""

    def mask_of(key: int) -> int | None:
        mask = getattr(values[key], "_keras_mask", None)
        return masks[id(mask)][1] if id(mask) in masks else None

    found.reads[step.index] = [(key, mask_of(key)) for key in step.inputs]
    if inner_layers(step.operation):
        _run_watched(step, values, found)
    else:
        step.run(values)
    for key in step.outputs:
        mask = getattr(values[key], "_keras_mask", None)
        if isinstance(mask, tf.Tensor) and id(mask) not in masks:
            tensor = keras.KerasTensor((None, *mask.shape[1:]), dtype=mask.dtype.name)
            masks[id(mask)] = mask, id(tensor)
            values[id(tensor)] = mask
            found.masks.append(tensor)
            found.makes.setdefault(step.index, []).append((key, id(tensor)))


def _run_watched(step: Step, values: Values, found: Trace) -> None:
    outputs: list[InnerOutput] = []
    called: set[int] = set()

    def visit(call: Call, result: Any) -> Any:
        called.add(id(call.layer))
        tensors = keras.tree.flatten(result)
        places = [place for place, one in enumerate(tensors) if isinstance(one, tf.Tensor)]
        for place in places:
            one = tensors[place]
            shape = (None,) if one.shape.rank is None else (None, *one.shape[1:])
            tensor = keras.KerasTensor(shape, dtype=one.dtype.name)
            outputs.append(InnerOutput(call, place, len(places), tensor))
            if call.number:
                values[id(tensor)] = one
        return result

    with watched(step.operation, visit):
        step.run(values)
    found.inner[step.index] = outputs
    found.silent[step.index] = list(_silent(step.operation, (), called))


def _silent(
    layer: Any, path: tuple[str, ...], called: set[int]
) -> list[tuple[tuple[str, ...], Any]]:
    """Return the outermost layers inside a layer that were not called."""
    found: list[tuple[tuple[str, ...], Any]] = []
    for one in inner_layers(layer, recursive=False):
        own = (*path, one.name)
        if id(one) in called:
            found.extend(_silent(one, own, called))
        elif not isinstance(one, keras.layers.InputLayer):
            found.append((own, one))
    return found


def _needs_trace(step: Step) -> bool:
    """Return whether a step may do what its symbolic tensors do not tell.

    It may give out another first axis, which Keras' own layers do not, or a mask; have layers
    inside; or hold whole numbers, which are often indices, as those of a quantised layer may be.
    """
    operation = step.operation
    if step.is_input:
        return _whole_numbers(step)
    plain = isinstance(operation, keras.Layer) and is_keras(type(operation))
    return (
        not plain
        or isinstance(operation, UNUSUAL)
        or bool(inner_layers(operation))
        or bool(getattr(operation, "quantization_mode", None))
        or _whole_numbers(step)
    )


def _whole_numbers(step: Step) -> bool:
    return any("int" in tensor.dtype for tensor in step.made)
