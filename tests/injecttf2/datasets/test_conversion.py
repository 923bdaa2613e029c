"""Sparse matrices and frames of pandas as data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf

from injecttf2 import datasets
from injecttf2.datasets import ModelInput, Preparation, as_arrays
from injecttf2.errors import DatasetError

DENSE = np.asarray([[0, 2, 0], [0, 0, 3]], np.float32)


@pytest.mark.parametrize(
    "sparse",
    [
        scipy.sparse.csr_matrix(DENSE),
        scipy.sparse.coo_array(DENSE),
        tf.sparse.from_dense(DENSE),
        tf.SparseTensor([[1, 2], [0, 1]], np.asarray([3, 2], np.float32), (2, 3)),
    ],
)
def test_what_is_sparse_becomes_dense(sparse: Any) -> None:
    for value in (as_arrays(sparse), *as_arrays((sparse, DENSE))[:1]):
        assert isinstance(value, np.ndarray)
        assert (value.dtype.name, value.tolist()) == ("float32", DENSE.tolist())


@pytest.mark.parametrize(
    ("columns", "dtype", "values"),
    [
        ({"a": [True, False], "b": [1.5, 2.0]}, "float64", [[1, 1.5], [0, 2]]),
        ({"a": [True, False], "b": np.int8([1, 2])}, "int8", [[1, 1], [0, 2]]),
        ({"a": [True, False]}, "bool", [[1], [0]]),
        ({"a": pd.array([1, 2], "Int64"), "b": [True, False]}, "int64", [[1, 1], [2, 0]]),
        ({"a": pd.array([True, False], "boolean"), "b": [3, 4]}, "int64", [[1, 3], [0, 4]]),
        ({"a": pd.array([1.5, 2.5], "Float32")}, "float32", [[1.5], [2.5]]),
        ({"a": pd.array([1, 0], "int64[pyarrow]")}, "int64", [[1], [0]]),
        ({"a": pd.Categorical([5, 3])}, "int64", [[5], [3]]),
        ({"a": np.asarray([1, 2.5], object)}, "float64", [[1], [2.5]]),
        ({"a": pd.arrays.SparseArray([0, 7])}, "int64", [[0], [7]]),
    ],
)
def test_frames_become_arrays_of_numbers(columns: Any, dtype: str, values: Any) -> None:
    array = as_arrays(pd.DataFrame(columns))
    assert isinstance(array, np.ndarray)
    assert (array.dtype.name, array.tolist()) == (dtype, values)


def test_series_become_arrays_of_their_own_dtype() -> None:
    assert as_arrays(pd.Series([1, 0], dtype="Int8")).dtype == np.int8  # type: ignore[union-attr]
    flags = as_arrays({"y": pd.Series([True, False], dtype="boolean")})
    assert isinstance(flags, dict)
    assert flags["y"].tolist() == [True, False]


ENCODE = (
    "return numbers for them, for example `.astype('category').cat.codes`, or one column for each "
    "category, `pandas.get_dummies(...)`"
)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            pd.DataFrame({"a": [1, 2], "kind": pd.Categorical(["x", "y"])}),
            f"the column 'kind' holds category values; expected numbers\n  {ENCODE}",
        ),
        (
            pd.DataFrame({"name": ["x", "y"]}),
            f"the column 'name' holds str values; expected numbers\n  {ENCODE}",
        ),
        (
            pd.Series(["cat", "dog"]),
            f"the column holds str values; expected numbers\n  {ENCODE}",
        ),
        (
            pd.DataFrame({"when": pd.to_datetime(["2026-01-01"])}),
            f"the column 'when' holds datetime64[us] values; expected numbers\n  {ENCODE}",
        ),
        (
            pd.DataFrame({"flag": pd.array([True, None, None], "boolean")}),
            "the column 'flag' (boolean) holds 2 missing values, the first in row 1\n"
            "  fill them, `.fillna(...)`, or leave these rows out, before the function returns",
        ),
    ],
)
def test_columns_that_are_no_numbers_are_told(value: Any, message: str) -> None:
    with pytest.raises(DatasetError) as caught:
        as_arrays(value)
    assert str(caught.value) == message


def test_missing_numbers_are_told_with_their_sample() -> None:
    raw = datasets.Raw(
        as_arrays(pd.DataFrame({"a": pd.array([1, None], "Int64")})), np.zeros(2, int)
    )
    with pytest.raises(DatasetError, match="1 of 2 samples hold NaN or Inf, the first is sample 1"):
        datasets.prepare(raw, Preparation(), [ModelInput("x", (1,))])


FUNCTIONS = """
import numpy as np
import pandas as pd
import scipy.sparse

def sparse(): return scipy.sparse.eye(3).tocsr(), pd.Series([0, 1, 2], dtype="Int64")
def frame(): return pd.DataFrame({"a": ["x", "y"]}), [0, 1]
def one_hot(): return np.zeros((3, 2)), pd.get_dummies(pd.Series(["b", "a", "b"]))
"""


def test_functions_return_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "sparse_of_mine.py").write_text(FUNCTIONS)

    def load(name: str) -> datasets.Dataset:
        inputs = [ModelInput("x", (3 if name == "sparse" else 2,))]
        raw = datasets.load(f"sparse_of_mine:{name}", inputs, folder=tmp_path)
        return datasets.prepare(raw, Preparation(), inputs)

    prepared = load("sparse")
    assert prepared.inputs.tolist() == np.eye(3).tolist()
    assert prepared.labels.tolist() == [0, 1, 2]
    assert load("one_hot").labels.tolist() == [1, 0, 1]
    with pytest.raises(DatasetError, match=r"^sparse_of_mine:frame: the column 'a' holds str"):
        load("frame")


def test_a_file_of_a_sparse_matrix_tells_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "matrix.npz"
    scipy.sparse.save_npz(path, scipy.sparse.csr_matrix(DENSE))
    with pytest.raises(DatasetError) as caught:
        datasets.load(str(path), [ModelInput("x", (3,))])
    assert str(caught.value) == (
        f"{path}: it holds a sparse matrix of SciPy, and no labels\n"
        "  give package.module:function, a function that returns (scipy.sparse.load_npz(path), "
        "labels)"
    )
