"""Cuts: a model split into what is golden and what a fault goes through."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from injecttf2.hooks import replaced, tapped
from injecttf2.places import Place
from injecttf2.steps import Step
from injecttf2.tracing import Trace


@dataclass(frozen=True, eq=False)
class Cut:
    """A model split in two.

    Args:
        frontier: Keys of the tensors that the suffix needs, the one that is cut at first, if there
            is one, then every golden tensor that by-passes it, and masks of Keras beside them.
        prefix: Steps that compute the frontier from the model's inputs.
        suffix: Steps that a fault goes through.
        at: The step that makes the tensor that is cut at, if there is one.
    """

    frontier: tuple[int, ...]
    prefix: tuple[Step, ...]
    suffix: tuple[Step, ...]
    at: tuple[Step, ...] = ()


class Cutter:
    """Cuts a model.

    Args:
        steps: All steps in order.
        trace: A trace of them.
        outputs: Keys of the model's outputs.
    """

    def __init__(self, steps: Sequence[Step], trace: Trace, outputs: Sequence[int]) -> None:
        self._steps = steps
        self._trace = trace
        self._outputs = outputs

    def at(self, place: Place) -> Cut:
        """Split at one tensor; the suffix holds its descendants and nothing else.

        A branch that runs beside it is golden, and is part of the frontier where it joins. Where
        the tensor is inside a step, that step is in the suffix, and its inputs in the frontier.
        """
        step, inner = place.step, place.inner
        suffix = self._behind({place.key}, () if inner is None else (step,))
        if inner is not None:
            suffix = [replaced(step, inner) if one is step else one for one in suffix]
        frontier = self._frontier([place.key], suffix)
        prefix = self.ancestors(frontier)
        if inner is not None:
            prefix = tuple(sorted([*prefix, tapped(step, inner)], key=lambda one: one.index))
        return Cut(frontier, prefix, tuple(suffix), (step,))

    def before(self, chosen: Collection[Step]) -> Cut:
        """Split so that some steps and their descendants are behind the cut."""
        suffix = [step for step in self._behind(set(), chosen) if not step.is_input]
        frontier = self._frontier([], suffix)
        return Cut(frontier, self.ancestors(frontier), tuple(suffix))

    def ancestors(self, keys: Iterable[int]) -> tuple[Step, ...]:
        """Return the steps that compute tensors, in order."""
        needed = set(keys)
        steps: list[Step] = []
        for step in reversed(self._steps):
            if needed.intersection(self._trace.made_by(step)):
                needed.update(self._trace.read_by(step))
                steps.append(step)
        return tuple(reversed(steps))

    def _behind(self, reached: set[int], chosen: Collection[Step]) -> list[Step]:
        """Return some steps, and those that depend on them or on tensors that are ``reached``."""
        reached = set(reached)
        found: list[Step] = []
        for step in self._steps:
            if step in chosen or reached.intersection(self._trace.read_by(step)):
                reached.update(self._trace.made_by(step))
                found.append(step)
        return found

    def _frontier(self, first: Sequence[int], suffix: Sequence[Step]) -> tuple[int, ...]:
        """Return what steps read but do not make, and outputs that they do not make."""
        made = {key for step in suffix for key in self._trace.made_by(step)}
        read = [key for step in suffix for key in self._trace.read_by(step)]
        needed = dict.fromkeys([*first, *read, *self._outputs])
        return tuple(key for key in needed if key not in made)
