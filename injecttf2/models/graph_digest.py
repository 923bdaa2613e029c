"""The digest of a traced graph: equal where the same is computed, whatever it is called.

The operations are told in the order in which one meets them on the way back from what comes out,
each with the places of those that it takes something from. So no name counts, nor the order in
which the operations were made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph_def

from injecttf2.graph.tracing import ASSIGNING, READS, Trace

UNTOLD = ("shared_name", "container", "config_proto", "executor_type", "debug_name")
"""Attributes of operations that say nothing of what is computed; nor do those that begin with _."""


def graph_digest(trace: Trace) -> str:
    """Return the 128-bit blake2b digest of a traced model, hexadecimal.

    It covers the operations that decide what comes out or whether anything does, with their
    attributes, constants and the functions that they call; and dtype, shape and contents of the
    variables that they read.

    Args:
        trace: The model.
    """
    definition = trace.graph.as_graph_def()
    given: dict[str, Any] = {one.name: ["input", at] for at, one in enumerate(trace.inputs)}
    given.update((name, _content(outer)) for name, outer in trace.captures.items())
    acting = [
        one.name
        for one in trace.graph.get_operations()
        if one.op_def.is_stateful and one.inputs and one.type not in (*ASSIGNING, *READS)
    ]
    telling = _Telling({one.signature.name: one for one in definition.library.function})
    ends = [one.name for one in trace.outputs]
    return _digest(telling.graph(definition.node, given, ends, acting))


class _Telling:
    """Tells graphs in plain values.

    Args:
        functions: Those that operations call, by name.
    """

    def __init__(self, functions: Mapping[str, Any]) -> None:
        self._functions = functions
        self._told: dict[str, str] = {}

    def graph(
        self, nodes: Iterable[Any], given: Mapping[str, Any], ends: list[str], acting: list[str]
    ) -> list[Any]:
        """Return what a graph computes.

        Args:
            nodes: Its operations.
            given: What goes in, by the names of tensors; what is met twice is the same one.
            ends: Names of the tensors that come out.
            acting: Names of operations that count although nothing depends on them.
        """
        by_name = {node.name: node for node in nodes}
        places: dict[str, int] = {}
        told: list[Any] = []

        def place(name: str, content: Any) -> None:
            places[name] = len(told)
            told.append(content)

        waiting = [*reversed([*(end.rpartition(":")[0] for end in ends), *acting])]
        while waiting:
            name = waiting[-1]
            node = by_name[name]
            sources = [_source(one)[0] for one in node.input if not one.startswith("^")]
            missing = [] if f"{name}:0" in given else [one for one in sources if one not in places]
            if name in places or not missing:
                waiting.pop()
            if name in places:
                continue
            if f"{name}:0" in given:
                place(name, given[f"{name}:0"])
            elif missing:
                waiting.extend(reversed(missing))
            else:
                taken = [_source(one) for one in node.input if not one.startswith("^")]
                inputs = [[places[source], at] for source, at in taken]
                place(name, [node.op, self._attributes(node), inputs])
        out = [[places[source], at] for source, at in map(_source, ends)]
        return [told, out]

    def _attributes(self, node: Any) -> list[Any]:
        return [
            [name, self._value(node.attr[name])]
            for name in sorted(node.attr)
            if not name.startswith("_") and name not in UNTOLD
        ]

    def _value(self, value: Any) -> Any:
        kind = value.WhichOneof("value")
        if kind == "tensor":
            return _array(tf.make_ndarray(value.tensor))
        if kind == "func":
            return self._function(value.func.name)
        if kind == "list" and value.list.func:
            return [self._function(one.name) for one in value.list.func]
        return str(value.SerializeToString(deterministic=True).hex())

    def _function(self, name: str) -> str:
        """Return the digest of a function."""
        if name not in self._told:
            function = self._functions[name]
            with tf.init_scope():  # where the functions are known that it calls
                body, flat = function_def_to_graph_def(function)
            arguments = enumerate(function.signature.input_arg)
            given = {f"{one.name}:0": ["argument", at] for at, one in arguments}
            ends = [flat[function.ret[one.name]] for one in function.signature.output_arg]
            acting = sorted(function.control_ret.values(), key=[*map(_name, body.node)].index)
            self._told[name] = _digest(self.graph(body.node, given, ends, acting))
        return self._told[name]


def _name(node: Any) -> str:
    return str(node.name)


def _source(name: str) -> tuple[str, int]:
    """Return the operation that a tensor comes from, and which of its outputs it is."""
    operation, _, output = name.partition(":")
    return operation, int(output or 0)


def _content(outer: Any) -> Any:
    """Return what is known of something that a graph takes from outside."""
    if outer.dtype != tf.resource:
        return ["constant", _array(outer.numpy())]
    (held,) = outer._handle_data.shape_and_type
    value = tf.raw_ops.ReadVariableOp(resource=outer, dtype=tf.as_dtype(held.dtype))
    return ["variable", _array(value.numpy())]


def _array(array: Any) -> list[Any]:
    """Return dtype, shape and digest of an array."""
    array = np.asarray(array)
    if array.dtype.kind in "OSU":
        return [array.dtype.kind, list(array.shape), [repr(one) for one in array.ravel()]]
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    return [array.dtype.name, list(array.shape), _hash(content)]


def _digest(told: Any) -> str:
    return _hash(json.dumps(told).encode())


def _hash(content: Any) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
