"""The labels of a data set that belong to the output that is judged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from injecttf2.config.spelling import nearest
from injecttf2.datasets import label_forms as forms
from injecttf2.datasets.arrays import Array, Arrays, parts
from injecttf2.datasets.slots import Slot, in_words, name_in
from injecttf2.errors import DatasetError


def class_labels(labels: Arrays) -> npt.NDArray[np.int64]:
    """Return the labels of a model with one output as classes; see ``label_forms.class_labels``.

    Returns:
        int64 [samples].

    Raises:
        DatasetError: They are no classes, or there are labels for several outputs.
    """
    if len(several := parts(labels)) != 1:
        names = f", {', '.join(labels)}" if isinstance(labels, dict) else ""
        raise DatasetError(
            f"there are labels for {len(several)} outputs{names}; expected one class a sample"
        )
    return forms.class_labels(several[0])


def labels_of(labels: Arrays, output: int, outputs: Sequence[Slot]) -> Array:
    """Return the labels of one output.

    Args:
        labels: One array, which then belongs to that output, or one for each output of the model,
            in its order or by name.
        output: Which of the outputs.
        outputs: All outputs of the model.

    Raises:
        DatasetError: There are none for that output.
    """
    one = outputs[output]
    if isinstance(labels, dict):
        if (name := name_in(labels, one, outputs)) is not None:
            return labels[name]
        if len(labels) == len(outputs) == 1:
            return parts(labels)[0]
        raise DatasetError(
            f"there are no labels for the output {one.called!r}{nearest(one.called, labels)}",
            hint=f"received labels for {', '.join(labels)}",
        )
    several = parts(labels)
    if len(several) == 1:
        return several[0]
    if len(several) != len(outputs):
        raise DatasetError(
            f"there are labels for {len(several)} outputs; the model has {len(outputs)}, "
            f"{in_words(outputs)}"
        )
    if not one.ordered:
        raise DatasetError(
            f"there are labels for {len(several)} outputs in an order, but the model gives its "
            f"outputs by key, {in_words(outputs)}",
            hint="give a dict of arrays by these keys",
        )
    return several[output]
