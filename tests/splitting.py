"""An oracle for models that are none of Keras 3: the model as halves, and plain NumPy between them.

It shares no code with the engine: whoever has a model says how to run it up to a layer and on from
there; words are changed one at a time and outcomes decided by the rules that the documentation
states. Weights are set for real, and set back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import combinations
from typing import Any

import numpy as np

from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.faults.bit_faults import BitFlip
from injecttf2.faults.fault_model import Fault
from injecttf2.judging.outcomes import OUTCOMES
from injecttf2.sampling.rates import Count, Probability
from injecttf2.trial import WEIGHTS
from tests.builders import cell_of
from tests.comparing import trials_of

Halves = tuple[Callable[[], np.ndarray], Callable[[np.ndarray], np.ndarray]]
"""Returns what a layer gives out; and the model's output where it gives out something else."""

FAULTS = (BitFlip(bit_field="any"), BitFlip(bit_field="exponent"))


def halves(library: Any, model: Any, data: Sequence[Any], tensor: Any, output: Any) -> Halves:
    """Cut a functional model of a library, Keras 2 or 3, at a symbolic tensor of it."""
    given = list(zip(model.inputs, data, strict=True))

    def part(end: Any, *start: Any) -> tuple[Any, list[Any]]:
        """Return a part of the model, and the data of those inputs that it needs beside."""
        for count in range(len(given) + 1):
            for some in combinations(given, count):
                with suppress(ValueError):  # not connected, or not needed
                    return library.Model([*start, *(one for one, _ in some)], end), [
                        values for _, values in some
                    ]
        raise AssertionError("the model cannot be cut there")

    front, beside_front = part(tensor)
    if tensor is output:
        return lambda: np.array(front(beside_front, training=False)), lambda values: values
    back, beside_back = part(output, tensor)
    return (
        lambda: np.array(front(beside_front, training=False)),
        lambda values: np.array(back([values, *beside_back], training=False)),
    )


def flipped(values: np.ndarray, place: tuple[int, ...], bit: int) -> np.ndarray:
    words = values.copy().view(f"u{values.dtype.itemsize}")
    words[place] ^= words.dtype.type(1 << bit)
    changed: np.ndarray = words.view(values.dtype)
    return changed


def outcome(golden: np.ndarray, faulty: np.ndarray) -> str:
    with np.errstate(invalid="ignore"):  # of what holds NaN
        golden, faulty = (one.astype(np.float64).ravel() for one in (golden, faulty))
    if not np.isfinite(faulty).all():
        return "due"
    if golden.argmax() != faulty.argmax():
        return "sdc"
    return "benign" if np.abs(faulty - golden).max() > 2**-16 * np.abs(golden).max() else "masked"


def check_outputs(
    engine: Engine, layer: str, split: Halves, faults: Sequence[Fault] = FAULTS
) -> set[str]:
    """Compare trials in the outputs of a layer; return the outcomes that there were."""
    front, back = split
    values = front()
    golden = back(values)
    seen: set[str] = set()
    for fault in faults:
        (trial,) = trials_of(cell_of(layer, fault, Probability(0.9)))
        found = engine.evaluate([trial], record=True).injections
        assert found is not None
        assert len(found.sample) > len(engine.dataset) / 2
        changed = values.copy()
        for row, sample in enumerate(found.sample):
            place = np.unravel_index(found.element[row], values.shape[1:])
            changed[sample] = flipped(values[sample], place, int(found.bit[row]))
            np.testing.assert_allclose(values[sample][place], found.original[row], rtol=1e-2)
        faulty = back(changed)
        expected = [outcome(golden[one], faulty[one]) for one in found.sample]
        assert [OUTCOMES[code] for code in found.outcome] == expected, layer
        samples, outputs = engine.outputs(trial)
        np.testing.assert_allclose(outputs, faulty[samples], rtol=2e-3, atol=1e-5)
        seen.update(expected)
    return seen


def check_weights(
    engine: Engine, layer: str, variables: dict[str, Any], whole: Callable[[], np.ndarray]
) -> set[str]:
    """Compare trials in the weights of a layer; return the outcomes that there were.

    Args:
        engine: The engine.
        layer: Address of the layer.
        variables: TensorFlow's variables by the names that they have at that address.
        whole: Returns the model's output.
    """
    golden = whole()
    seen: set[str] = set()
    for fault in FAULTS:
        (trial,) = trials_of(cell_of(layer, fault, Count(3), WEIGHTS))
        found = engine.evaluate([trial], record=True).injections
        assert found is not None
        assert found.variable is not None
        sites = set(zip(found.variable, found.element, found.bit, strict=True))
        before = {name: variables[name].numpy() for name, _, _ in sites}
        changed = dict(before)
        for name, element, bit in sites:
            place = np.unravel_index(element, changed[name].shape)
            changed[name] = flipped(changed[name], place, int(bit))
        for name, values in changed.items():
            variables[name].assign(values)
        faulty = whole()
        for name, values in before.items():
            variables[name].assign(values)
        for sample, code in zip(found.sample, found.outcome, strict=True):
            assert OUTCOMES[code] == outcome(golden[sample], faulty[sample]), layer
        seen.update(OUTCOMES[code] for code in found.outcome)
    return seen


def dataset(data: Sequence[np.ndarray], classes: int = 3) -> Dataset:
    labels = np.random.default_rng(1).integers(0, classes, len(data[0]))
    return Dataset(data[0] if len(data) == 1 else tuple(data), labels)
