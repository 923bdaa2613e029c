"""Which variables inference reads.

A variable that no output depends on is no place for a fault: what an adapted layer was adapted by,
a counter, the history of a scale. The graph of the model tells, whatever its layers are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

from injecttf2.graph.tracing import ASSIGNING, Trace


class Reading:
    """What a model reads of variables.

    Args:
        trace: The model.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def reads(self, key: int) -> bool:
        """Return whether an output of the model depends on a variable, by its key."""
        return key in self.read or key in self.compiled

    @cached_property
    def read(self) -> Mapping[int, Sequence[str]]:
        """Names of the tensors that hold what is read of each variable, by its key."""
        found: dict[int, list[str]] = {}
        for name, handle in self._trace.reads.items():
            if self._trace.graph.get_tensor_by_name(name).op in self._needed:
                found.setdefault(id(handle), []).append(name)
        return found

    @cached_property
    def compiled(self) -> Collection[int]:
        """Keys of the variables that something else reads, in whose place nothing can stand.

        That is a function that was compiled before, or the body of a loop.
        """
        trace = self._trace
        found: set[int] = set()
        for name, outer in trace.captures.items():
            for user in trace.graph.get_tensor_by_name(name).consumers():
                whole = user.outputs and user.outputs[0].name in trace.reads
                if user in self._needed and not whole:
                    found.add(id(outer))
        return found

    @cached_property
    def _needed(self) -> Collection[Any]:
        """The operations that decide what comes out, or whether anything does.

        An assertion, and a function of Python's, may raise: so operations with state count, but
        those that read a variable, which count where something depends on them.
        """
        trace = self._trace
        reached = list(trace.outputs)
        resources = set(trace.captures)
        for operation in trace.graph.get_operations():
            if (
                operation.op_def.is_stateful
                and operation.type not in ASSIGNING
                and resources.isdisjoint(one.name for one in operation.inputs)
            ):
                reached.extend(operation.inputs)
        needed: set[Any] = set()
        seen: set[str] = set()
        while reached:
            tensor = reached.pop()
            if tensor.name in seen:
                continue
            seen.add(tensor.name)
            needed.add(tensor.op)
            together = tensor.op.type == "IdentityN"  # each of several tensors, for a gradient
            inputs = tensor.op.inputs
            reached.extend(inputs[tensor.value_index :][:1] if together else inputs)
        return needed
