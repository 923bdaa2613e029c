"""What of a traced model may raise: checks, and indices that are out of range.

An index out of range raises on a CPU; a GPU takes zeros in place of what is not there.
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


CHECKS = frozenset(
    ("CheckNumerics", "CheckNumericsV2", "Assert", "PyFunc", "PyFuncStateless", "EagerPyFunc")
)
"""Operations that are there to raise, or may do anything."""


def checks_in(graph: Any, used: set[Any]) -> set[str]:
    """Return the types of operations that may well raise, in a graph or a function in it.

    Those that look something up are among them where a variable decides an index.

    Args:
        graph: A graph of TensorFlow's.
        used: As :func:`used_as_indices` returns it.
    """
    content = graph.as_graph_def()
    nodes = [*content.node, *(one for f in content.library.function for one in f.node_def)]
    found = CHECKS.intersection(node.op for node in nodes)
    looked_up = any(one.deref().op.type == "ReadVariableOp" for one in used)
    return {*found, *(("Gather",) if looked_up else ())}


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
