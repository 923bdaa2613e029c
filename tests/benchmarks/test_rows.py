"""The rows that benchmarks make up fit the schema of real ones."""

from __future__ import annotations

import numpy as np

from benchmarks import ingest, resume
from injecttf2.trial import cell_id
from results import TRIALS, trials_table


def test_rows_of_going_on() -> None:
    planned = resume.grid(2)
    cells = [planned[2 * number][0] for number in range(3)]
    ids = np.arange(6, dtype=np.uint64)
    cell_ids = np.array([cell_id(resume.IDENTITY, cell) for cell in cells], np.uint64)
    table = trials_table(resume.rows(np.arange(6), 2, ids, cells, cell_ids))
    assert (table.num_rows, table.schema) == (6, TRIALS)


def test_rows_of_taking_in() -> None:
    ((trials, injections), *_) = ingest.chunks(ingest.CHUNK, sites=2)
    assert (trials.num_rows, trials.schema) == (ingest.CHUNK, TRIALS)
    assert injections is not None
    assert injections.num_rows == 2 * ingest.CHUNK
