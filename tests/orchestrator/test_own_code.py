"""Code of the user's own, from the campaign to the run directory: no change of it goes unseen."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.session.recorded import foreign_code, recorded_trial
from results import open_run
from tests.orchestrator.conftest import Command

MODULES = {
    "nets.py": """
import keras

from layers_of_mine import Scaled


def build():
    keras.utils.set_random_seed(3)
    inputs = keras.Input((4,))
    return keras.Sequential([inputs, keras.layers.Dense(3, name="dense"), Scaled(name="scaled")])
""",
    "layers_of_mine.py": """
import keras

SCALES = {"by": 2.0}


@keras.saving.register_keras_serializable("mine")
class Scaled(keras.layers.Layer):
    def call(self, inputs):
        return inputs * SCALES["by"]
""",
    "data_of_mine.py": """
import numpy as np


def data():
    generator = np.random.default_rng(1)
    return generator.normal(size=(20, 4)).astype("float32"), generator.integers(3, size=20)
""",
    "judges.py": """
import tensorflow as tf

from injecttf2.judging import Criterion, Judge, Metric


class Best(Judge):
    def differs(self, outputs, golden):
        return tf.argmax(outputs, axis=1) != tf.argmax(golden, axis=1)

    def score(self, outputs, labels):
        return tf.cast(tf.argmax(outputs, axis=1) == labels, tf.float32)
""",
    "metrics.py": """
import tensorflow as tf
from injecttf2.judging import Metric


class Lead(Metric):
    def values(self, outputs, golden, labels):
        from margin import MARGIN

        return tf.reduce_max(outputs, axis=1) - MARGIN
""",
    "margin.py": "MARGIN = 0.5\n",
    "criteria.py": """
import tensorflow as tf
from injecttf2.judging import Criterion


class Fell(Criterion):
    def met(self, outputs, golden):
        return tf.reduce_max(outputs, axis=1) < tf.reduce_max(golden, axis=1)
""",
    "faults.py": """
from dataclasses import dataclass

import tables


@dataclass(frozen=True)
class Gain:
    def corrupt(self, values, draws):
        return values * values.dtype.type(tables.gain())
""",
    "tables.py": "def gain():\n    return -4.0\n",
    "more_faults.py": """
from dataclasses import dataclass


@dataclass(frozen=True)
class Negated:
    def corrupt(self, values, draws):
        return -values
