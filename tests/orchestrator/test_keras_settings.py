"""Keras' settings in whole runs: what modules of the user's set, and where a run is replayed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from injecttf2.models.keras_settings import DEFAULTS, KerasSettings
from orchestrator.session.replay import replay
from results import open_run
from tests.orchestrator.conftest import Run, assert_equal_rows

CAMPAIGN = """
name: settings
model: {name}:model
dataset: {name}_data:data
seed: 1
repetitions: 1
grid: {{layers: [dense], bits: [3], probabilities: [1.0]}}
"""

MODEL = """
import keras
{line}
def model():
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense")])
"""

DATA = """
import keras
import numpy as np
{line}
def data():
    return np.random.default_rng(1).random((6, 4), np.float32), np.zeros(6, int)
"""


@pytest.fixture(autouse=True)
def own_settings() -> Iterator[None]:
    yield
    DEFAULTS.apply()


def campaign_of(folder: Path, name: str, *, model: str = "", data: str = "") -> Path:
    """A campaign whose modules, of names that no other test has, run a line when imported."""
    (folder / f"{name}.py").write_text(MODEL.format(line=model))
    (folder / f"{name}_data.py").write_text(DATA.format(line=data))
    file = folder / "campaign.yaml"
    file.write_text(CAMPAIGN.format(name=name))
    return file


def test_a_module_that_sets_a_policy_gives_the_same_model_in_a_second_run_of_the_process(
    run: Run, tmp_path: Path
) -> None:
    line = 'keras.config.set_dtype_policy("mixed_bfloat16")'
    file = campaign_of(tmp_path, "sets_a_policy", model=line)
    for name in ("first", "second"):
        run(file, tmp_path / name)
        assert open_run(tmp_path / name).header.layers["dense"]["dtype"] == "bfloat16"
    assert_equal_rows(tmp_path / "first", tmp_path / "second")


def test_what_the_module_of_the_data_sets_is_not_the_models(run: Run, tmp_path: Path) -> None:
    run(campaign_of(tmp_path, "sets_epsilon"), tmp_path / "without")
    line = "keras.config.set_epsilon(1e-3)"
    run(campaign_of(tmp_path, "sets_epsilon", data=line), tmp_path / "with")
    assert_equal_rows(tmp_path / "with", tmp_path / "without")


def test_a_replay_takes_the_settings_of_the_run(run: Run, tmp_path: Path) -> None:
    file = campaign_of(tmp_path, "is_replayed")
    KerasSettings(epsilon=1e-4).apply()
    run(file, tmp_path / "run")
    DEFAULTS.apply()
    (trial_id,) = open_run(tmp_path / "run").trials()["trial_id"]
    assert replay(str(tmp_path / "run"), int(trial_id)) == {}
    assert KerasSettings.current() == DEFAULTS
