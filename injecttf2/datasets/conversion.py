"""Arrays of what users' functions return: sparse matrices and frames of pandas too.

They are known by what they can do, so that neither SciPy nor pandas is loaded for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from injecttf2.errors import DatasetError

Array = np.ndarray[Any, np.dtype[Any]]

NUMBERS = "biuf"
"""Kinds of dtypes whose columns can stand side by side in one array."""


def as_array(value: Any) -> Array:
    """Return a value as an array.

    Sparse matrices and tensors become dense. A frame becomes an array of numbers, whose dtype holds
    those of all columns: true is 1.

    Raises:
        DatasetError: A column of a frame holds missing values, or something else than numbers.
        ValueError: NumPy can make no array of it.
    """
    if hasattr(value, "nnz") and hasattr(value, "toarray"):  # SciPy
        return np.asarray(value.toarray())
    if hasattr(value, "dense_shape") and hasattr(value, "indices"):  # TensorFlow
        import tensorflow as tf

        return np.asarray(tf.sparse.to_dense(tf.sparse.reorder(value)))
    if hasattr(value, "iloc") and hasattr(value, "columns"):
        columns = [_column(value.iloc[:, at], name) for at, name in enumerate(value.columns)]
        return np.stack(columns, axis=1) if columns else np.empty((len(value), 0))
    if hasattr(value, "iloc"):
        return _column(value, value.name)
    return np.asarray(value)


def _column(series: Any, name: object) -> Array:
    """Return a column of a frame as an array of numbers."""
    called = "the column" if name is None else f"the column {name!r}"
    missing = series.isna().to_numpy()
    values = np.asarray(series)
    if values.dtype.kind == "f":  # a NaN among floating-point numbers is told of with its sample
        return values
    if missing.any():
        raise DatasetError(
            f"{called} ({series.dtype}) holds {int(missing.sum()):,} missing values, the first in "
            f"row {int(missing.argmax())}",
            hint="fill them, `.fillna(...)`, or leave these rows out, before the function returns",
        )
    if values.dtype.kind == "O":  # numbers that no dtype of NumPy was chosen for
        values = np.asarray(list(series))
    if values.dtype.kind not in NUMBERS:
        raise DatasetError(
            f"{called} holds {series.dtype} values; expected numbers",
            hint="return numbers for them, for example `.astype('category').cat.codes`, or one "
            "column for each category, `pandas.get_dummies(...)`",
        )
    return values
