"""Which tensors of a traced model are used as indices.

An index out of range ends a run on a CPU, whatever other samples are in the batch.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

INDEXING = {
    **dict.fromkeys(("Gather", "GatherV2", "GatherNd", "ResourceGather", "ResourceGatherNd"), (1,)),
    "ScatterNd": (0,),
    **{f"TensorScatter{one}": (1,) for one in ("Update", "Add", "Sub", "Max", "Min")},
    **{f"Segment{one}": (1,) for one in ("Sum", "Mean", "Max", "Min", "Prod")},
    **{f"UnsortedSegment{one}": (1,) for one in ("Sum", "Max", "Min", "Prod")},
    **{f"SparseSegment{one}": (1, 2) for one in ("Sum", "Mean", "SqrtN")},
    "ReverseSequence": (1,),
    "CropAndResize": (2,),
}
"""Operations that fail on an index out of range, and which of their arguments are indices."""

FUNCTIONS = (
    *("PartitionedCall", "StatefulPartitionedCall"),
    *("While", "StatelessWhile", "If", "StatelessIf"),
)
"""Operations that may do anything with whole numbers that go in."""

IN_RANGE = ("ArgMax", "ArgMin", "TopKV2", "Where", "Bucketize", "LowerBound", "UpperBound", "Shape")
"""Operations whose results are in range whatever goes in."""


def used_as_indices(graph: Any) -> set[Any]:
    """Return references to the tensors that decide an index which may be out of range then."""
    used: set[Any] = set()
    reached: list[Any] = []
    for operation in graph.get_operations():
        if operation.type in INDEXING:
            reached.extend(operation.inputs[one] for one in INDEXING[operation.type])
        elif operation.type in FUNCTIONS:
            reached.extend(one for one in operation.inputs if one.dtype.is_integer)
    while reached:
        tensor = reached.pop()
        if tensor.ref() in used or tensor.dtype == tf.bool:
            continue
        used.add(tensor.ref())
        if tensor.op.type not in IN_RANGE:
            reached.extend(tensor.op.inputs)
    return used
