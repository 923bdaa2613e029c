"""What of a graph depends on the data, and which tensors are needed behind each place in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import Any

from injecttf2.graph.tracing import ASSIGNING, Trace


class Dataflow:
    """The operations that a fault may go through, in their order of execution.

    What depends on no data, as a constant or what is read of a variable, is computed wherever it is
    needed.

    Args:
        trace: The model.
        outputs: The tensors that are asked for.
        points: Names of the tensors that may be injected.
        constants: Names of tensors that are constants of the batch, whatever they are made from.

    Attributes:
        path: The operations.
        points: Names of the tensors that may be injected.
        position: Which of them gives out a tensor, by its name; -1 for an input of the model.
        last: The last of them that needs a tensor, by its name; their number for what is asked for.
        outputs: Names of the tensors that are asked for.
    """

    def __init__(
        self,
        trace: Trace,
        outputs: Sequence[Any],
        points: Iterable[str],
        constants: Iterable[str] = (),
    ) -> None:
        self._graph = trace.graph
        self.inputs = tuple(one.name for one in trace.inputs)
        self._constants = frozenset(constants)
        operations = [one for one in trace.graph.get_operations() if one.type not in ASSIGNING]
        self.points = frozenset(points)
        moving = self._moving(operations, self.points)
        needed = self._needed(operations, outputs, moving)
        self.path: tuple[Any, ...] = tuple(
            one for one in operations if one in moving and one in needed
        )
        self.position = dict.fromkeys(self.inputs, -1)
        for index, operation in enumerate(self.path):
            self.position.update((tensor.name, index) for tensor in operation.outputs)
        self.last: dict[str, int] = {}
        for index, operation in enumerate(self.path):
            for name in self._needs(operation):
                self.last[name] = index
        self.outputs = tuple(one.name for one in outputs)
        self.last.update(dict.fromkeys(self.outputs, len(self.path)))

    def _moving(self, operations: Sequence[Any], points: Collection[str]) -> set[Any]:
        """Return the operations whose results depend on the data, or on a fault."""
        names = {*self.inputs, *points}
        moving: set[Any] = set()
        for operation in operations:
            outputs = [one.name for one in operation.outputs]
            if any(one in self.inputs for one in outputs):
                continue
            given = (one.name for one in operation.inputs)
            if not names.isdisjoint([*given, *outputs]):
                moving.add(operation)
                names.update(one for one in outputs if one not in self._constants)
        return moving

    def _needed(
        self, operations: Sequence[Any], outputs: Sequence[Any], moving: set[Any]
    ) -> set[Any]:
        """Return the operations that decide what comes out, or whether anything does.

        An assertion, and a function of Python's, may raise: so operations with state count.
        """
        needed = {one.op for one in outputs}
        for operation in reversed(operations):
            acts = operation in moving and operation.op_def.is_stateful
            if acts or operation in needed:
                needed.add(operation)
                needed.update(one.op for one in operation.inputs if one.name not in self._constants)
        return needed

    def _needs(self, operation: Any) -> Iterable[str]:
        """Return the names of the moving tensors that an operation needs, in its closure too."""
        return [name for name in self.closure([operation]) if name in self.position]

    def closure(self, operations: Iterable[Any]) -> Iterable[str]:
        """Return the names of all tensors that operations need, those without data included.

        What is behind a moving tensor is left out.
        """
        found: dict[str, None] = {}
        waiting = [tensor for operation in operations for tensor in operation.inputs]
        while waiting:
            tensor = waiting.pop()
            if tensor.name in found:
                continue
            found[tensor.name] = None
            if tensor.name not in self.position and tensor.name not in self._constants:
                waiting.extend(tensor.op.inputs)
        return found

    @cached_property
    def frontiers(self) -> Sequence[tuple[str, ...]]:
        """The tensors that are needed behind each place: before any operation, and after each."""
        alive = {name: self.last[name] for name in self.inputs if name in self.last}
        found = [tuple(alive)]
        for index, operation in enumerate(self.path):
            for tensor in operation.outputs:
                if tensor.name in self.last:
                    alive[tensor.name] = self.last[tensor.name]
            alive = {name: last for name, last in alive.items() if last > index}
            found.append(tuple(alive))
        return found

    def tensor(self, name: str) -> Any:
        """Return the tensor of a name."""
        return self._graph.get_tensor_by_name(name)

    def reaches(self, name: str) -> bool:
        """Return whether what is asked for depends on a tensor."""
        return name in self.position and name in self.last

    def first_use(self, reads: Collection[str]) -> int | None:
        """Return the first operation that depends on some of the tensors, None where none does."""
        for index, operation in enumerate(self.path):
            if any(name in reads for name in self.closure([operation])):
                return index
        return None
