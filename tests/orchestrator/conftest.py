"""A small campaign that runs in seconds, and ways to run it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from injecttf2 import device
from orchestrator.campaign import load_campaign
from orchestrator.launch import Options, launch
from orchestrator.session import Summary
from results import PURE_COLUMNS, open_run
from tests import networks

CAMPAIGN = """
name: small
model: model.keras
dataset: data.npz
seed: 11
repetitions: 3
grid:
  layers: [conv, pool, logits]
  bits: [0, 22, 23-30, 31, random, exponent]
  probabilities: [0.0, 0.2, 1.0]
"""


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    """A campaign file beside its model and data: 3 layers x 13 faults x 3 rates x 3 repetitions."""
    device.load()
    networks.cnn().save(tmp_path / "model.keras")
    inputs, labels = networks.data((8, 8, 1), 5)
    np.savez(tmp_path / "data.npz", x=inputs, y=labels)
    file = tmp_path / "small.yaml"
    file.write_text(CAMPAIGN)
    return file


Run = Callable[..., Summary]


@pytest.fixture
def run() -> Run:
    """Run a campaign file into a folder, quietly."""

    def launched(file: Path, output: Path, executor: str = "inline", **options: object) -> Summary:
        chosen = Options(str(output), executor=executor, **options)  # type: ignore[arg-type]
        return launch(load_campaign(file), chosen, Console(file=io.StringIO()))

    return launched


def pure_rows(folder: Path) -> pd.DataFrame:
    """The rows of a run without timing and provenance, by trial."""
    trials = open_run(folder).trials(list(PURE_COLUMNS))
    return trials.sort_values("trial_id").reset_index(drop=True)


def assert_equal_rows(one: Path, other: Path) -> None:
    pd.testing.assert_frame_equal(pure_rows(one), pure_rows(other), check_exact=True)