""",
}

CAMPAIGN = """
model: nets:build
dataset: data_of_mine:data
judge: judges:Best
metrics: metrics:Lead
criteria: criteria:Fell
grid:
- {layers: dense, fault: "faults:Gain", counts: 5}
"""

EDITED = {
    "nets.py": "nets.py",
    "a module of the model's layers": "layers_of_mine.py",
    "judges.py": "judges.py",
    "metrics.py": "metrics.py",
    "a module that a metric imports late": "margin.py",
    "criteria.py": "criteria.py",
    "faults.py": "faults.py",
    "a module that a fault imports": "tables.py",
}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A campaign all of whose parts are the user's own."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    (tmp_path / "mine").mkdir()
    for name, text in MODULES.items():
        (tmp_path / "mine" / name).write_text(text)
    file = tmp_path / "mine" / "mine.yaml"
    file.write_text(CAMPAIGN)
    yield file
    for name in MODULES:
        sys.modules.pop(Path(name).stem, None)


def test_a_run_whose_code_has_changed_is_refused_with_the_file(
    mine: Path, tmp_path: Path, injecttf2: Command
) -> None:
    command = ["run", mine, "--executor", "inline", "--output", tmp_path / "run"]
    assert injecttf2(*command).code == 0
    run = open_run(tmp_path / "run")
    (trial,) = run.trials()["trial_id"]
    told = json.loads((tmp_path / "run" / "campaign.json").read_text())
    assert {name: sorted(files) for name, files in told["code"].items()} == {
        "model": ["layers_of_mine.py", "nets.py"],
        "judges:Best": ["judges.py"],
        "metrics:Lead": ["margin.py", "metrics.py"],
        "criteria:Fell": ["criteria.py"],
        "faults:Gain": ["faults.py", "tables.py"],
    }
    said = injecttf2("replay", tmp_path / "run", trial)
    assert (said.code, said.err) == (
        0,
        "running code that the run names: nets:build, data_of_mine:data, faults:Gain, "
        f"judges:Best, metrics:Lead, criteria:Fell, of {mine.parent}\n"
        "loading TensorFlow\nloading the model\nloading the data\ntracing the model\n"
        "running the trial\n",
    )
    for file in EDITED.values():
        mine.with_name(file).write_text(f"{MODULES[file]}# edited\n")
        ended = injecttf2(*command)
        old = next(files[file] for files in told["code"].values() if file in files)
        lines = ended.err.splitlines()
        at = next(at for at, line in enumerate(lines) if "is not what it was" in line)
        assert ended.code == 2
        assert lines[at].endswith(
            "code that the campaign uses is not what it was; digests of files, recorded -> "
            "received:"
        )
        assert lines[at + 1].startswith(f"  {file}: {old} -> ")
        assert lines[at + 2 :] == [
            "  Restore the files, or choose another --output for the trials of the new code."
        ]
        refused = injecttf2("replay", tmp_path / "run", trial)
        assert refused.code == 2
        assert refused.err.endswith(
            f"{mine.parent}: code is not what the run was made with: {file}\n  restore it\n"
        )
        mine.with_name(file).write_text(MODULES[file])
    mark = f"open({str(tmp_path / 'ran')!r}, 'w')\n"
    mine.with_name("nets.py").write_text(f"{mark}{MODULES['nets.py']}")
    assert injecttf2("replay", tmp_path / "run", trial).code == 2
    assert not (tmp_path / "ran").exists()  # it is refused before it is imported
    mine.with_name("nets.py").write_text(MODULES["nets.py"])
    mine.with_name("data_of_mine.py").write_text(f"{MODULES['data_of_mine.py']}# its arrays count")
    assert injecttf2(*command).code == 0
    assert len(open_run(tmp_path / "run").trials()) == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a folder away")
def test_replay_says_whose_folder_the_code_is_of_where_it_is_anothers(
    mine: Path, tmp_path: Path, injecttf2: Command
) -> None:
    command = ["run", mine, "--executor", "inline", "--output", tmp_path / "run"]
    assert injecttf2(*command).code == 0
    os.chown(mine.parent, 65534, -1)
    trial = int(open_run(tmp_path / "run").trials()["trial_id"].iloc[0])
    line = foreign_code(recorded_trial(str(tmp_path / "run"), trial))
    assert line is not None
    assert line.endswith(f"of {mine.parent}, a folder of {mine.parent.owner()}")


def test_a_grid_may_become_wider_and_narrower_by_a_fault_of_the_users_own(
    mine: Path, tmp_path: Path, injecttf2: Command
) -> None:
    command = ["run", mine, "--executor", "inline", "--output", tmp_path / "run"]
    assert injecttf2(*command).code == 0
    mine.write_text(f'{CAMPAIGN}- {{layers: dense, fault: "more_faults:Negated", counts: 5}}\n')
    assert injecttf2(*command).code == 0
    assert sorted(open_run(tmp_path / "run").trials()["fault"]) == [
        "faults:Gain",
        "more_faults:Negated",
    ]
    mine.write_text(CAMPAIGN)
    assert injecttf2(*command).code == 0
    mine.with_name("more_faults.py").write_text(MODULES["more_faults.py"] + "# edited\n")
    assert injecttf2(*command).code == 0  # none of its trials is asked for
    mine.write_text(f'{CAMPAIGN}- {{layers: dense, fault: "more_faults:Negated", counts: 5}}\n')
    ended = injecttf2(*command)
    assert (ended.code, "  more_faults.py: " in ended.err) == (2, True)


def test_runs_that_name_no_code_have_the_ids_that_they_had(
    campaign: Path, tmp_path: Path, injecttf2: Command
) -> None:
    assert (
        injecttf2("run", campaign, "--executor", "inline", "--output", tmp_path / "run").code == 0
    )
    told = json.loads((tmp_path / "run" / "campaign.json").read_text())
    assert told["code"] == {}
    assert sorted(told["identity"]) == ["data", "model", "seed", "version"]
