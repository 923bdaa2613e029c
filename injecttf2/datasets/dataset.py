"""Data as a model takes them, and the digest that tells them apart."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from injecttf2.datasets.arrays import Array


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs and labels as the model takes them.

    Args:
        inputs: [samples, ...], in the model's input dtype; for a model with several inputs a tuple
            of such arrays, in the model's order.
        labels: [samples, ...], int64 classes, or what else the judge compares with; may be a tuple
            of arrays too.
        told: What was done to the data, one line for the user.
    """

    # Whether there are several is known to the model's graph, not to the type checker.
    inputs: Any
    labels: Any
    told: str = ""

    def __len__(self) -> int:
        return len(self.input_arrays[0])

    @property
    def input_arrays(self) -> tuple[Array, ...]:
        """The inputs, also a single one, in the model's order."""
        return self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)

    @property
    def digest(self) -> str:
        """128-bit blake2b digest of dtypes, shapes and contents, hexadecimal."""
        labels = self.labels if isinstance(self.labels, tuple) else (self.labels,)
        digest = hashlib.blake2b(digest_size=16)
        for array in (*self.input_arrays, *labels):
            digest.update(f"{array.dtype.name}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
        return digest.hexdigest()
