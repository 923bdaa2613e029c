from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from results import (
    TRIALS,
    GivenUp,
    Run,
    RunHeader,
    RunWriter,
    injections_table,
    open_run,
    trials_table,
)
from results.run_folder.manifest import Json
from results.run_folder.parts import part_contents
from results.storage.opening import open_storage
from results.storage.storage import Storage

LAYERS = ("conv2d", "dense", "activation")
BEGIN = datetime(2026, 11, 23, 6, 30, tzinfo=UTC)

Row = dict[str, Any]


def trial_row(number: int) -> Row:
    """The row of trial ``number``: a pure function of it; 2 repetitions a bit, 8 bits a layer."""
    layer = number // 16 % 3
    return {
        "trial_id": trial_id_of(number),
        "cell_id": number // 2,
        "layer": LAYERS[layer],
        "layer_index": layer,
        "layer_type": ("Conv2D", "Dense", "Activation")[layer],
        "target": "outputs",
        "variable": None,
        "fault": "bit_flip",
        "bit": 31 - number // 2 % 8,
        "bit_field": None,
        "parameters": None,
        "probability": 0.5,
        "count": None,
        "ber": None,
        "sampling": "random",
        "protection": None,
        "bare_trial_id": None,
        "repetition": number % 2,
        "sites": 6,
        "samples": 10,
        "injected": 6,
        "masked": 1,
        "benign": 2,
        "sdc": 2,
        "sdc_critical": 1,
        "due_changed": 1,
        "due": 1,
        "detected": None,
        "accuracy": 0.8,
        "golden_accuracy": 0.9,
        "listed_as": None,
        "seconds": 0.25,
        "worker": "worker-0",
        "finished_at": BEGIN + timedelta(seconds=number),
    }


def injection_rows(number: int) -> list[Row]:
    return [
        {
            "trial_id": trial_id_of(number),
            "layer": LAYERS[number // 16 % 3],
            "sample": sample,
            "variable": None,
            "element": sample * 3 + number,
            "bit": 31 - number // 2 % 8,
            "original": 1.5,
            "corrupted": float("nan") if sample else -1.5,
            "outcome": ("sdc", "due")[sample],
            "golden_class": 7,
            "faulty_class": None if sample else 1,
        }
        for sample in range(2)
    ]


@pytest.fixture
def row() -> Callable[[int], Row]:
    return trial_row


def trials_table_of(*numbers: int, **changes: object) -> pa.Table:
    """The table of the numbered trials, with what is given in place of their values.

    What is given beyond them are metrics and criteria.
    """
    columns = changes.keys() - TRIALS.names
    return trials_table([{**trial_row(number), **changes} for number in numbers], columns)


def injections_table_of(*numbers: int) -> pa.Table:
    """The table of the numbered trials' injections, two a trial."""
    return injections_table([row for number in numbers for row in injection_rows(number)])


def rounded_otherwise(injections: pa.Table) -> pa.Table:
    """The table as another kind of machine gives it: its activations differ in the last bit."""
    column = injections.schema.get_field_index("original")
    original = pa.array(np.nextafter(injections["original"].to_numpy(), 9.0))
    return injections.set_column(column, injections.field("original"), original)


def given_up_of(*ids: int, repetition: int | None = None, **trial: object) -> GivenUp:
    """Trials of a cell that ``trial`` describes, all given up on together."""
    return GivenUp(np.array(ids, np.uint64), trial, repetition)


def write_part(storage: Storage, name: str, table: pa.Table, identity: Json) -> None:
    """Publish a part as earlier versions did, under a name that tells nothing of its contents."""
    storage.publish(name, part_contents(table, identity))


def trial_id_of(number: int) -> int:
    return 2**64 - 1 - number * 7919


def hits_of(*rows: Row, number: int = 0) -> pa.Table:
    """Injections of trial ``number``, in element 0 of sample 0 unless told otherwise."""
    row = {
        "trial_id": trial_id_of(number),
        "layer": "conv2d",
        "sample": 0,
        "variable": None,
        "element": 0,
        "bit": 31,
        "original": 1.0,
        "corrupted": -1.0,
        "outcome": "sdc",
        "golden_class": 7,
        "faulty_class": 1,
    }
    return injections_table([{**row, **change} for change in rows])


def repetitions_of(cell: int, counts: list[int], **changes: object) -> list[pa.Table]:
    """Trials of one cell, of 10 injected samples each, ``counts`` of them sdc.

    The number of the cell is its bit too.
    """
    same = {
        "injected": 10,
        "masked": 0,
        "due": 0,
        "due_changed": 0,
        "sdc_critical": 0,
        "cell_id": cell,
        "bit": cell,
    }
    same |= {"layer": "conv2d", "layer_index": 0}
    return [
        trials_table_of(
            100 * cell + n, **{**same, "repetition": n, "sdc": sdc, "benign": 10 - sdc, **changes}
        )
        for n, sdc in enumerate(counts)
    ]


@pytest.fixture
def trials() -> Callable[..., pa.Table]:
    return trials_table_of


@pytest.fixture
def injections() -> Callable[..., pa.Table]:
    return injections_table_of


@pytest.fixture
def header() -> RunHeader:
    return run_header()


def run_header() -> RunHeader:
    return RunHeader(
        campaign={"name": "mnist-bits", "repetitions": 2},
        identity={"version": 1, "model": "aa11", "data": "bb22", "seed": 7},
        provenance={"commit": "c0ffee", "dirty": False},
        plan={"trials": 48, "layers": dict.fromkeys(LAYERS, 16)},
        layers={"conv2d": {"type": "Conv2D", "shape": [8, 8, 4], "dtype": "float32"}},
    )


@pytest.fixture
def trial_id() -> Callable[[int], int]:
    return trial_id_of


@pytest.fixture
def made(tmp_path: Path, header: RunHeader) -> Callable[..., Run]:
    """Makes a run directory of the tables given, with changes of its header, and opens it."""

    def make(
        *tables: pa.Table, injections: pa.Table | None = None, name: str = "run", **changes: object
    ) -> Run:
        with RunWriter.open(tmp_path / name, replace(header, **changes)) as writer:  # type: ignore[arg-type]
            writer.append(pa.concat_tables(tables), injections)
        return open_run(tmp_path / name)

    return make


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """A run directory of each kind, not yet created."""
    if request.param == "local":
        return open_storage(tmp_path / "run")
    return open_storage(request.getfixturevalue("s3"))
