"""Functions of TensorFlow's as the engine takes them: what is known are their graphs alone.

So a signature of a SavedModel, a ``tf.Module`` and a concrete function are the same to it. Their
layers are the name scopes of the graph.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from injecttf2.errors import ModelError
from injecttf2.graph.traceable import InputSpec, Variable, Visit, fixed_batch
from injecttf2.models.inlining import Inlining
from injecttf2.models.scopes import Scope, calls_of, scopes_of
from injecttf2.user_code.values import modules_of

FUNCTION = tf.types.experimental.PolymorphicFunction
CONCRETE = tf.types.experimental.ConcreteFunction

SIGNATURE = (
    "decorate it, for example @tf.function(input_signature=[tf.TensorSpec((None, 28, 28, 1))]), or "
    "return its .get_concrete_function(...)"
)
"""What to do where it is not known what a function takes."""


class Place(int):
    """Where a tensor goes among the arguments of a function: the number of an input."""


class ScopedModel:
    """A function of TensorFlow's.

    Args:
        name: What messages call it.
        function: The function.
        inputs: What it takes.
        structure: Its positional and keyword arguments; places stand for the inputs.
        batch: Samples that it insists on at a time; None for any number.
        variables: Those that it holds, always in the same order.
        module: What its function is of, and needs as long as it is called.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        inputs: Sequence[InputSpec],
        structure: tuple[Any, Any],
        *,
        batch: int | None,
        variables: Sequence[Any],
        module: tf.Module | None = None,
    ) -> None:
        self.name = name
        self.inputs = tuple(inputs)
        self.batch = batch
        self.variables: Sequence[Any] = tuple(variables)
        parts = [] if module is None else [module, *module.submodules]
        self.modules: Collection[str] = modules_of(parts)
        self.assigned: frozenset[int] = frozenset()
        self._function = function
        self._module = module
        self._structure = structure
        self._visit: Visit | None = None

    @classmethod
    def of(cls, function: Any, name: str, module: tf.Module | None = None) -> ScopedModel:
        """Return a concrete function as a model.

        Args:
            function: The function.
            name: What messages call it.
            module: What it is of; None for a function that holds its variables itself.

        Raises:
            ModelError: It takes something else than tensors with an axis of samples.
        """
        arguments = tf.nest.flatten(function.structured_input_signature)
        specs = [one for one in arguments if isinstance(one, tf.TypeSpec)]
        _check_specs(specs, name)
        places = map(Place, range(len(specs)))
        numbered = [next(places) if isinstance(one, tf.TypeSpec) else one for one in arguments]
        structure = tf.nest.pack_sequence_as(function.structured_input_signature, numbered)
        by_key = not structure[0] and len(structure[1]) == len(specs)
        names = _names(specs)
        inputs = [
            InputSpec(
                given,
                None if spec.shape.rank is None else tuple(spec.shape[1:]),
                spec.dtype.name,
                key=given if by_key else None,
                ordered=not by_key or len(specs) == 1,
            )
            for given, spec in zip(names, specs, strict=True)
        ]
        variables = _captured(function) if module is None else module.variables
        return cls(
            name,
            function,
            inputs,
            structure,
            batch=fixed_batch(specs),
            variables=variables,
            module=module,
        )

    @classmethod
    def of_module(cls, module: tf.Module, name: str) -> ScopedModel:
        """Return a module as a model: its call, or the only function that says what it takes.

        Args:
            module: The module.
            name: What messages call it.

        Raises:
            ModelError: It is not clear what is to be called, or with what.
        """
        function = _function_of(module)
        if isinstance(function, FUNCTION) and function.input_signature is not None:
            return cls.of(function.get_concrete_function(), name, module)
        names, others = _parameters(function, module)
        inputs = [InputSpec(one, None, "float32") for one in names]
        structure = tuple(map(Place, range(len(names)))), others
        return cls(
            name,
            function,
            inputs,
            structure,
            batch=None,
            variables=module.variables,
            module=module,
        )

    def call(self, tensors: Sequence[Any]) -> Any:
        """Return what comes out, the functions that it calls put in their places."""
        specs = [tf.TensorSpec(one.shape, one.dtype) for one in tensors]
        graph = tf.function(self._called, autograph=False).get_concrete_function(*specs).graph
        given = dict(zip((one.name for one in graph.inputs), tensors, strict=False))
        variables = {id(one.handle): one for one in graph.variables}
        around = tf.compat.v1.get_default_graph()
        held: dict[str, Variable] = {}
        for outer, inner in graph.captures:
            given[inner.name] = around.capture(outer)
            if id(outer) in variables:
                held[given[inner.name].name] = Variable.of(variables[id(outer)])
            elif outer.dtype == tf.resource:
                raise ModelError(
                    f"the model {self.name!r} holds a resource that is no variable, such as a "
                    "table; expected variables alone",
                    hint="begin the model behind what looks words up, with the numbers they become",
                )
        before = len(around.get_operations())
        with tf.init_scope():  # where the functions are known that it calls
            inlining = Inlining(graph)
        flat = inlining.copy(given)
        if self._visit is not None:
            operations = around.get_operations()[before:]
            for within, scope in calls_of(scopes_of(operations, tensors, flat, held)):
                self._visit(within, scope, scope.tensors)
        return tf.nest.pack_sequence_as(graph.structured_outputs, flat)

    def _called(self, *tensors: Any) -> Any:
        given = [
            tensors[one] if isinstance(one, Place) else one
            for one in tf.nest.flatten(self._structure)
        ]
        positional, keywords = tf.nest.pack_sequence_as(self._structure, given)
        return self._function(*positional, **keywords)

    @contextmanager
    def noting(self, visit: Visit) -> Iterator[None]:
        """Have the scopes visited as if they were called."""
        self._visit = visit
        try:
            yield
        finally:
            self._visit = None

    def type_of(self, layer: Scope, tensor: Any) -> str:
        """Return the type of the operation that gives out a tensor."""
        return layer.type if tensor is None else str(tensor.op.type)

    def is_container(self, layer: Scope) -> bool:
        """Return whether what a scope gives out is what scopes in it do."""
        return not layer.tensors

    def is_library(self, layer: Scope) -> bool:
        """Return whether a scope is one layer, with weights of its own, not a block of several."""
        return bool(layer.variables)

    def layers_in(self, layer: Scope) -> Sequence[Any]:  # noqa: ARG002 - all of them run
        """Return no layers: those that never run are not known."""
        return []

    def variables_of(self, layer: Scope | None) -> Sequence[Variable]:
        """Return what a scope reads, in the order in which it does."""
        return [] if layer is None else layer.weights


