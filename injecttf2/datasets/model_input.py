"""What a model takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from injecttf2.bits import numpy_dtype
from injecttf2.datasets.pixels import Beginning
from injecttf2.datasets.slots import Slot
from injecttf2.errors import ModelError

FLOAT32 = np.dtype("float32")
"""What Keras' inputs are by default."""


@dataclass(frozen=True)
class ModelInput(Slot):
    """One of a model's inputs.

    Args:
        shape: Shape of one sample; None stands for any size.
        dtype: dtype of its values.
        begins: Returns what the model does to pixels of it, for the shape of a sample; by default
            nothing is known that it does.
    """

    shape: tuple[int | None, ...]
    dtype: np.dtype[Any] = FLOAT32
    begins: Callable[[Sequence[int]], Beginning] = field(
        default=lambda _: Beginning(), compare=False, repr=False
    )

    @classmethod
    def of(cls, tensor: Any) -> Self:
        """Return the input that a Keras tensor among ``model.inputs`` stands for.

        Raises:
            ModelError: It holds something else than numbers.
        """
        name = tensor._keras_history.operation.name
        return cls.named(name, tuple(tensor.shape[1:]), tensor.dtype)

    @classmethod
    def named(cls, name: str, shape: tuple[int | None, ...], dtype: str) -> Self:
        """Return the input of a name.

        Args:
            name: The name.
            shape: Shape of one sample.
            dtype: The name that TensorFlow has for its dtype.

        Raises:
            ModelError: It holds something else than numbers.
        """
        try:
            return cls(name, shape, numpy_dtype(dtype))
        except TypeError:
            raise ModelError(
                f"the input {name!r} takes {dtype} values; expected numbers",
                hint="begin the model with the numbers that the values become, for example tokens",
            ) from None

    @property
    def takes_whole_numbers(self) -> bool:
        """Whether its values are integers or booleans, such as tokens."""
        return self.dtype.kind in "biu"
