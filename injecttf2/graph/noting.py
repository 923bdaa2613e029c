"""Noting the calls of layers, by standing in for the methods that they are called by."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from injecttf2.graph.traceable import Visit


@contextmanager
def noting(
    layers: Sequence[Any],
    methods: Sequence[str],
    visit: Visit,
    original: Callable[[Any, str], Callable[..., Any]] = getattr,
) -> Iterator[None]:
    """Have each call of some layers visited, until the context ends.

    Args:
        layers: The layers.
        methods: Names of the methods that they are called by.
        visit: What is told of a call, once it has ended.
        original: Returns what is then called in the place of a method of a layer.
    """
    stack: list[Any] = []

    def standing_in(layer: Any, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def called(*args: Any, **kwargs: Any) -> Any:
            if stack and stack[-1] is layer:  # one of its methods goes on to another
                return method(*args, **kwargs)
            within = tuple(stack)
            stack.append(layer)
            try:
                outputs = method(*args, **kwargs)
            finally:
                stack.pop()
            return visit(within, layer, outputs)

        noted: Callable[..., Any] = tf.autograph.experimental.do_not_convert(called)
        return noted

    # Not setattr, by which Keras and TensorFlow would track what is set.
    held = [(vars(layer), layer, name) for layer in layers for name in methods]
    before = [attributes.get(name) for attributes, _, name in held]
    try:
        for attributes, layer, name in held:
            attributes[name] = standing_in(layer, original(layer, name))
        yield
    finally:
        for (attributes, _, name), own in zip(held, before, strict=True):
            attributes.pop(name, None)
            if own is not None:
                attributes[name] = own
