"""The oracle: evaluates a trial the slow way, sharing no code with the engine.

The whole model runs for every trial; Keras itself walks its graph; sites are drawn and words are
changed one at a time in Python loops by the rules that the documentation states, from what a
results row says of the trial. Weights are set for real, and set back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests import judging
from tests.reference_calls import given, input_names, watching
from tests.reference_faults import corrupted, spot_of, width_of
from tests.reference_protections import fates, innermost
from tests.reference_sites import Site, draw_outputs, draw_weights

RATES = ("probability", "count", "ber", "exhaustive")


@dataclass(frozen=True)
class Judging:
    """What is asked of outputs; each output and label is that of one sample.

    Args:
        differs: Whether the decision on an output is another than on the golden one.
        score: Of an output, given the label.
        classes: Class of an output.
        metrics: Pairs of the worst value, and a function of output, golden output and label.
        criteria: Functions of output and golden output.
    """

    differs: Callable[[Any, Any], bool] = judging.top1_differs
    score: Callable[[Any, Any], float] = lambda output, label: judging.topk_score(output, label, 1)
    classes: Callable[[Any], int] = lambda output: judging.ranked(judging.flat(output))[0]
    metrics: tuple[tuple[float, Callable[[Any, Any, Any], float]], ...] = ()
    criteria: tuple[Callable[[Any, Any], bool], ...] = ()


def per_position(
    *, limit: float = 0.5, tolerance: float = 0.0, ignore: int | None = None
) -> Judging:
    """What is asked where each position is given a class."""
    how = {"limit": limit, "tolerance": tolerance}
    return Judging(
        differs=lambda one, golden: judging.positions_differ(one, golden, **how),
        score=lambda one, label: judging.positions_score(one, label, limit=limit, ignore=ignore),
        classes=lambda _: -1,
    )


@dataclass(frozen=True)
class Row:
    """One site in one sample."""

    layer: int
    variable: str | None
    sample: int
    element: int
    bit: int
    original: float
    corrupted: float
    outcome: str
    golden_class: int
    faulty_class: int


@dataclass
class ReferenceResult:
    """What a trial did; ``outcomes`` has one entry for each sample that is hit."""

    rows: list[Row] = field(default_factory=list)
    sites: int = 0
    outcomes: list[str] = field(default_factory=list)
    detected: int = 0
    sdc_critical: int = 0
    due_changed: int = 0
    accuracy: float = 0.0
    golden_accuracy: float = 0.0
    metrics: list[float] = field(default_factory=list)
    criteria: list[int] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        return self.outcomes.count(outcome)


@dataclass
class Tensor:
    """What a layer gives out: elements of one sample, dtype, and the sites in it by sample.

    ``seen`` holds for each site the values before and after; ``corrected`` are the sites without
    effect.
    """

    elements: int = 0
    dtype: str = ""
    sites: dict[int, list[Site]] = field(default_factory=dict)
    seen: dict[Site, tuple[float, float]] = field(default_factory=dict)
    corrected: set[Site] = field(default_factory=set)


class Reference:
    """A model and its data.

    Args:
        model: The model.
        inputs: One array, or a tuple of several.
        labels: [samples, ...].
        output: Which of several outputs is judged.
        batch: Samples that the model runs on at a time.
        judging: What is asked of outputs.
        watched: Layers that are hit by and by: the model is traced once for all of them, not anew
            for each.
    """

    def __init__(
        self,
        model: keras.Model,
        inputs: Any,
        labels: np.ndarray,
        *,
        output: int = 0,
        batch: int = 48,
        judging: Judging | None = None,
        watched: Sequence[str] = (),
    ) -> None:
        self.model = model
        self.arrays = inputs if isinstance(inputs, tuple) else (inputs,)
        self.labels = labels
        self.output = output
        self.batch = batch
        self.judging = judging or Judging()
        self.watched = tuple(watched)
        self._compiled: dict[tuple[str, ...], Any] = {}
        self._golden: dict[tuple[str, ...], np.ndarray] = {}
        self._tensors: dict[str, Tensor] = {}
        self._operations: dict[str, Any] = {}
        self._rows: dict[int, int] = {}
        self._active: frozenset[str] = frozenset()
        self._raised: set[int] = set()
        self._stopped: set[int] = set()
        self._last: tuple[int, ReferenceResult] | None = None
        # TensorFlow's own threads take the smallest numbers for 0.
        self._thread = ThreadPoolExecutor(1)
        self._thread.submit(int).result()

    def evaluate(self, trial: Any) -> ReferenceResult:
        """Evaluate a trial from the plain values that describe its cell, its number and its key.

        The last one is remembered.
        """
        if self._last is None or self._last[0] != trial.id:
            self._last = trial.id, self._evaluated(trial)
        return self._last[1]

    @property
    def golden(self) -> np.ndarray:
        """Outputs without faults, float64 [samples, ...]."""
        return self._golden_of([])

    def _evaluated(self, trial: Any) -> ReferenceResult:
        cell = trial.cell.to_dict()
        rate = next((name, cell[name]) for name in RATES if name in cell)
        if rate[0] == "exhaustive":
            rate = ("exhaustive", trial.repetition)
        layers = cell["layer"].split(" + ")
        self._stopped = set()
        if cell["target"] == "weights":
            return self._evaluate_weights(trial.key, cell, rate, layers)
        return self._evaluate_outputs(trial.key, cell, rate, layers)

    def _evaluate_outputs(
        self, key: int, cell: dict[str, Any], rate: tuple[str, Any], layers: list[str]
    ) -> ReferenceResult:
        golden = self._golden_of(layers)
        drawn = []
        for stream, layer in enumerate(layers):
            tensor = self._tensors[layer]
            sites = draw_outputs(
                key,
                rate,
                spot_of(cell, tensor.dtype),
                samples=len(self.labels),
                elements=tensor.elements,
                stream=stream,
            )
            tensor.sites, tensor.seen, tensor.corrected = {}, {}, set()
            for site in sites:
                tensor.sites.setdefault(site.place, []).append(site)
            for sample, some in tensor.sites.items():
                place = [layer], "outputs", width_of(tensor.dtype)
                corrected, stopped = fates(cell.get("protection", {}), *place, some)
                tensor.corrected |= corrected
                self._stopped |= {sample} if stopped else set()
            drawn.append(sites)
        faulty = self._run(layers, cell)
        for sample in self._stopped:
            faulty[sample] = np.nan
        hit = sorted({site.place for sites in drawn for site in sites})
        for sample in sorted(self._raised):
            self._see_what_was_hit(layers, sample)
        result = self._judged(golden, faulty, hit)
        result.sites = sum(map(len, drawn))
        for sample, outcome in zip(hit, result.outcomes, strict=True):
            classes = self._classes(golden[sample], faulty[sample], outcome)
            for number, layer in enumerate(layers):
                tensor = self._tensors[layer]
                for site in tensor.sites.get(sample, []):
                    place = (number, None, sample, site.element, site.bit)
                    result.rows.append(Row(*place, *tensor.seen[site], outcome, *classes))
        for layer in layers:
            self._tensors[layer].sites = {}
        return result

    def _evaluate_weights(
        self, key: int, cell: dict[str, Any], rate: tuple[str, Any], layers: list[str]
    ) -> ReferenceResult:
        golden = self._golden_of([])
        chosen = [one for one in self.weights(layers) if cell.get("variable") in (None, one[1])]
        sites = draw_weights(
            key,
            rate,
            [
                (math.prod(variable.shape), spot_of(cell, tf.as_dtype(variable.dtype).name))
                for _, _, variable in chosen
            ],
        )
        before = [np.array(variable.numpy()) for _, _, variable in chosen]
        after = [array.copy() for array in before]
        for number, (_, _, variable) in enumerate(chosen):
            own = [site for site in sites if site.place == number]
            width = width_of(tf.as_dtype(variable.dtype).name)
            place = self._layers_of(variable), "weights", width
            corrected, stopped = fates(cell.get("protection", {}), *place, own)
            self._stopped |= {*range(len(self.labels))} if stopped else set()
            for site in own:
                if site not in corrected:
                    change(after[number].reshape(-1), site, cell)
        try:
            for (_, _, variable), array in zip(chosen, after, strict=True):
                variable.assign(array)
            faulty = self._run([], cell)
        finally:
            for (_, _, variable), array in zip(chosen, before, strict=True):
                variable.assign(array)
        if self._stopped:
            faulty = np.full_like(faulty, np.nan)
        hit = list(range(len(self.labels))) if sites else []
        result = self._judged(golden, faulty, hit)
        result.sites = len(sites)
        for sample, outcome in zip(hit, result.outcomes, strict=True):
            classes = self._classes(golden[sample], faulty[sample], outcome)
            for site in sites:
                layer, name, _ = chosen[site.place]
                values = [float(one[site.place].flat[site.element]) for one in (before, after)]
                place = (layer, name, sample, site.element, site.bit)
                result.rows.append(Row(*place, *values, outcome, *classes))
        return result

    def weights(self, layers: Sequence[str]) -> list[tuple[int, str, Any]]:
        """The weights of some layers: which layer, name, variable; none twice."""
        operations = self._operations

        def find(address: str, operation: Any, outputs: Any) -> Any:
            operations.setdefault(address, operation)
            return outputs

        if not operations:
            with watching(self.model, find):
                rows = np.arange(self.batch) % len(self.labels)
                self._call(tuple(tf.constant(array[rows]) for array in self.arrays))
        found: dict[int, tuple[int, str, Any]] = {}
        for number, layer in enumerate(layers):
            operation = operations.get(layer) or operations[f"{layer}:0"]
            paths = [within(operation, path_of(variable)) for variable in operation.weights]
            last = [path.split("/")[-1] for path in paths]
            for path, name, variable in zip(paths, last, operation.weights, strict=True):
                unique = name if last.count(name) == 1 else path
                found.setdefault(id(variable), (number, unique, variable))
        return list(found.values())

    def _layers_of(self, variable: Any) -> list[str]:
        """The layers that compute with a variable."""
        return innermost(
            [
                name
                for name, one in self._operations.items()
                if one is not self.model
                and any(weight is variable for weight in getattr(one, "weights", ()))
            ]
        )

    def _golden_of(self, layers: Sequence[str]) -> np.ndarray:
        """Golden outputs, from the same function as those with faults."""
        holes = self._holes(layers)
        if holes not in self._golden:
            self._golden[holes] = self._run(layers, {})
        return self._golden[holes]

    def _run(self, layers: Sequence[str], fault: dict[str, Any]) -> np.ndarray:
        """Run the model on all data with the faults at the sites that the tensors have.

        A sample that makes an operation raise has no outputs: NaN stands for them.
        """
        holes = self._holes(layers)
        if holes not in self._compiled:
            self._compiled[holes] = self._traced(holes)
        self._fault, self._active, self._raised = fault, frozenset(layers), set()
        count = len(self.labels)
        batches = [range(at, min(at + self.batch, count)) for at in range(0, count, self.batch)]
        return np.concatenate([self._outputs(layers, batch) for batch in batches])

    def _outputs(self, layers: Sequence[str], samples: Sequence[int]) -> np.ndarray:
        """Run some samples together, or each by itself where an operation raises."""
        try:
            return self._forward(layers, samples)
        except tf.errors.OpError:
            if not self._fault:
                raise
        if len(samples) > 1:
            return np.concatenate([self._outputs(layers, [sample]) for sample in samples])
        self._raised.add(samples[0])
        return np.full((1, *next(iter(self._golden.values())).shape[1:]), np.nan)

    def _forward(self, layers: Sequence[str], samples: Sequence[int]) -> np.ndarray:
        """Run samples at their places in a batch, filled up with the first of them."""
        self._rows = {sample % self.batch: sample for sample in samples}
        filled = [self._rows.get(row, samples[0]) for row in range(self.batch)]
        rows = (tf.constant(array[filled]) for array in self.arrays)
        outputs = self._compiled[self._holes(layers)](*rows).numpy().astype(np.float64)
        return outputs[[sample % self.batch for sample in samples]]

    def _see_what_was_hit(self, layers: Sequence[str], sample: int) -> None:
        """See the values of each layer with the faults of those before it, where that runs."""
        seen: list[dict[Site, tuple[float, float]]] = []
        for number, layer in enumerate(layers):
            self._active = frozenset(layers[:number])
            sites = self._tensors[layer].sites.get(sample, [])
            try:
                self._forward(layers, [sample])
                seen.append({site: self._tensors[layer].seen[site] for site in sites})
            except tf.errors.OpError:
                seen.append(dict.fromkeys(sites, (math.nan, math.nan)))
        for layer, values in zip(layers, seen, strict=True):
            self._tensors[layer].seen.update(values)

    def _holes(self, layers: Sequence[str]) -> tuple[str, ...]:
        """The layers that have a hole where some of them are hit."""
        return self.watched if {*layers} <= {*self.watched} else tuple(layers)

    def _traced(self, layers: Sequence[str]) -> Any:
        """The model as one graph, with holes where some layers give something out.

        As in ``model.predict`` TensorFlow runs the model as one graph: op by op it does not fuse a
        convolution with its ReLU, and a fused ReLU treats NaN differently.
        """

        def through(address: str, operation: Any, tensor: Any) -> Any:
            if address not in layers:
                return tensor

            def changed(array: np.ndarray) -> np.ndarray:
                tensor = self._tensors.setdefault(address, Tensor())
                tensor.elements, tensor.dtype = math.prod(array.shape[1:]), array.dtype.name
                if not tensor.sites:
                    return array
                return self._thread.submit(self._corrupted, address, array).result()

            result = tf.numpy_function(changed, [tensor], tensor.dtype)
            result = tf.ensure_shape(result, tensor.shape)
            result._keras_mask = getattr(tensor, "_keras_mask", None)
            return result

        @tf.function(autograph=False)
        def whole(*batch: Any) -> Any:
            names = input_names(self.model)
            batch = tuple(through(name, None, one) for name, one in zip(names, batch, strict=True))
            with watching(self.model, through):
                return self._call(batch)

        return whole

    def _call(self, batch: tuple[Any, ...]) -> Any:
        outputs = self.model(given(self.model, batch), training=False)
        return keras.tree.flatten(outputs)[self.output]

    def _corrupted(self, layer: str, array: np.ndarray) -> np.ndarray:
        """What a layer gives out for a batch, with its faults."""
        tensor = self._tensors[layer]
        given, array = array, array.copy()
        for row, sample in self._rows.items():
            flat = array[row].reshape(-1)
            sites = tensor.sites.get(sample, [])
            before = [float(flat[site.element]) for site in sites]
            for site in sites:
                if site not in tensor.corrected:
                    change(flat, site, self._fault)
            after = [float(flat[site.element]) for site in sites]
            tensor.seen.update(zip(sites, zip(before, after, strict=True), strict=True))
        return array if layer in self._active else given

    def _classes(self, golden: Any, faulty: Any, outcome: str) -> tuple[int, int]:
        of = self.judging.classes
        return of(golden), -1 if outcome == "due" else of(faulty)

    def _judged(self, golden: np.ndarray, faulty: np.ndarray, hit: list[int]) -> ReferenceResult:
        """Judge the samples that are hit; the others are golden."""
        asked, labels = self.judging, self.labels
        outcomes = {}
        for sample in hit:
            finite = all(map(math.isfinite, judging.flat(faulty[sample])))
            differs = finite and asked.differs(faulty[sample], golden[sample])
            outcomes[sample] = judging.outcome(faulty[sample], golden[sample], differs=differs)
        was = [asked.score(one, label) for one, label in zip(golden, labels, strict=True)]
        now = list(was)
        metrics = [
            [function(one, one, label) for one, label in zip(golden, labels, strict=True)]
            for _, function in asked.metrics
        ]
        criteria = [0] * len(asked.criteria)
        critical = changed = 0
        for sample, outcome in outcomes.items():
            one, before, label = faulty[sample], golden[sample], labels[sample]
            if outcome == "due":
                now[sample] = 0.0
                places = [np.argmax(np.asarray(a, np.float64), -1) for a in (one, before)]
                judged = sample not in self._raised | self._stopped
                changed += judged and bool(np.any(places[0] != places[1]))
                for values, (worst, _) in zip(metrics, asked.metrics, strict=True):
                    values[sample] = worst
                continue
            for number, criterion in enumerate(asked.criteria):
                criteria[number] += criterion(one, before)
            if outcome == "masked":
                continue
            now[sample] = asked.score(one, label)
            critical += outcome == "sdc" and now[sample] < was[sample]
            for values, (_, function) in zip(metrics, asked.metrics, strict=True):
                values[sample] = function(one, before, label)
        return ReferenceResult(
            outcomes=list(outcomes.values()),
            detected=len(self._stopped & {*hit}),
            sdc_critical=critical,
            due_changed=changed,
            accuracy=sum(now) / len(labels),
            golden_accuracy=sum(was) / len(labels),
            metrics=[sum(values) / len(labels) for values in metrics],
            criteria=criteria,
        )


def change(flat: np.ndarray, site: Site, fault: dict[str, Any]) -> None:
    """Change one word of an array by way of its bytes."""
    dtype = flat.dtype.name
    held = flat[site.element : site.element + 1]
    word = int.from_bytes(held.tobytes(), "little")
    word = corrupted(word, dtype, fault, site.bit, site.draws)
    held[:] = np.frombuffer(word.to_bytes(width_of(dtype) // 8, "little"), flat.dtype)


def path_of(variable: Any) -> str:
    """A variable's path; Keras 2 has it in the name."""
    return getattr(variable, "path", None) or variable.name.partition(":")[0]


def within(operation: Any, path: str) -> str:
    """A variable's path behind the name of the layer."""
    parts = path.split("/")
    return "/".join(parts[parts.index(operation.name) + 1 :] if operation.name in parts else parts)
