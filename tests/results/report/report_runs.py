"""Runs for the report: small, with every kind of row that a campaign can leave."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from results import Run, RunHeader, RunWriter, injections_table, open_run, trials_table
from tests.results.conftest import BEGIN, Row, given_up_of

SAMPLES = 100
FIELDS = {31: "sign", 30: "exponent", 0: "mantissa"}


def cell_rows(
    layer: str, index: int, *, bit: int | None, sdc: int, repetitions: int = 2, **changes: Any
) -> list[Row]:
    """The trials of a cell: ``sdc`` of 50 injected samples are sdc, one is due at bit 30."""
    due = int(bit == 30)
    cell = {"layer": layer, "bit": bit, "probability": 0.5, **changes}
    identity = zlib.crc32(repr((index, sorted(cell.items()))).encode())
    return [
        {
            "trial_id": identity * 1000 + repetition,
            "cell_id": identity,
            "layer_index": index,
            "layer_type": "Dense",
            "target": "outputs",
            "fault": "bit_flip",
            "bit_field": FIELDS.get(bit, "any") if bit is not None else "any",
            "sampling": "random",
            "repetition": repetition,
            "sites": 50,
            "samples": SAMPLES,
            "injected": 50,
            "masked": 50 - sdc - due,
            "benign": 0,
            "sdc": sdc,
            "sdc_critical": sdc,
            "due": due,
            "due_changed": due,
            "accuracy": 0.9 - sdc / SAMPLES,
            "golden_accuracy": 0.9,
            "seconds": 0.1,
            "worker": "worker-0",
            "finished_at": BEGIN,
            **cell,
        }
        for repetition in range(repetitions)
    ]


def usual_rows(layers: Sequence[str] = ("conv", "dense")) -> list[Row]:
    """Two rates and three bits of each layer; the later the layer, the more sdc."""
    return [
        row
        for index, layer in enumerate(layers)
        for probability in (0.1, 0.5)
        for bit, sdc in ((31, 2), (30, 20 + index), (0, 0))
        for row in cell_rows(layer, index, bit=bit, sdc=sdc, probability=probability)
    ]


def site_rows(rows: Iterable[Row]) -> list[Row]:
    """Recorded sites of the trials: their sdc samples, class 7 taken for class 1."""
    return [
        {
            "trial_id": row["trial_id"],
            "layer": row["layer"],
            "sample": sample,
            "variable": None,
            "element": (sample * 7 + row["bit"]) % 48,
            "bit": row["bit"],
            "original": 1.5,
            "corrupted": -1.5,
            "outcome": "sdc" if sample < row["sdc"] else "masked",
            "golden_class": 7,
            "faulty_class": 1 if sample < row["sdc"] else 7,
        }
        for row in rows
        for sample in range(row["injected"])
    ]


def write_run(
    folder: Path | str,
    rows: Sequence[Row],
    *,
    planned: int | None = None,
    sites: Sequence[Row] = (),
    errors: Sequence[str] = (),
    columns: Sequence[str] = (),
    name: str = "demo",
    **plan: Any,
) -> Run:
    """Write a run directory and open it.

    Args:
        folder: Where.
        rows: Its trials.
        planned: Trials in the plan; as many as there are if it is None.
        sites: Recorded injections.
        errors: A trial was given up on for each of them.
        columns: Columns of metrics and criteria.
        name: Of the campaign.
        plan: What else the plan says.
    """
    layers = list(dict.fromkeys(str(row["layer"]) for row in rows)) or ["conv"]
    total = planned if planned is not None else len(rows) + len(errors)
    header = RunHeader(
        {"name": name, "record": "injections" if sites else "trials"},
        {"version": 1, "model": "aa11", "seed": 7},
        {"git": {"commit": "c0ffee", "dirty": True}},
        {"trials": total, "layers": dict.fromkeys(layers, total // len(layers)), **plan},
        columns=columns,
        layers={
            layer: {"type": "Conv2D", "shape": [4, 4, 3], "dtype": "float32"} for layer in layers
        },
    )
    with RunWriter.open(folder, header) as writer:
        if rows:
            writer.append(trials_table(rows, columns), injections_table(sites) if sites else None)
        for number, error in enumerate(errors):
            given_up = given_up_of(number, layer=layers[0], bit=30)
            writer.record_failures([given_up], error=error, traceback="Traceback")
    return open_run(folder)
