"""Copies of parts of a graph, with other tensors in the place of some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

Values = dict[str, Any]
"""Tensors of the graph that is being built, by the name of those that they stand for."""


class Importer:
    """Copies operations of a graph into the graph that is being built.

    Args:
        graph: The graph.
        captures: What it takes from outside, by the name of the tensor that stands for it.
    """

    def __init__(self, graph: Any, captures: Mapping[str, Any]) -> None:
        definition = graph.as_graph_def()
        self._captures = captures
        self._library = definition.library
        self._versions = definition.versions
        self._nodes: dict[str, Any] = {}
        for node in definition.node:
            node.attr.pop("_class", None)  # beside which other it is to be
            node.device = ""
            data = [one for one in node.input if not one.startswith("^")]
            if len(data) < len(node.input):
                del node.input[:]
                node.input.extend(data)
            self._nodes[node.name] = node

    def copy(self, operations: Sequence[Any], values: Values, wanted: Sequence[str]) -> None:
        """Copy operations, and those without data that they need.

        Args:
            operations: In an order of execution.
            values: Tensors that go in; those wanted are added.
            wanted: Names of the tensors that are needed of what comes out.
        """
        part = tf.compat.v1.GraphDef(versions=self._versions)
        given: Values = {}
        done: set[str] = set()
        graph = tf.compat.v1.get_default_graph()

        def add(operation: Any) -> None:
            if operation.name in done:
                return
            done.add(operation.name)
            for tensor in operation.inputs:
                name = tensor.name
                if name in values:
                    given[name] = graph.capture(values[name])  # itself, if it is of this graph
                elif name in self._captures:
                    given[name] = graph.capture(self._captures[name])
                else:
                    add(tensor.op)
            part.node.append(self._nodes[operation.name])

        for operation in operations:
            add(operation)
        if self._library.function:
            part.library.CopyFrom(self._library)
        found = tf.graph_util.import_graph_def(
            part, input_map=given, return_elements=list(wanted), name="part"
        )
        values.update(zip(wanted, found, strict=True))
