"""Where a window reaches through a layer that slides over the spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from injecttf2.graph import Step
from injecttf2.windows import Differences, Offset, Window


@dataclass(frozen=True, eq=False)
class Reached:
    """What a window reaches, on the spatial axes.

    Args:
        offsets: Where the outputs that may differ begin.
        extents: How many they are on each axis.
        patch_offsets: Where the inputs that they depend on begin; may lie outside of the input.
        patch_extents: How many those are.
    """

    offsets: tuple[Offset, ...]
    extents: tuple[int, ...]
    patch_offsets: tuple[Offset, ...]
    patch_extents: tuple[int, ...]


@dataclass(frozen=True)
class Sliding:
    """A layer that slides: sizes on the spatial axes, without batch and channels.

    Args:
        outputs: Size of the output.
        sizes: Inputs that an output spans, dilation counted in.
        strides: Inputs from one output to the next.
        before: Padding in front of the input.
    """

    outputs: tuple[int, ...]
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    before: tuple[int, ...]

    @classmethod
    def of(
        cls,
        step: Step,
        differences: Differences,
        sizes: Sequence[int],
        dilations: Sequence[int],
    ) -> Sliding | None:
        """Return how a layer slides in a step, or None where it is set up in another way."""
        layer = step.operation
        if layer.padding not in ("same", "valid") or layer.data_format != "channels_last":
            return None
        inputs = differences.shape(step.inputs[0])[:-1]
        outputs = differences.shape(step.outputs[0])[:-1]
        spans = tuple(
            (size - 1) * dilation + 1 for size, dilation in zip(sizes, dilations, strict=True)
        )
        before = (0,) * len(spans)
        if layer.padding == "same":
            before = tuple(
                max((output - 1) * stride + span - size, 0) // 2
                for output, stride, span, size in zip(
                    outputs, layer.strides, spans, inputs, strict=True
                )
            )
        return cls(outputs, spans, tuple(layer.strides), before)

    def reached(self, window: Window) -> Reached:
        """Return the outputs that a window reaches and the inputs that these depend on.

        Output j spans the inputs from ``j * stride - before`` on.
        """
        offsets, extents, patch_offsets, patch_extents = [], [], [], []
        for axis, (outputs, size, stride, before) in enumerate(
            zip(self.outputs, self.sizes, self.strides, self.before, strict=True)
        ):
            extent = min(outputs, (window.extents[axis] + size - 2) // stride + 1)
            offset: Offset = 0
            if extent < outputs:
                first = (window.offsets[axis] + before - size + stride) // stride
                offset = _clipped(first, outputs - extent)
            offsets.append(offset)
            extents.append(extent)
            patch_offsets.append(offset * stride - before)
            patch_extents.append((extent - 1) * stride + size)
        return Reached(tuple(offsets), tuple(extents), tuple(patch_offsets), tuple(patch_extents))


def _clipped(offset: Offset, largest: int) -> Offset:
    if isinstance(offset, int):
        return min(max(offset, 0), largest)
    return tf.clip_by_value(offset, 0, largest)
