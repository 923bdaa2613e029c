"""Probabilities of classes, from what a classifier gives out."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import tensorflow as tf

from injecttf2.graph.keras_steps import is_keras
from injecttf2.judging.judge import Output, one_row
from injecttf2.models.scopes import Scope


def check_classifier(output: Output, what: str) -> None:
    """Check that an output is one number of a binary classifier, or one row of classes.

    Raises:
        ModelError: It is something else.
    """
    if output.shape != ():
        one_row(output, at_least=1, what=what)


def class_scores(outputs: Any, *, logits: bool) -> Any:
    """Return one score for each class; a binary classifier's single output becomes two.

    Args:
        outputs: Floating-point [samples, classes], or [samples, 1] or [samples], the score of
            class 1 of a binary classifier.
        logits: Whether they are logits, not probabilities.

    Returns:
        float64 [samples, classes], two at least; logits where ``logits``, probabilities else.
    """
    scores = tf.cast(outputs, tf.float64)
    if scores.shape.rank == 1:
        scores = scores[:, tf.newaxis]
    if scores.shape[1] > 1:
        return scores
    # The sigmoid of x is the softmax of 0 and x.
    return tf.concat([tf.zeros_like(scores) if logits else 1 - scores, scores], axis=1)


def probabilities(outputs: Any, *, logits: bool) -> Any:
    """Return the probability of each class.

    Args:
        outputs: As :func:`class_scores` takes them.
        logits: Whether they are logits: then a softmax is applied, or a sigmoid to a single one.

    Returns:
        float64 [samples, classes].
    """
    scores = class_scores(outputs, logits=logits)
    return tf.nn.softmax(scores, axis=1) if logits else scores


def gives_logits(operation: Any) -> bool:
    """Return whether a model whose last operation this is gives logits, as its class says it.

    It does unless the operation is a softmax or a sigmoid, or ends with one.

    Args:
        operation: A Keras layer or operation.
    """
    return ending(operation) not in ("softmax", "sigmoid")


def ending(operation: Any) -> str | None:
    """Return what a model's last operation ends with; None where it is nothing of the library's.

    Args:
        operation: A layer or operation of Keras, or a scope of a graph.

    Returns:
        The name of the activation, where it could have one; else its own, in lower case.
    """
    operation = unwrapped(operation)
    activation = getattr(operation, "activation", None)
    if isinstance(activation, FunctionType) and is_keras(activation):
        return str(activation.__name__)
    if isinstance(operation, Scope):
        return operation.type.lower()
    return type(operation).__name__.lower() if is_keras(type(operation)) else None


def unwrapped(operation: Any) -> Any:
    """Return the layer in a wrapper such as ``TimeDistributed``, anything else as it is."""
    inner = getattr(operation, "layer", None)
    return unwrapped(inner) if hasattr(inner, "weights") else operation