def _captured(function: Any) -> list[Any]:
    """Return the variables of a concrete function, in the order in which it takes them.

    Raises:
        ModelError: Nothing holds them any more.
    """
    try:
        held = {id(one.handle): one for one in function.variables}
    except AssertionError as error:
        raise ModelError(
            "the variables of the concrete function no longer exist, since nothing holds the "
            "object that they are of",
            hint="return that object, a tf.Module, or let the function hold it: "
            "`concrete.module = module` before it is returned",
        ) from error
    return [held[id(handle)] for handle, _ in function.graph.captures if id(handle) in held]


def _names(specs: Sequence[Any]) -> list[str]:
    """Return names for inputs, their own if each has one."""
    names = [str(one.name) for one in specs if one.name]
    if len(set(names)) == len(specs):
        return names
    return ["inputs"] if len(specs) == 1 else [f"inputs_{at + 1}" for at in range(len(specs))]


def _check_specs(specs: Sequence[Any], name: str) -> None:
    """See that inputs are dense and have an axis of samples.

    Raises:
        ModelError: One is not, or there are none.
    """
    if not specs:
        raise ModelError(f"the function of {name!r} takes no tensors; expected one at least")
    for spec in specs:
        if not isinstance(spec, tf.TensorSpec):
            raise ModelError(
                f"the model {name!r} takes {type(spec).__name__.removesuffix('Spec')} values; "
                "expected dense tensors"
            )
        if spec.shape.rank == 0:
            raise ModelError(
                f"the input {spec.name!r} of the model {name!r} is a single value; expected "
                "tensors whose first axis is the sample",
                hint="return a function that takes the samples alone",
            )


def _function_of(module: tf.Module) -> Any:
    """Return what is called of a module.

    Raises:
        ModelError: It is not clear.
    """
    if callable(module):
        return module.__call__
    attributes = {name: getattr(module, name, None) for name in dir(module)}
    found = [
        name
        for name, one in attributes.items()
        if isinstance(one, FUNCTION) and one.input_signature is not None
    ]
    if len(found) == 1:
        return attributes[found[0]]
    which = f"several functions that say what they take: {', '.join(found)}" if found else "none"
    raise ModelError(
        f"the module {module.name!r} ({type(module).__name__}) has no __call__, and of functions "
        f"with an input signature {which}; expected one",
        hint="return one of them, as .get_concrete_function()" if found else SIGNATURE,
    )


def _parameters(function: Any, module: tf.Module) -> tuple[list[str], dict[str, Any]]:
    """Return the names of what a function must be given, and what else it is to be told.

    Raises:
        ModelError: It does not name what it takes.
    """
    python = getattr(function, "python_function", function)
    known = inspect.signature(python).parameters
    others = {"training": False} if "training" in known else {}
    free = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    names = [
        name
        for name, one in known.items()
        if one.kind not in free and one.default is one.empty and name not in ("self", "training")
    ]
    if not names:
        raise ModelError(
            f"it is not known what the module {module.name!r} ({type(module).__name__}) takes: "
            f"its call has the parameters ({', '.join(known)})",
            hint=SIGNATURE,
        )
    return names, others
