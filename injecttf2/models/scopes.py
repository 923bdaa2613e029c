"""The layers of a graph that nothing is known of but its operations: its name scopes.

An operation ``block/dense/MatMul`` is in the scope ``block/dense``, which is in ``block``. A scope
that only holds another is one with it, and what all operations have in common is left out. What a
scope gives out that reads variables is its own, as of a layer; what one gives out that reads none,
as a block of layers, is that of the scope in it that gives it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from injecttf2.graph.traceable import Variable

PASSING = ("Identity", "IdentityN", "StopGradient", "NoOp")
"""Operations that compute nothing."""

SHAPES = ("Shape", "ShapeN", "Size", "Rank")
"""Operations that tell of tensors what does not depend on the data."""


@dataclass(eq=False)
class Scope:
    """A name scope, or an operation that is in none.

    Attributes:
        name: Its name, behind that of the scope that it is in.
        scopes: The scopes in it.
        operations: Operations in it that depend on the data, without those in its scopes.
        others: Names of the other operations in it.
        variables: What it reads itself.
        tensors: What it gives out, as far as it is its own.
    """

    name: str
    scopes: dict[str, Scope] = field(default_factory=dict)
    operations: list[Any] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    variables: list[Variable] = field(default_factory=list)
    tensors: list[Any] = field(default_factory=list)

    @property
    def weights(self) -> tuple[Variable, ...]:
        """What it and the scopes in it read."""
        inner = (one for scope in self.scopes.values() for one in scope.weights)
        return tuple({one.key: one for one in (*self.variables, *inner)}.values())

    @property
    def type(self) -> str:
        """The type of the operation that gives out what it does, or of its last one."""
        operations = [one.op for one in self.tensors] or list(self.all_operations)
        return str(operations[-1].type)

    @property
    def all_operations(self) -> Iterator[Any]:
        """The operations in it, those in its scopes too."""
        yield from self.operations
        for scope in self.scopes.values():
            yield from scope.all_operations

    @property
    def all_names(self) -> Iterator[str]:
        """The names of everything in it."""
        yield from self.others
        yield from (one.name for one in self.operations)
        for scope in self.scopes.values():
            yield from scope.all_names

    def only_scope(self) -> Scope | None:
        """Return the scope in it, if there is one and nothing else."""
        found = [] if self.operations or self.variables else list(self.scopes.values())
        return found[0] if len(found) == 1 else None


def scopes_of(
    operations: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    variables: Mapping[str, Variable],
) -> Scope:
    """Return the scopes of a graph in one that holds all.

    Args:
        operations: In an order of execution.
        inputs: Tensors that go in.
        outputs: Tensors that come out.
        variables: By the name of the tensor that stands for each.
    """
    used = _used(operations, outputs)
    moving = _moving(used, {one.name for one in inputs})
    root = Scope("")
    known = {
        parts[:end]
        for operation in moving
        for parts in [tuple(operation.name.split("/"))]
        for end in range(1, len(parts))
    }
    for operation in moving:
        _scope_at(root, operation.name, known).operations.append(operation)
    computing = {one.name for one in moving}
    for operation in used:
        scope = _scope_at(root, operation.name, known)
        if operation.name not in computing:
            scope.others.append(operation.name)
        read = (variables.get(tensor.name) for tensor in operation.inputs)
        scope.variables.extend(one for one in read if one is not None)
    while (only := root.only_scope()) is not None and only.scopes:
        root = only
    for scope in root.scopes.values():
        _join(scope)
    _stand_alone(root, computing, variables)
    ends = {one.name for one in outputs}
    order = {operation.name: at for at, operation in enumerate(operations)}
    _sort(root, order)
    for scope in root.scopes.values():
        _give_out(scope, {one.name for one in used}, ends, set())
    return root


def calls_of(scope: Scope, within: tuple[Scope, ...] = ()) -> Iterator[tuple[Any, Scope]]:
    """Yield all scopes, the inner ones first, each behind those that it is in."""
    for one in scope.scopes.values():
        yield from calls_of(one, (*within, scope))
    yield within, scope


def _used(operations: Sequence[Any], outputs: Sequence[Any]) -> list[Any]:
    """Return the operations that something which comes out depends on."""
    needed = {one.op.name for one in outputs}
    for operation in reversed(operations):
        if operation.name in needed:
            needed.update(one.op.name for one in operation.inputs)
    return [one for one in operations if one.name in needed]


def _moving(operations: Sequence[Any], names: set[str]) -> list[Any]:
    """Return the operations that depend on what tensors hold, but those that compute nothing."""
    found = []
    for operation in operations:
        if operation.type in SHAPES:
            continue
        if not names.isdisjoint(one.name for one in operation.inputs):
            names.update(one.name for one in operation.outputs)
            if operation.type not in PASSING:
                found.append(operation)
    return found


def _scope_at(root: Scope, name: str, known: set[tuple[str, ...]]) -> Scope:
    """Return the innermost scope of an operation; one is in the scope that is named as it is."""
    scope, parts = root, tuple(name.split("/"))
    for end in range(1, len(parts) + 1):
        if parts[:end] not in known:
            break
        scope = scope.scopes.setdefault(parts[end - 1], Scope(parts[end - 1]))
    return scope


def _join(scope: Scope) -> None:
    """Make scopes that only hold another one with it."""
    while (only := scope.only_scope()) is not None:
        scope.operations, scope.variables = only.operations, only.variables
        scope.scopes, scope.others = only.scopes, [*scope.others, *only.others]
        for one in scope.scopes.values():
            one.name = f"{only.name}/{one.name}"
    for one in scope.scopes.values():
        _join(one)


def _stand_alone(root: Scope, computing: set[str], variables: Mapping[str, Variable]) -> None:
    """Make a scope of each operation that is in none."""
    for operation in root.operations:
        name = operation.name.rpartition("/")[2]
        read = _read_by(operation, computing, variables)
        root.scopes[operation.name] = Scope(name, operations=[operation], variables=read)
    root.operations = []


def _read_by(
    operation: Any, computing: set[str], variables: Mapping[str, Variable]
) -> list[Variable]:
    """Return the variables that an operation takes, not behind others that depend on the data."""
    found: dict[str, Variable] = {}
    seen: set[str] = set()
    waiting = list(operation.inputs)
    while waiting:
        tensor = waiting.pop(0)
        if tensor.name in variables:
            found[tensor.name] = variables[tensor.name]
        elif tensor.name not in seen and tensor.op.name not in computing:
            waiting.extend(tensor.op.inputs)
        seen.add(tensor.name)
    return list(found.values())


def _sort(scope: Scope, order: Mapping[str, int]) -> int:
    """Put the scopes in a scope in the order in which they end; return when it ends itself."""
    ends = {name: _sort(one, order) for name, one in scope.scopes.items()}
    scope.scopes = {name: scope.scopes[name] for name in sorted(ends, key=ends.__getitem__)}
    return max([*ends.values(), *(order[one.name] for one in scope.operations)], default=-1)


def _give_out(scope: Scope, used: set[str], ends: set[str], taken: set[str]) -> None:
    """Tell what scopes give out: what others use, or what comes out of the model.

    Args:
        scope: The outermost of them.
        used: Names of the operations that count.
        ends: Names of the tensors that come out.
        taken: Names of the tensors that have an owner; those that get one are added.
    """
    held = set(scope.all_names)
    given = [
        tensor
        for operation in scope.all_operations
        for tensor in operation.outputs
        if _leaves(tensor, held, used, ends)
    ]

    def own() -> None:
        scope.tensors = [one for one in given if one.name not in taken]
        taken.update(one.name for one in scope.tensors)

    if scope.variables:
        own()
    for one in scope.scopes.values():
        _give_out(one, used, ends, taken)
    if not scope.variables:
        own()


def _leaves(tensor: Any, held: set[str], used: set[str], ends: set[str]) -> bool:
    """Return whether a tensor is used outside of a scope, as it is.

    Args:
        tensor: One in it.
        held: Names of the operations in it.
        used: Names of the operations that count.
        ends: Names of the tensors that come out of the model.
    """
    if tensor.name in ends:
        return True
    for user in tensor.consumers():
        if user.name in used and user.name not in held:
            return True
        if user.type in PASSING:
            passed = zip(user.inputs, user.outputs, strict=False)
            if any(
                _leaves(out, held, used, ends) for given, out in passed if given.name == tensor.name
            ):
                return True
    return False
