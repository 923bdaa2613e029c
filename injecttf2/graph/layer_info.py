"""What a user needs to know of a layer to write a grid."""

from __future__ import annotations

from dataclasses import dataclass

NO_WEIGHTS = "it has no weights"
"""Why the weights of a layer cannot be injected."""


@dataclass(frozen=True)
class LayerInfo:
    """What a user needs to know of a layer to write a grid.

    Args:
        layer: Address.
        index: Position among all addresses, in the order of execution.
        type: Class of the layer or operation.
        shape: Shape of the output of one sample; None where it depends on the data.
        dtype: dtype of the output.
        parameters: Weights of the layer, trained or not.
        is_input: It is an input of the model; ``layers: all`` leaves it out.
        reason: Why it cannot be injected; None when it can.
        in_all: Whether ``layers: all`` takes it; what is inside a layer of Keras' own is taken by
            its name or a pattern only.
    """

    layer: str
    index: int
    type: str
    shape: tuple[int | None, ...]
    dtype: str
    parameters: int
    is_input: bool
    reason: str | None = None
    in_all: bool = True

    @property
    def elements(self) -> int | None:
        """Elements in the output of one sample; None where that depends on the data."""
        count = 1
        for size in self.shape:
            if size is None:
                return None
            count *= size
        return count
