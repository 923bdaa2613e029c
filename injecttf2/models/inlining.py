"""A graph with the bodies of the functions that it calls in their places.

A function that is called is one operation of the graph around it: neither what is inside nor what
is read of variables there can be replaced. Loops and branches stay single operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph_def

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
"""Operations that call a function."""

FORGOTTEN = ("_class", "_output_shapes")
"""Attributes of operations that do not hold for other samples, or elsewhere."""


class Inlining:
    """The flat form of a graph.

    Args:
        graph: The graph.

    Attributes:
        definition: It without its placeholders.
        outputs: Names of the tensors that come out.
    """

    def __init__(self, graph: Any) -> None:
        whole = graph.as_graph_def()
        self._functions = {one.signature.name: one for one in whole.library.function}
        self.definition = tf.compat.v1.GraphDef(versions=whole.versions, library=whole.library)
        given = {one.name: one.name for one in graph.inputs}
        called = self._add(whole.node, "", given)
        self.outputs = tuple(called.get(one.name, one.name) for one in graph.outputs)

    def _add(self, nodes: Iterable[Any], scope: str, given: Mapping[str, str]) -> dict[str, str]:
        """Add nodes under a scope, each behind those that it needs.

        Args:
            nodes: In an order of execution.
            scope: What goes in front of their names.
            given: Names of the tensors that stand for what goes in.

        Returns:
            The same and names of the tensors that stand for what calls give out.
        """
        known = dict(given)

        def resolved(name: str) -> str:
            tensor = name if ":" in name else f"{name}:0"
            return known.get(tensor, f"{scope}{tensor}")

        for node in nodes:
            if f"{node.name}:0" in given:
                continue
            inputs = [resolved(name) for name in node.input if not name.startswith("^")]
            called = node.attr["f"].func.name if node.op in CALLS else node.op
            if called in self._functions:
                outputs = self._add_body(called, f"{scope}{node.name}/", inputs)
                known.update((f"{node.name}:{at}", name) for at, name in enumerate(outputs))
                continue
            copy = self.definition.node.add()
            copy.CopyFrom(node)
            copy.name, copy.device = f"{scope}{node.name}", ""
            del copy.input[:]
            copy.input.extend(inputs)
            for name in FORGOTTEN:
                copy.attr.pop(name, None)
            if node.op == "ResourceGather":
                self._read_whole(copy)
        return known

    def _read_whole(self, gather: Any) -> None:
        """Have rows of a variable taken from what is read of it as a whole, so that it is read."""
        dtype, handle = gather.attr["dtype"], gather.input[0]
        read = self.definition.node.add(name=f"{gather.name}/read", op="ReadVariableOp")
        read.input.append(handle)
        read.attr["dtype"].CopyFrom(dtype)
        axis = self.definition.node.add(name=f"{gather.name}/axis", op="Const")
        axis.attr["dtype"].type = tf.int32.as_datatype_enum
        axis.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(0, tf.int32))
        gather.op = "GatherV2"
        gather.input[0] = f"{read.name}:0"
        gather.input.append(f"{axis.name}:0")
        kept = {"Tparams": dtype, "Tindices": gather.attr["Tindices"]}
        kept["Taxis"] = axis.attr["dtype"]
        kept["batch_dims"] = gather.attr["batch_dims"]
        gather.attr.clear()
        for name, value in kept.items():
            gather.attr[name].CopyFrom(value)

    def _add_body(self, name: str, scope: str, inputs: list[str]) -> list[str]:
        """Add the body of a function; return the names of the tensors that it gives out."""
        function = self._functions[name]
        body, flat = function_def_to_graph_def(function)
        arguments = (f"{one.name}:0" for one in function.signature.input_arg)
        known = self._add(body.node, scope, dict(zip(arguments, inputs, strict=True)))
        ends = (flat[function.ret[one.name]] for one in function.signature.output_arg)
        return [known.get(end, f"{scope}{end}") for end in ends]

    def copy(self, given: Mapping[str, Any]) -> list[Any]:
        """Copy it into the graph that is being built; return what comes out.

        Args:
            given: Tensors that go in, by the names of the placeholders that they stand for.
        """
        used = {*self.outputs, *(name for node in self.definition.node for name in node.input)}
        passed = [name for name in self.outputs if name in given]
        made: list[Any] = tf.graph_util.import_graph_def(
            self.definition,
            input_map={name: tensor for name, tensor in given.items() if name in used},
            return_elements=[name for name in self.outputs if name not in passed],
            name="model",
        )
        rest = iter(made)
        return [tf.identity(given[name]) if name in given else next(rest) for name in self.outputs]
