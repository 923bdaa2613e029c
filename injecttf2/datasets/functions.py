"""Data that a user's function returns."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from injecttf2.datasets.arrays import Raw, as_arrays
from injecttf2.datasets.model_input import ModelInput
from injecttf2.datasets.shapes import SEVERAL_SIZES
from injecttf2.errors import DatasetError, UserError
from injecttf2.user_code.references import findable, import_function


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
    with (
        findable(folder),
        contextlib.redirect_stdout(sys.stderr),  # standard output belongs to the command
    ):
        function = import_function(reference, folder, DatasetError)
        try:
            result = function()
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            raise DatasetError(
                f"the function raised {type(error).__name__}: {error}", place=reference
            ) from error
        if hasattr(result, "element_spec"):
            from injecttf2.datasets import tf_data

            return tf_data.read(result, inputs, samples=samples, place=reference)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise DatasetError(
            f"the function returned {type(result).__name__}; "
            "expected (inputs, labels) or a tf.data.Dataset of them",
            place=reference,
        )
    try:
        return Raw(as_arrays(result[0]), as_arrays(result[1]))
    except DatasetError as error:
        raise DatasetError(error.message, place=reference, hint=error.hint) from None
    except ValueError as error:
        raise DatasetError(
            f"the function returned something else than arrays, (inputs, labels): {error}",
            place=reference,
            hint=SEVERAL_SIZES if "inhomogeneous" in str(error) else None,
        ) from error
