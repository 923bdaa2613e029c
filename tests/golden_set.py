"""Ids and rows of trials of all kinds, written by one version and compared with another's.

    python -m tests.golden_set write FOLDER      with the old version, and with the new one
    python -m tests.golden_set compare OLD NEW   tells what differs; exit code 1 if anything does

The trials are of all families of models, targets, faults, rates and judges, a few of each. Rows are
those of level dense. Both versions must have written on the same machine, whose kernels round.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from injecttf2 import device

device.configure(threads=2, gpu=False)

import keras  # noqa: E402

from injecttf2.datasets import Dataset  # noqa: E402
from injecttf2.engine import Engine  # noqa: E402
from injecttf2.errors import UserError  # noqa: E402
from injecttf2.evaluation import batching  # noqa: E402
from injecttf2.faults.bit_faults import BitFlip  # noqa: E402
from injecttf2.faults.value_faults import Scale  # noqa: E402
from injecttf2.judging import Assessment  # noqa: E402
from injecttf2.models.digest import model_digest  # noqa: E402
from injecttf2.sampling.rates import BitErrorRate, Count, Exhaustive, Probability, Rate  # noqa: E402
from injecttf2.trial import (  # noqa: E402
    OUTPUTS,
    TOGETHER,
    WEIGHTS,
    Cell,
    CellTrials,
    Identity,
    pair_keys,
)
from tests import networks  # noqa: E402
from tests.builders import cell_of  # noqa: E402
from tests.families import FAMILIES  # noqa: E402
from tests.injecttf2.judging.test_judged_cells import CASES, model_of  # noqa: E402
from tests.injecttf2.test_families import ADDRESSES, IN_WEIGHTS  # noqa: E402
from tests.kinds_of_faults import FAULTS  # noqa: E402

SAMPLES, TRIALS = 40, 2

RATES: dict[str, tuple[Rate, ...]] = {
    OUTPUTS: (Probability(0.9), Probability(0.2), Count(45), BitErrorRate(0.001), Exhaustive()),
    WEIGHTS: (Count(1), Count(7), BitErrorRate(0.01), Exhaustive()),
}

NETWORKS = {
    "cnn": (networks.cnn, (8, 8, 1), "conv", "logits"),
    "residual": (networks.residual, (8, 8, 3), "block1_conv1", "stem"),
    "branches": (networks.branches, (12,), "right1", "shared"),
}


def cells(layers: list[str], in_weights: str) -> Iterator[Cell]:
    """All faults at all rates in the first layer and in weights, some of them elsewhere."""
    for target, layer in ((OUTPUTS, layers[0]), (WEIGHTS, in_weights)):
        for fault in FAULTS:
            for rate in RATES[target]:
                yield cell_of(layer, fault, rate, target)
        for fault in (BitFlip(bit_field="any"), BitFlip(bit=30)):
            yield cell_of(layer, fault, RATES[target][0], target, paired=target == OUTPUTS)
    scopes = [*layers[1:], *([TOGETHER.join(layers)] if len(layers) > 1 else [])]
    for layer in scopes:
        for fault in (BitFlip(bit_field="any"), Scale(-20.0)):
            for rate in (Probability(0.9), Count(45)):
                yield cell_of(layer, fault, rate)


@dataclass(frozen=True)
class Subject:
    """A model with data, what is asked of its outputs, and where it is hit.

    Args:
        model: The model.
        data: Inputs and labels.
        layers: Addresses, in the order of the model.
        in_weights: Address of the layer whose weights are hit.
        output: The output that is judged, where there are several.
        assessment: What is asked of it.
    """

    model: keras.Model
    data: Dataset
    layers: list[str]
    in_weights: str
    output: str | None = None
    assessment: Assessment = field(default_factory=Assessment)


def subjects() -> Iterator[tuple[str, Subject]]:
    """Every kind of model and every judge, by a name."""
    generator = np.random.default_rng(3)
    for name, family in FAMILIES.items():
        data = Dataset(family.data(SAMPLES), family.labels(SAMPLES, generator))
        where = ADDRESSES[name], IN_WEIGHTS[name]
        asked = family.output, family.assessment
        yield name, Subject(family.model(), data, *where, *asked)
    for name, (build, shape, layer, in_weights) in NETWORKS.items():
        model = build()
        data = Dataset(*networks.data(shape, model.output_shape[-1]))
        yield name, Subject(model, data, [layer], in_weights)
    for name, case in CASES.items():
        model = model_of(case)
        inputs = np.random.default_rng(5).normal(size=(SAMPLES, 5, 5, 2)).astype(np.float32)
        golden = model.predict(inputs, verbose=0)
        labels = {"flags": golden > 0.5, "values": golden}.get(case.labels, golden.argmax(axis=-1))
        kind = labels.dtype if case.labels == "values" else np.int64
        data = Dataset(inputs, labels.astype(kind))
        yield f"judge {name}", Subject(model, data, ["conv", "last"], "last", None, case.assessment)


def plain(value: Any) -> Any:
    """JSON values, floating-point numbers by their words."""
    array = np.asarray(value)
    if array.dtype.kind == "f":
        array = array.view(f"u{array.itemsize}")
    return array.tolist()


def told(engine: Engine, cell: Cell, identity: Identity) -> dict[str, Any]:
    """All that is known of a cell's trials."""
    trials = list(CellTrials(cell, 0, TRIALS).trials(identity))
    found: dict[str, Any] = {"ids": [str(trial.id) for trial in trials]}
    if cell.paired:
        found["pairs"] = [str(key) for key in pair_keys(identity, cell, range(TRIALS)).tolist()]
    try:
        evaluation = engine.evaluate(trials, record=True)
    except (UserError, ValueError) as error:
        return {**found, "refused": str(error).splitlines()[0]}
    found["sites"] = plain(evaluation.sites)
    for part in (evaluation.tallies, evaluation.injections):
        for one in dataclasses.fields(part):  # type: ignore[arg-type]
            value = getattr(part, one.name)
            if value is not None:
                found[one.name] = plain(value)
    return found


