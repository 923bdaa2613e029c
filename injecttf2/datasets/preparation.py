"""Making raw arrays what a model takes: selection, preprocessing, order, scale, shape and dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from injecttf2.bits import LAYOUTS
from injecttf2.config.spelling import nearest
from injecttf2.datasets import shapes
from injecttf2.datasets.arrays import Array, Arrays, Raw, mapped, parts
from injecttf2.datasets.dataset import Dataset
from injecttf2.datasets.labels import class_labels
from injecttf2.datasets.model_input import ModelInput
from injecttf2.datasets.pixels import are_scaled, range_of, sizes
from injecttf2.datasets.slots import in_words, name_in
from injecttf2.errors import DatasetError

Preprocess = Callable[[Arrays], Arrays]
"""Takes all samples at once and returns as many."""


@dataclass(frozen=True)
class Preparation:
    """How raw arrays become the model's inputs: ``(preprocess(x) * scale - mean) / std``.

    ``scale``, ``mean`` and ``std`` apply to each input; of a model with several, to those of
    floating-point values.

    Args:
        samples: How many samples to keep, from the first; None keeps all.
        scale: Factor; None is 1/255 for pixels that the model takes as floating-point values, does
            not scale by itself and that are not preprocessed, and 1 for any other; see
            :func:`pixels.are_scaled`.
        mean: Subtracted after scaling, one number or one a channel.
        std: Divided by after that, one number or one a channel.
        preprocess: Gets a copy of the raw inputs that are kept, all samples at once, as one array,
            a tuple or a dict, whatever the data are, and returns the same or another of these.
    """

    samples: int | None = None
    scale: float | None = None
    mean: float | Sequence[float] | None = None
    std: float | Sequence[float] | None = None
    preprocess: Preprocess | None = None


def prepare(
    raw: Raw,
    how: Preparation,
    inputs: Sequence[ModelInput],
    *,
    labels: Callable[[Arrays], Any] = class_labels,
) -> Dataset:
    """Return the raw data as the model takes them.

    Args:
        raw: Inputs and labels, as returned by ``load``.
        how: Selection, preprocessing and scaling.
        inputs: What the model takes, in its order.
        labels: What makes raw labels what the judge compares with; by default classes.

    Raises:
        DatasetError: The inputs do not fit the model, or labels are missing or do not fit.
    """
    values, marks, count = _counted(raw, how.samples)
    whole = values
    values, marks = (mapped(lambda array: array[: how.samples], a) for a in (values, marks))
    converted = labels(marks)
    if how.preprocess is not None:
        whole = values = _preprocessed(values, how.preprocess)
    prepared, told = [], []
    for found, array, one in zip(
        _in_order(whole, inputs), _in_order(values, inputs), inputs, strict=True
    ):
        with _at_input(one, inputs):
            fitted, done = _fitted(
                found, array, how, one, pixels=raw.pixels, alone=len(inputs) == 1
            )
            _check_finite(fitted)
        prepared.append(fitted)
        told.append(done)
    used = f"{len(prepared[0]):,}" + (f" of {count:,}" if len(prepared[0]) < count else "")
    if len(inputs) == 1:
        return Dataset(prepared[0], converted, f"{used} samples of {told[0]}")
    each = (f"{one.called}: {done}" for one, done in zip(inputs, told, strict=True))
    return Dataset(tuple(prepared), converted, "; ".join((f"{used} samples", *each)))


def check_shapes(raw: Raw, samples: int | None, inputs: Sequence[ModelInput] | None) -> None:
    """See that raw data have as many samples as are asked for, each of the model's shape.

    What they hold does not matter.

    Args:
        raw: Inputs and labels.
        samples: How many samples to keep; None keeps all.
        inputs: What the model takes, in its order; None where that is not known.

    Raises:
        DatasetError: They have not, as :func:`prepare` would say.
    """
    values, _, _ = _counted(raw, samples)
    if inputs is None:
        return
    for array, one in zip(_in_order(values, inputs), inputs, strict=True):
        with _at_input(one, inputs):
            shapes.fitted(_numbers(array), one.shape)


def check_finite(raw: Raw, samples: int | None, inputs: Sequence[ModelInput]) -> None:
    """See that raw data of the model's shapes hold no NaN or Inf, which no scale makes numbers.

    Args:
        raw: Inputs and labels.
        samples: How many samples to keep; None keeps all.
        inputs: What the model takes, in its order.

    Raises:
        DatasetError: They do, as :func:`prepare` would say.
    """
    for array, one in zip(_in_order(raw.inputs, inputs), inputs, strict=True):
        if array.dtype.kind == "f" and one.dtype.kind == "f":
            with _at_input(one, inputs):
                _check_finite(np.atleast_1d(array)[:samples])


@contextmanager
def _at_input(one: ModelInput, inputs: Sequence[ModelInput]) -> Iterator[None]:
    """Tell errors of an input with its name, where a model has several."""
    try:
        yield
    except DatasetError as error:
        if len(inputs) == 1:
            raise
        place = f"input {one.called!r}"
        raise DatasetError(error.message, place=place, hint=error.hint) from None


def _check_finite(values: Array) -> None:
    """See that no sample holds NaN or Inf, which layers hide in ways that devices differ in."""
    finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if not finite.all():
        raise DatasetError(
            f"{np.count_nonzero(~finite):,} of {len(values):,} samples hold NaN or Inf, the first "
            f"is sample {int(finite.argmin())}",
            hint="leave these samples out, or mend them with `preprocess`",
        )


def _counted(raw: Raw, samples: int | None) -> tuple[Arrays, Arrays, int]:
    """Return all inputs and labels, and how many there are of each."""
    values, marks = (mapped(np.atleast_1d, arrays) for arrays in (raw.inputs, raw.labels))
    count = _count(values, marks)
    if samples is not None and not 1 <= samples <= count:
        raise DatasetError(f"samples: {samples} asked for; the data set has {count}")
    return values, marks, count


def _count(inputs: Arrays, labels: Arrays) -> int:
    """Return the number of samples, in which all arrays agree."""
    counts = [[len(array) for array in parts(arrays)] for arrays in (inputs, labels)]
    found = {count for several in counts for count in several}
    if not all(counts) or len(found) != 1 or 0 in found:
        of_inputs, of_labels = (" and ".join(map(str, one)) or "no" for one in counts)
        several = max(map(len, counts)) > 1
        raise DatasetError(
            f"there are {of_inputs} inputs and {of_labels} labels; "
            "expected as many labels as inputs, and at least one",
            hint="a tuple or dict holds one array for each input or output of the model"
            if several
            else None,
        )
    return found.pop()


def _preprocessed(inputs: Arrays, preprocess: Preprocess) -> Arrays:
    """Return what a user's function makes of the inputs; it may not change how many there are."""
    samples = len(parts(inputs)[0])
    # A function may work in place, and the arrays may be somebody's.
    made = mapped(np.atleast_1d, preprocess(mapped(np.array, inputs)))
    counts = [len(array) for array in parts(made)]
    if not counts or set(counts) != {samples}:
        raise DatasetError(
            f"preprocess returned {' and '.join(map(str, counts)) or 'no'} samples; "
            f"expected {samples}, as many as it gets",
            hint="it gets all samples at once, along the first axis, and returns them so",
        )
    return made


