"""Data sets by name."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable

from injecttf2.datasets.arrays import Array
from injecttf2.errors import DatasetError

InputsAndLabels = tuple[Array, Array]

MNIST_HINT = (
    "give the path of a copy of mnist.npz in place of the name, "
    "or use the bundled data set `digits`, which needs no download"
)


def load_keras(name: str) -> tuple[InputsAndLabels, InputsAndLabels]:
    """Return the training and the test part of one of Keras' data sets, downloaded once.

    Raises:
        DatasetError: It is not in Keras' cache and cannot be downloaded.
    """
    import keras

    try:
        with contextlib.redirect_stdout(io.StringIO()):  # Keras draws a progress bar there
            train, test = getattr(keras.datasets, name).load_data()
    except Exception as error:
        hint = MNIST_HINT if name == "mnist" else "give an .npz file with x_test and y_test instead"
        raise DatasetError(
            f"the data set {name!r} is not in Keras' cache and cannot be downloaded", hint=hint
        ) from error
    return train, test


def _digits() -> InputsAndLabels:
    from injecttf2.datasets.digits import test_data

    return test_data()


BUILTIN: dict[str, Callable[[], InputsAndLabels]] = {
    "digits": _digits,
    "mnist": lambda: load_keras("mnist")[1],
    "fashion_mnist": lambda: load_keras("fashion_mnist")[1],
    "cifar10": lambda: load_keras("cifar10")[1],
    "cifar100": lambda: load_keras("cifar100")[1],
}
"""Data sets by name; all but ``digits`` are Keras' own and are downloaded once."""
