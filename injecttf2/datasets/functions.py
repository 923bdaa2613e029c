"""Data that a user's program holds, or that a function of the user's returns."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from injecttf2.datasets import npz
from injecttf2.datasets.arrays import Raw, as_arrays
from injecttf2.datasets.model_input import ModelInput
from injecttf2.datasets.shapes import SEVERAL_SIZES
from injecttf2.errors import DatasetError
from injecttf2.user_code.references import call, findable, import_function


def read(
    reference: str, folder: Path | None, inputs: Sequence[ModelInput], *, samples: int | None
) -> Raw:
    """Return what a function returns: ``(inputs, labels)``, or a ``tf.data.Dataset`` of them.

    Args:
        reference: ``package.module:function``.
        folder: Where a module is looked up before the Python path.
        inputs: What the model takes.
        samples: How many to read of a ``tf.data.Dataset``; None reads all.

    Raises:
        DatasetError: There is no such function, or it raises or returns something else.
    """
    with findable(folder):
        function = import_function(reference, folder, DatasetError)
        return held(function, inputs, samples=samples, place=reference)


def held(value: Any, inputs: Sequence[ModelInput], *, samples: int | None, place: str) -> Raw:
    """Return data in memory.

    Args:
        value: ``(inputs, labels)``, a dict of arrays with the names of an ``.npz`` file, a
            ``tf.data.Dataset`` of (inputs, labels), or a function that returns one of these.
        inputs: What the model takes.
        samples: How many to read of a ``tf.data.Dataset``; None reads all.
        place: What to call them in errors.

    Raises:
        DatasetError: They are something else, or the function raises.
    """
    with contextlib.redirect_stdout(sys.stderr):  # standard output belongs to the command
        what = "this is"
        if callable(value) and not hasattr(value, "element_spec"):
            what, value = "the function returned", call(value, place, DatasetError)
        if hasattr(value, "element_spec"):
            from injecttf2.datasets import tf_data

            return tf_data.read(value, inputs, samples=samples, place=place)
    try:
        if isinstance(value, Mapping):
            raw = npz.named(value, inputs, place)
            return Raw(as_arrays(raw.inputs), as_arrays(raw.labels))
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise DatasetError(
                f"{what} {type(value).__name__}; "
                "expected (inputs, labels) or a tf.data.Dataset of them"
            )
        return Raw(as_arrays(value[0]), as_arrays(value[1]))
    except DatasetError as error:
        raise DatasetError(error.message, place=place, hint=error.hint) from None
    except ValueError as error:
        raise DatasetError(
            f"{what} something else than arrays, (inputs, labels): {error}",
            place=place,
            hint=SEVERAL_SIZES if "inhomogeneous" in str(error) else None,
        ) from error
