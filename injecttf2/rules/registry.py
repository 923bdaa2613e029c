"""The registry of rules: what a layer makes of a window.

A rule is a function of a step of the model and the differences so far. At least one of the step's
inputs has a window, and the rule returns the window of its output, or None where the layer, as it
is set up, changes more than a window. It is registered for the exact classes that it holds for: a
subclass may compute something else.

To add one::

    @rule(keras.layers.MyLayer)
    def my_layer(step: Step, differences: Differences) -> Window | None: ...
"""

from __future__ import annotations

from collections.abc import Callable

from injecttf2.graph import Step
from injecttf2.windows import Differences, Window

Rule = Callable[[Step, Differences], Window | None]

RULES: dict[type, Rule] = {}
"""Rules by the class of the layer or operation."""

FLAT: set[type] = set()
"""Classes whose rule takes a window that is one in another shape than the tensor's."""

EXACT: set[type] = set()
"""Classes of the layers and operations that sum nothing: no order of summation matters to them."""


def rule(*types: type, exact: bool = False, flat: bool = False) -> Callable[[Rule], Rule]:
    """Register a rule for the layers or operations of exactly these classes.

    Args:
        types: The classes.
        exact: Whether they sum nothing.
        flat: Whether the rule takes a window that is one in another shape than the tensor's.
    """

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(types, function))
        EXACT.update(types if exact else ())
        FLAT.update(types if flat else ())
        return function

    return register


def output_window(step: Step, differences: Differences) -> Window | None:
    """Return the window of a step's output, or None where no rule gives one."""
    found = RULES.get(type(step.operation))
    if found is None or len(step.outputs) != 1:
        return None
    windows = [differences.windows[key] for key in step.inputs if key in differences.windows]
    if type(step.operation) not in FLAT and any(window.shape is not None for window in windows):
        return None
    return found(step, differences)


def only_window(step: Step, differences: Differences) -> Window:
    """Return the window of the input of a step that has one input."""
    return differences.windows[step.inputs[0]]