def _in_order(values: Arrays, inputs: Sequence[ModelInput]) -> tuple[Array, ...]:
    """Return one array for each input of the model."""
    count = "one input" if len(inputs) == 1 else f"{len(inputs)} inputs"
    wanted = f"the model takes {count}, {in_words(inputs)}"
    if isinstance(values, dict):
        found = []
        for one in inputs:
            if (name := name_in(values, one, inputs)) is None:
                raise DatasetError(
                    f"{wanted}; the data have no {one.called!r}{nearest(one.called, values)}",
                    hint=f"received the inputs {', '.join(values)}",
                )
            found.append(values[name])
        return tuple(found)
    if len(several := parts(values)) != len(inputs):
        raise DatasetError(
            f"{wanted}; the data have {len(several)}",
            hint="give a dict of arrays by these names, or a tuple of arrays in this order; "
            "a single array or a list is one input",
        )
    if not all(one.ordered for one in inputs):
        raise DatasetError(
            f"{wanted}, by key; the data have {len(several)} in an order",
            hint="give a dict of arrays by these keys, as `predict` takes it: Keras sorts the keys "
            "of the dict that the model was made from, so a tuple does not tell which is which",
        )
    return several


def _fitted(
    whole: Array, array: Array, how: Preparation, one: ModelInput, *, pixels: bool, alone: bool
) -> tuple[Array, str]:
    """Return the values of one input as the model takes them, and what was done to them.

    Args:
        whole: All of them.
        array: Those that are used.
        how: What is to be done.
        one: The model's input.
        pixels: Whether they came from image files.
        alone: Whether the model has no other input.
    """
    found, array = shapes.fitted(_numbers(whole), one.shape), shapes.fitted(array, one.shape)
    applied, scaled, why = how, False, ""
    if one.takes_whole_numbers:
        applied = how if alone else Preparation()
    elif how.scale is None and how.preprocess is None and (pixels or array.dtype == np.uint8):
        shape = found.shape[1:]
        scaled, why = are_scaled(found, lambda: one.begins(shape), pixels=pixels)
        applied = replace(how, scale=1 / 255) if scaled else how
    fitted = np.ascontiguousarray(_cast(_scaled(array, applied), one.dtype))
    if scaled:
        _check_units(how)
    after = "" if how.preprocess is None else " after preprocess"
    what = f"{sizes(whole.shape[1:])}, {whole.dtype.name} {_told_range(whole)}{after}"
    return fitted, f"{what}, {_done(applied, fitted, why)}"


