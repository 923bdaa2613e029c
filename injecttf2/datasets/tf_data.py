"""Data in a ``tf.data.Dataset`` of (inputs, labels), batched or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from injecttf2.datasets.arrays import Array, Raw, flat, parts, rebuilt
from injecttf2.datasets.model_input import ModelInput
from injecttf2.datasets.shapes import SEVERAL_SIZES
from injecttf2.datasets.slots import name_in
from injecttf2.errors import DatasetError


def read(
    dataset: tf.data.Dataset,
    inputs: Sequence[ModelInput],
    *,
    samples: int | None = None,
    place: str | None = None,
) -> Raw:
    """Return the first samples of a data set, in its order.

    Args:
        dataset: Of elements (inputs, labels), each a dense tensor, a tuple or a dict of them.
        inputs: What the model takes.
        samples: How many to read, fewer if it ends before; None reads all.
        place: What to call it in errors.

    Raises:
        DatasetError: It has other elements, none at all, never ends, fails, or its samples differ
            in shape; or nothing tells whether it is batched.
    """
    spec = _checked_spec(dataset, place)
    batched = is_batched(spec[0], inputs, place=place)
    if samples is None and int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY:
        raise DatasetError(
            "the data set never ends",
            place=place,
            hint="say how many samples to read: `samples: N` in the campaign file's `dataset:` "
            "mapping",
        )
    columns: list[list[Any]] = [[] for part in spec for _ in parts(part)]
    read_so_far = 0
    for element in _elements(dataset, place):
        values = [value for part in element for value in parts(flat(part))]
        for column, value in zip(columns, values, strict=True):
            column.append(value)
        read_so_far += len(values[0]) if batched else 1
        if samples is not None and read_so_far >= samples:
            break
    if not read_so_far:
        raise DatasetError("the data set is empty; expected at least one sample", place=place)
    arrays = [_joined(column, batched=batched, place=place) for column in columns]
    count = len(parts(spec[0]))
    return Raw(rebuilt(spec[0], arrays[:count]), rebuilt(spec[1], arrays[count:]))


def is_batched(spec: Any, inputs: Sequence[ModelInput], *, place: str | None = None) -> bool:
    """Return whether elements are batches, from their shapes and those of the model's inputs.

    They are batches if they fit the model without their first axis, and samples if they fit it with
    it; a channel axis may be missing where the model wants one channel. What fits neither way has
    only the number of its axes compared.

    Args:
        spec: Element spec of the inputs, without nesting.
        inputs: What the model takes.
        place: What to call the data set in errors.

    Raises:
        DatasetError: The shapes are unknown, or are neither those of samples nor of batches.
    """
    if isinstance(spec, dict):
        names = [(name_in(spec, one, inputs), one) for one in inputs]
        pairs = [(spec[name].shape, one) for name, one in names if name is not None]
    else:
        specs = parts(spec)
        pairs = [(one.shape, model) for one, model in zip(specs, inputs, strict=False)]
    for shape, one in pairs:
        if shape.rank is None:
            raise DatasetError(
                f"the shape of its elements for the input {one.name!r} is unknown",
                place=place,
                hint="give tf.data.Dataset.from_generator an output_signature, or call "
                "tf.ensure_shape",
            )
        if (answer := _has_batch_axis(tuple(shape), one.shape)) is not None:
            return answer
    shown = ", ".join(f"{tuple(shape)} for {one.name}, {one.shape}" for shape, one in pairs)
    raise DatasetError(
        f"it cannot be told whether its elements are samples or batches: {shown or spec}",
        place=place,
        hint="give the inputs as the model takes them, by name or in its order, or return arrays",
    )


def _has_batch_axis(found: tuple[int | None, ...], shape: tuple[int | None, ...]) -> bool | None:
    """Return whether a tensor has one axis more than a sample; None where neither fits."""
    sample, batch = _fits(found, shape), bool(found) and _fits(found[1:], shape)
    if sample and batch:  # with and without a channel axis
        return found[0] is None and shape[0] is not None
    if sample or batch:
        return batch
    return {0: False, 1: True}.get(len(found) - len(shape))


def _fits(found: tuple[int | None, ...], shape: tuple[int | None, ...]) -> bool:
    wanted = [shape, shape[:-1]] if shape[-1:] == (1,) else [shape]
    return any(tf.TensorShape(found).is_compatible_with(one) for one in wanted)


def _checked_spec(dataset: Any, place: str | None) -> tuple[Any, Any]:
    found = dataset.element_spec
    if not isinstance(found, tuple) or len(found) != 2:
        what = f"{len(found)} parts" if isinstance(found, tuple) else "no labels"
        raise DatasetError(
            f"its elements have {what}; expected (inputs, labels)",
            place=place,
            hint="tf.data.Dataset.from_tensor_slices((inputs, labels)) makes such a data set",
        )
    spec = flat(found[0]), flat(found[1])
    for part in spec:
        for one in parts(part):
            if not isinstance(one, tf.TensorSpec):
                raise DatasetError(
                    f"its elements hold {one}; expected dense tensors, one, a tuple or a dict",
                    place=place,
                    hint="tf.sparse.to_dense makes them dense, in a function for its map()"
                    if isinstance(one, tf.SparseTensorSpec)
                    else None,
                )
    return spec


def _elements(dataset: tf.data.Dataset, place: str | None) -> Iterator[tuple[Any, Any]]:
    try:
        yield from dataset.as_numpy_iterator()
    except tf.errors.OpError as error:
        reason = str(error.message).strip().splitlines() or [""]
        raise DatasetError(
            f"reading the data set raised {type(error).__name__}: {reason[0]}", place=place
        ) from error


def _joined(column: Sequence[Any], *, batched: bool, place: str | None) -> Array:
    try:
        return np.concatenate(column) if batched else np.stack(column)
    except ValueError as error:
        raise DatasetError(
            "the samples differ in shape; expected the same shape for all inputs and all labels",
            place=place,
            hint=SEVERAL_SIZES,
        ) from error
