"""MNIST for the example's scripts: from Keras, from a local file, or the bundled digits."""

import sys

import numpy as np

from injecttf2 import UserError, datasets
from injecttf2.datasets.digits import test_data, training_data

USAGE = """usage: python {script} [DATA]
  DATA   nothing: MNIST, downloaded by Keras on first use
         a path: a copy of mnist.npz
         digits: scikit-learn's digits, which need no download"""


def load_mnist():
    """Return (x_train, y_train), (x_test, y_test) as float32 [n, 28, 28, 1] in [0, 1]."""
    if len(sys.argv) > 2 or sys.argv[1:] in (["-h"], ["--help"]):
        sys.exit(USAGE.format(script=sys.argv[0]))
    source = sys.argv[1] if len(sys.argv) == 2 else "mnist"
    if source == "digits":
        return training_data(), test_data()
    try:
        if source == "mnist":
            train, test = datasets.load_keras("mnist")
        else:
            train, test = _load_file(source)
    except UserError as error:
        sys.exit(f"error: {error.message}; {error.hint}")
    except (OSError, KeyError, ValueError) as error:
        sys.exit(f"error: {source} cannot be read as mnist.npz: {error}")
    return _prepare(*train), _prepare(*test)


def _load_file(path):
    with np.load(path, allow_pickle=False) as file:
        return [(file[f"x_{part}"], file[f"y_{part}"]) for part in ("train", "test")]


def _prepare(images, labels):
    return (images[..., np.newaxis] / 255.0).astype("float32"), labels
