"""Models that others published, planned and hit in all layers: the rows are the oracle's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from results import open_run
from tests.described import assert_equal_run
from tests.orchestrator.conftest import Command
from tests.reference import Reference
from tests.wild.models import PUBLISHED

SAMPLES = 4

CAMPAIGN = """
model: {model}
dataset: data.npz
seed: 3
grid:
  - {{layers: all, bits: [random, 30], probabilities: 1.0}}
  - {{layers: all, target: weights, bits: random, counts: 2}}
record: injections
judge: {judge}
"""


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_campaign_on_all_layers_equals_the_reference(
    name: str,
    injecttf2: Command,
    published: Callable[[str], Path],
    shared_data: Path,
    tmp_path: Path,
) -> None:
    chosen = PUBLISHED[name]
    path, file, folder = published(chosen.file), tmp_path / "wild.yaml", tmp_path / "run"
    photographs = np.load(shared_data / "data" / "cifar10_test1000.npz")["x_test"][:SAMPLES]
    inputs, labels = chosen.data(photographs)
    np.savez(tmp_path / "data.npz", x=inputs, y=labels)
    file.write_text(CAMPAIGN.format(model=path, judge=chosen.judge))

    planned = injecttf2("plan", file, "--json")
    assert planned.code == 0, planned.err
    ended = injecttf2("run", file, "--executor", "inline", "--no-report", "--output", folder)
    assert ended.code == 0, ended.err
    trials = open_run(folder).trials()
    assert len(trials) == planned.json["trials"] == chosen.trials
    hit = trials[trials["target"] == "outputs"]["layer"].unique()
    reference = Reference(
        chosen.read(path), inputs, labels, batch=SAMPLES, judging=chosen.judging, watched=hit
    )
    assert len(assert_equal_run(folder, reference)) >= 3