def write(folder: Path) -> None:
    """Evaluate all trials; one file for each kind of model, with a line for each cell."""
    folder.mkdir(parents=True)
    batching.LARGEST_BATCH = 48
    for name, one in subjects():
        engine = Engine(
            one.model, one.data, output=one.output, assessment=one.assessment, levels=()
        )
        identity = Identity("m" * 32, "d" * 32, seed=7, judge=one.assessment.identity())
        order = [info.layer for info in engine.graph.layers]
        chosen = cells(sorted(one.layers, key=order.index), one.in_weights)
        lines: list[dict[str, Any]] = [{"digest": model_digest(one.model, engine.graph)}]
        lines += [{"cell": cell.to_dict(), **told(engine, cell, identity)} for cell in chosen]
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text)
        print(f"{name}: {len(lines) - 1} cells")


def compare(old: Path, new: Path) -> int:
    """Print what differs, cell by cell, and return how many cells differ or are in one set only."""
    differing = alone = alike = 0
    for name in sorted({file.name for folder in (old, new) for file in folder.glob("*.jsonl")}):
        one, other = (_read(folder / name) for folder in (old, new))
        for missing, where in ((one.keys() - other, "old"), (other.keys() - one, "new")):
            if missing:
                alone += len(missing)
                print(f"{name}: {len(missing)} cells only in the {where} set")
        for key in one.keys() & other:
            mine, theirs = one[key], other[key]
            fields = [field for field in {**mine, **theirs} if mine.get(field) != theirs.get(field)]
            alike += not fields
            if fields:
                differing += 1
                print(f"{name}: {mine.get('cell', 'model')}: {', '.join(fields)}")
    print(f"{alike} cells are alike, {differing} differ, {alone} are in one set only")
    return differing + alone


def _read(file: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the lines of a file by their cell, and which of equal cells they are."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    seen: Counter[str] = Counter()
    for line in file.read_text().splitlines() if file.exists() else ():
        values = json.loads(line)
        cell = json.dumps(values.get("cell"), sort_keys=True)
        found[cell, seen[cell]] = values
        seen[cell] += 1
    return found


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", folder]:
            write(Path(folder))
        case ["compare", old, new]:
            sys.exit(1 if compare(Path(old), Path(new)) else 0)
        case _:
            sys.exit(__doc__)
