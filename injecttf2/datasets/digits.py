"""scikit-learn's digits in the form of MNIST: data that need no download.

The digits (1,797 images of 8x8 pixels, values 0 to 16) are scaled to 28x28 with values in
[0, 1], so that a model for MNIST fits them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = tuple[npt.NDArray[Any], npt.NDArray[Any]]

TEST_SAMPLES = 500


def test_data() -> Arrays:
    """Return the held-out digits: float32 [500, 28, 28, 1] and labels int64 [500]."""
    return _split()[1]


def training_data() -> Arrays:
    """Return the other digits: float32 [1297, 28, 28, 1] and labels int64 [1297]."""
    return _split()[0]


def _split() -> tuple[Arrays, Arrays]:
    """Return the training and the test part, each class with the same share in both."""
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    small, labels = load_digits(return_X_y=True)
    images = zoom(small.reshape(-1, 8, 8) / 16.0, (1, 3.5, 3.5), order=1)
    images = images.astype(np.float32)[..., np.newaxis]
    train_x, test_x, train_y, test_y = train_test_split(
        images, labels.astype(np.int64), test_size=TEST_SAMPLES, stratify=labels, random_state=0
    )
    return (train_x, train_y), (test_x, test_y)
