"""Models of Keras 2 (``tf_keras``), as the engine takes them.

Nothing but a model of Keras 2 brings this module, and so ``tf_keras``, in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import tensorflow as tf
import tf_keras
from tensorflow.python.autograph.core.ag_ctx import ControlStatusCtx, Status

from injecttf2.errors import ModelError
from injecttf2.graph.keras_steps import is_keras
from injecttf2.graph.noting import noting
from injecttf2.graph.slot_names import keys_of
from injecttf2.graph.traceable import InputSpec, Variable, Visit, fixed_batch
from injecttf2.user_code.values import modules_of


class Keras2Model:
    """A model of Keras 2.

    Args:
        model: The model.

    Raises:
        ModelError: It is not known what it takes.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.name = str(model.name)
        self.variables: Sequence[Any] = tuple(model.weights)
        self.modules: Collection[str] = modules_of([model, *model.submodules])
        self.assigned: frozenset[int] = frozenset()
        self._structure = _structure_of(model)
        specs = tf.nest.flatten(self._structure)
        keys, ordered = keys_of(self._structure)
        names = list(getattr(model, "input_names", None) or [one.name for one in specs])
        self.inputs = tuple(
            InputSpec(
                name, tuple(spec.shape[1:]), tf.as_dtype(spec.dtype).name, key=key, ordered=ordered
            )
            for name, spec, key in zip(names, specs, keys, strict=True)
        )
        self.batch = fixed_batch(specs)

    def call(self, tensors: Sequence[Any]) -> Any:
        """Return what the model gives out at inference."""
        given = tf.nest.pack_sequence_as(self._structure, list(tensors))
        with _read_whole(self.variables):
            return self.model(given, training=False)

    def noting(self, visit: Visit) -> AbstractContextManager[None]:
        """Have the calls of layers visited until the context ends."""
        layers = list({id(one): one for one in self.model._flatten_layers()}.values())
        return noting(layers, ("call",), visit, _converted)

    def type_of(self, layer: Any, tensor: Any) -> str:  # noqa: ARG002 - a class says it
        """Return the class of a layer."""
        return type(layer).__name__

    def is_container(self, layer: Any) -> bool:
        """Return whether a layer is a model that runs a graph of Keras'."""
        graph = isinstance(layer, tf_keras.Model) and layer._is_graph_network
        return graph and is_keras(type(layer).call)

    def is_library(self, layer: Any) -> bool:
        """Return whether a layer is Keras' own."""
        return is_keras(type(layer))

    def layers_in(self, layer: Any) -> Sequence[Any]:
        """Return the layers that a layer holds directly, but those that stand for inputs."""
        held = layer._flatten_layers(include_self=False, recursive=False)
        return [one for one in held if not isinstance(one, tf_keras.layers.InputLayer)]

    def variables_of(self, layer: Any) -> Sequence[Variable]:
        """Return the weights of a layer, in Keras' order."""
        return [Variable.of(one) for one in getattr(layer, "weights", ())]


def _converted(layer: Any, name: str) -> Callable[..., Any]:  # noqa: ARG001 - there is one
    """Return what Keras 2 calls in a graph: ``call``, converted by autograph if it is a user's."""
    with ControlStatusCtx(status=Status.ENABLED):  # as in predict
        method: Callable[..., Any] = layer._autographed_call()
    return method


def _structure_of(model: Any) -> Any:
    """Return what a model takes, symbolic tensors or their specifications.

    Raises:
        ModelError: It is not known.
    """
    if getattr(model, "_nested_inputs", None) is not None:
        return model._nested_inputs
    if (called_on := getattr(model, "_saved_model_inputs_spec", None)) is not None:
        return called_on
    raise ModelError(
        f"the model {model.name!r} ({type(model).__name__}) has not been called, so it is not "
        "known what it takes",
        hint="call it once on an array of the right shape, for example "
        "model(np.zeros((1, 28, 28, 1)))",
    )


@contextmanager
def _read_whole(variables: Sequence[Any]) -> Iterator[None]:
    """Have rows of variables taken from what is read of each as a whole, until the context ends.

    Else the rows of an embedding would be all that is ever read of it.
    """

    def rows_of(variable: Any) -> Callable[..., Any]:
        return lambda indices, name=None: tf.gather(variable.read_value(), indices, name=name)

    held = [vars(getattr(one, "_variable", one)) for one in variables]  # in mixed precision
    for attributes, variable in zip(held, variables, strict=True):
        attributes["sparse_read"] = rows_of(variable)
    try:
        yield
    finally:
        for attributes in held:
            attributes.pop("sparse_read", None)
