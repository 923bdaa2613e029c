"""Which tensors of a traced model are used as indices.

An index out of range ends a run on a CPU, whatever other samples are in the batch.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

INDEXING = {
    "Gather": 1,
    "GatherV2": 1,
    "GatherNd": 1,
    "ResourceGather": 1,
    "ResourceGatherNd": 1,
    "ScatterNd": 0,
    "TensorScatterUpdate": 1,
    "TensorScatterAdd": 1,
    "SparseSegmentSum": 1,
    "UnsortedSegmentSum": 1,
}
"""Operations that fail on an index out of range, and which of their arguments the indices are."""

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
    reached = []
    for operation in graph.get_operations():
        if operation.type in INDEXING:
            reached.append(operation.inputs[INDEXING[operation.type]])
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
