"""The oracle: evaluates a trial the slow way, sharing no code with the engine.

The whole model runs for every trial; Keras itself walks its graph; sites are drawn and bits are
flipped one at a time in Python loops by the rules that the documentation states.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

FORMATS = {"float16": ("<e", "<H"), "float32": ("<f", "<I"), "float64": ("<d", "<Q")}


@dataclass(frozen=True)
class Site:
    sample: int
    element: int
    bit: int


@dataclass(frozen=True)
class ReferenceResult:
    sites: list[Site]
    outcomes: list[str]
    golden_classes: list[int]
    faulty_classes: list[int]
    sdc_critical: int
    accuracy: float
    golden_accuracy: float

    def count(self, outcome: str) -> int:
        return self.outcomes.count(outcome)


def flip(value: float, bit: int, dtype: str) -> float:
    """Flip one bit by way of the value's bytes."""
    if dtype == "bfloat16":  # the upper half of a float32
        return flip(value, bit + 16, "float32")
    floating, unsigned = FORMATS[dtype]
    (word,) = struct.unpack(unsigned, struct.pack(floating, value))
    (flipped,) = struct.unpack(floating, struct.pack(unsigned, word ^ (1 << bit)))
    return float(flipped)


def draw_sites(
    trial_id: int, samples: int, elements: int, candidates: list[int], probability: float
) -> list[Site]:
    uniform = np.random.Generator(np.random.Philox(key=trial_id)).random((3, samples))
    sites = []
    for sample in range(samples):
        if uniform[0, sample] < probability:
            element = int(uniform[1, sample] * elements)
            bit = candidates[int(uniform[2, sample] * len(candidates))]
            sites.append(Site(sample, element, bit))
    return sites


def forward(model: keras.Model, inputs: np.ndarray, layer: str, sites: dict[int, Site]) -> Any:
    """Run the whole model on one batch, flipping bits in what ``layer`` gives out.

    As in ``model.predict`` TensorFlow runs the model as one graph: op by op it does not fuse a
    convolution with its ReLU, and a fused ReLU treats NaN differently.
    """
    function = getattr(model, "_functional", None) or model

    def flip_sites(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        for row, site in sites.items():
            flat = array[row].reshape(-1)
            flat[site.element] = flip(float(flat[site.element]), site.bit, array.dtype.name)
        return array

    def corrupted(output: Any) -> Any:
        changed = tf.numpy_function(flip_sites, [output], output.dtype)
        return tf.ensure_shape(changed, output.shape)

    calls: dict[str, int] = {}

    def operation_of(operation: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls[operation.name] = calls.get(operation.name, 0) + 1
            number = calls[operation.name]
            address = operation.name if number == 1 else f"{operation.name}#{number}"
            if "training" in getattr(operation, "_call_context_args", {}):
                kwargs["training"] = False
            output = operation(*args, **kwargs)
            return corrupted(output) if address == layer else output

        return call

    @tf.function(autograph=False)
    def whole(batch: Any) -> Any:
        if layer == function.inputs[0]._keras_history.operation.name:
            batch = corrupted(batch)
        outputs = function._run_through_graph([batch], operation_fn=operation_of)
        return keras.tree.flatten(outputs)[0]

    return whole(tf.constant(inputs)).numpy().astype(np.float64)


def batches(inputs: np.ndarray, size: int) -> Iterator[tuple[int, np.ndarray, int]]:
    """Yield start, a batch of exactly ``size`` rows, and how many of them are real."""
    for start in range(0, len(inputs), size):
        rows = inputs[start : start + size]
        filled = np.concatenate([rows, np.repeat(rows[:1], size - len(rows), axis=0)])
        yield start, filled, len(rows)


def run_model(
    model: keras.Model, inputs: np.ndarray, layer: str, sites: list[Site], batch: int
) -> np.ndarray:
    by_sample = {site.sample: site for site in sites}
    outputs = []
    for start, rows, real in batches(inputs, batch):
        here = {row: by_sample[start + row] for row in range(real) if start + row in by_sample}
        outputs.append(forward(model, rows, layer, here)[:real])
    return np.concatenate(outputs)


def judge(golden: np.ndarray, faulty: np.ndarray) -> str:
    if not all(np.isfinite(value) for value in faulty):
        return "due"
    if int(faulty.argmax()) != int(golden.argmax()):
        return "sdc"
    limit = 2.0**-16 * max(abs(value) for value in golden)
    if all(abs(one - other) <= limit for one, other in zip(faulty, golden, strict=True)):
        return "masked"
    return "benign"


def evaluate(
    model: keras.Model,
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    layer: str,
    trial_id: int,
    elements: int,
    candidates: list[int],
    probability: float,
    batch: int = 64,
) -> ReferenceResult:
    sites = draw_sites(trial_id, len(inputs), elements, candidates, probability)
    golden = run_model(model, inputs, layer, [], batch)
    faulty = run_model(model, inputs, layer, sites, batch)
    outcomes, golden_classes, faulty_classes, critical = [], [], [], 0
    for site in sites:
        outcome = judge(golden[site.sample], faulty[site.sample])
        golden_class = int(golden[site.sample].argmax())
        outcomes.append(outcome)
        golden_classes.append(golden_class)
        faulty_classes.append(-1 if outcome == "due" else int(faulty[site.sample].argmax()))
        critical += outcome == "sdc" and golden_class == labels[site.sample]
    decisions = golden.argmax(axis=1)
    golden_accuracy = sum(decisions == labels) / len(labels)
    for site, faulty_class in zip(sites, faulty_classes, strict=True):
        decisions[site.sample] = faulty_class
    return ReferenceResult(
        sites,
        outcomes,
        golden_classes,
        faulty_classes,
        critical,
        sum(decisions == labels) / len(labels),
        golden_accuracy,
    )
