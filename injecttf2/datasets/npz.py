"""Data in ``.npz`` files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, Self
from zipfile import ZipFile, is_zipfile

import numpy as np

from injecttf2.config.file_kinds import kind_of
from injecttf2.datasets.arrays import Array, Arrays, Raw, parts
from injecttf2.datasets.slots import Slot, name_in
from injecttf2.errors import DatasetError

NAMES = (("x_test", "y_test"), ("x", "y"))
"""Names of inputs and labels, the first that are found count.

Several inputs are called ``x_test_NAME`` or ``x_NAME`` by the keys or names of the model's inputs,
and the labels of several outputs ``y_test_NAME`` or ``y_NAME``.
"""


WRITE_HINT = (
    "write it with numpy.savez(path, x=inputs, y=labels); pickled objects are refused, such as "
    "sparse matrices (take .toarray()), frames of several dtypes, and sequences of several lengths "
    "(keras.utils.pad_sequences fills them up: take the value that the model masks)"
)


def read(path: Path, inputs: Sequence[Slot]) -> Raw:
    """Return the inputs and labels of a file, without unpickling anything.

    Args:
        path: The file.
        inputs: The model's inputs.

    Raises:
        DatasetError: It cannot be read, or holds no inputs and labels.
    """
    # numpy.load would take other formats too, and leaves a broken file open.
    return _read(path, inputs, partial(np.lib.npyio.NpzFile, allow_pickle=False))


def read_heads(path: Path, inputs: Sequence[Slot] | None) -> Raw:
    """Return the same as :func:`read`, arrays that have shape and dtype but hold zeros only.

    Their values are neither read nor kept in memory. Where the model's inputs are not known, any
    array may be one.
    """
    return _read(path, inputs, _Heads)


def size(raw: Raw) -> int:
    """Return how many bytes the arrays hold, which :func:`read_heads` tells."""
    return sum(array.nbytes for arrays in (raw.inputs, raw.labels) for array in parts(arrays))


class _Heads(Mapping[str, Array]):
    """The heads of the arrays in a file, as ``NpzFile`` has the arrays."""

    def __init__(self, stream: BinaryIO) -> None:
        self._archive = ZipFile(stream)
        self.files = [name.removesuffix(".npy") for name in self._archive.namelist()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, key: str) -> Array:
        name = f"{key}.npy" if f"{key}.npy" in self._archive.namelist() else key
        with self._archive.open(name) as stream:
            shape, dtype = _head_of_array(stream)
        if dtype.hasobject:
            raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
        return np.broadcast_to(np.zeros((), dtype), shape)


def _head_of_array(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read_head = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, _, dtype = read_head(stream)
    return shape, dtype


def _read(
    path: Path,
    inputs: Sequence[Slot] | None,
    opened: Callable[[BinaryIO], AbstractContextManager[Any]],
) -> Raw:
    try:
        with path.open("rb") as stream, opened(stream) as file:
            return named(file, inputs, str(path))
    except FileNotFoundError:
        raise DatasetError("there is no such data file", place=str(path)) from None
    except DatasetError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error


def named(file: Mapping[str, Any], inputs: Sequence[Slot] | None, place: str) -> Raw:
    """Return the inputs and labels among arrays, by their names.

    Args:
        file: Arrays by name.
        inputs: The model's inputs; None where they are not known.
        place: What to call them in errors.

    Raises:
        DatasetError: There are no inputs, or no labels.
    """
    for x, y in NAMES:
        found, labels = _inputs(file, x, inputs), _labels(file, y)
        if found is not None and labels is not None:
            return Raw(found, labels)
    raise _lacking(place, [*file], inputs or ())


def _inputs(file: Mapping[str, Any], x: str, inputs: Sequence[Slot] | None) -> Arrays | None:
    if x in file:
        return file[x]  # type: ignore[no-any-return]
    held = [key.removeprefix(f"{x}_") for key in file if key.startswith(f"{x}_")]
    names = held
    if inputs is not None:
        names = [name for one in inputs if (name := name_in(held, one, inputs)) is not None]
    if names and (inputs is None or len(names) == len(inputs)):
        return {name: file[f"{x}_{name}"] for name in names}
    return None


def _labels(file: Mapping[str, Any], y: str) -> Arrays | None:
    if y in file:
        return file[y]  # type: ignore[no-any-return]
    suffixes = [key.removeprefix(f"{y}_") for key in file if key.startswith(f"{y}_")]
    # ``y_train`` and ``y_test`` are parts of the data, not outputs.
    outputs = [one for one in suffixes if one.partition("_")[0] not in ("train", "test")]
    return {one: file[f"{y}_{one}"] for one in outputs} or None


def _unreadable(path: Path, error: Exception) -> DatasetError:
    """Return what to say of a file that is no .npz file, or that would have to be unpickled."""
    reason, todo = str(error), ""
    with suppress(OSError), path.open("rb") as stream:
        if not is_zipfile(stream) and (kind := kind_of(_head(stream), path)):
            reason, todo = f"this is {kind[0]}", kind[1]
    return DatasetError(
        f"it cannot be read as .npz: {reason}", place=str(path), hint=todo or WRITE_HINT
    )


def _head(stream: BinaryIO) -> bytes:
    stream.seek(0)
    return stream.read(4096)


def _lacking(place: str, found: Sequence[str], inputs: Sequence[Slot]) -> DatasetError:
    if {"format", "shape", "data"} <= {*found}:
        return DatasetError(
            "it holds a sparse matrix of SciPy, and no labels",
            place=place,
            hint="give package.module:function, a function that returns "
            "(scipy.sparse.load_npz(path), labels)",
        )
    expected = "inputs and labels named x_test and y_test, or x and y"
    hint: str | None = (
        "write it with numpy.savez(path, x=inputs, y=labels); the labels of an autoencoder are its "
        "inputs"
    )
    if len(inputs) > 1:
        names = ", ".join(f"x_{one.called}" for one in inputs)
        expected += f"; for each of the model's inputs one, {names}"
        hint = None
    return DatasetError(
        f"it holds the arrays {', '.join(found) or '(none)'}; expected {expected}",
        place=place,
        hint=hint,
    )