def _numbers(array: Array) -> Array:
    """Return an array that holds numbers."""
    if array.dtype.kind not in "biuf" and array.dtype.name not in LAYOUTS:
        raise DatasetError(f"the inputs have dtype {array.dtype}; expected numbers")
    return array


def _check_units(how: Preparation) -> None:
    """Refuse a mean or std of pixels from 0 to 255 for pixels that were scaled before it."""
    for name, given in (("mean", how.mean), ("std", how.std)):
        if given is not None and (largest := np.max(given)) > 1:
            raise DatasetError(
                f"{name} is {largest:g}, but pixels are scaled by 1/255 before it, to 0 to 1",
                hint="say `scale: 1` if it is that of pixels from 0 to 255; otherwise say "
                "`scale: 1/255`",
            )


def _done(applied: Preparation, fitted: Array, why: str) -> str:
    """Return what was done to an input, and what the model gets."""
    steps = []
    if applied.scale not in (None, 1):
        scale = "1/255" if applied.scale == 1 / 255 else f"{applied.scale:g}"
        steps.append(f"scaled by {scale}")
    steps += [
        f"{what} {', '.join(f'{number:g}' for number in np.atleast_1d(given))}"
        for what, given in (("less the mean", applied.mean), ("over the std", applied.std))
        if given is not None
    ]
    if not steps:
        return f"as they are: {why}" if why else "as they are"
    return f"{', '.join(steps)}: {_told_range(fitted)}"


def _told_range(array: Array) -> str:
    low, high = range_of(array)
    return f"{low:.4g} to {high:.4g}"


def _cast(inputs: Array, dtype: np.dtype[Any]) -> Array:
    """Return the inputs in the model's dtype; whole numbers must stay what they are."""
    with np.errstate(invalid="ignore"):  # NaN and Inf are no whole numbers; refused below
        cast = inputs.astype(dtype, copy=False)
    if dtype.kind in "biu" and not (same := cast == inputs).all():
        first = inputs[~same][0]
        raise DatasetError(
            f"the model takes whole numbers, {dtype.name}; received {first} in the data",
            hint="give inputs of that dtype, for example token ids, and no scale, mean or std",
        )
    return cast


def _scaled(inputs: Array, how: Preparation) -> Array:
    """Apply scale, mean and std in float32, or in float64 for float64 data."""
    scale = how.scale
    if scale is None and how.mean is None and how.std is None:
        return inputs
    work = np.float64 if inputs.dtype == np.float64 else np.float32
    scaled: Array = inputs.astype(work)
    if scale is not None:
        scaled = scaled * work(scale)
    if how.mean is not None:
        scaled = scaled - _per_channel("mean", how.mean, scaled)
    if how.std is not None:
        scaled = scaled / _per_channel("std", how.std, scaled)
    return scaled


def _per_channel(name: str, numbers: float | Sequence[float], inputs: Array) -> Array:
    """Return one number, or one for each channel, in the dtype of the inputs."""
    array = np.asarray(numbers, inputs.dtype)
    if array.shape not in ((), (1,), inputs.shape[1:][-1:]):
        raise DatasetError(
            f"{name} has {array.size} numbers; the data have {inputs.shape[-1]} channels",
            hint="give one number, or one for each channel",
        )
    return array
