"""Protections as an axis of the grid: from a campaign file to rows that equal the oracle."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from results import open_run
from tests import networks
from tests.described import assert_equal_run
from tests.orchestrator.conftest import Command
from tests.reference import Reference

GRID = """
model: model.keras
dataset: data.npz
seed: 11
repetitions: 2
record: injections
grid:
  - layers: [conv, logits]
    bits: [30, random]
    counts: [1, 200]
    protections:
      - none
      - {type: tmr, layers: [log*]}
      - {type: ecc, target: outputs}
      - {type: ecc, target: outputs, word: 64, layers: {type: Dense}}
  - layers: [conv, logits]
    target: weights
    bits: random
    counts: [1, 4]
    protections: [none, {type: ecc, target: weights}, {type: tmr, layers: all}]
"""

LABELS = {
    "tmr layers=logits",
    "ecc target=outputs",
    "ecc target=outputs word=64 layers=logits",
    "ecc target=weights",
    "tmr layers=conv,pool,flatten,dropout,logits,softmax",
}


@pytest.fixture
def protected(campaign: Path, injecttf2: Command, tmp_path: Path) -> Path:
    """The run of ``GRID``."""
    campaign.write_text(GRID)
    ended = injecttf2(
        "run", campaign, "--executor", "inline", "--no-report", "--output", tmp_path / "run"
    )
    assert ended.code == 0, ended.err
    return tmp_path / "run"


def test_rows_equal_the_oracle_and_are_never_pooled(protected: Path) -> None:
    inputs, labels = networks.data((8, 8, 1), 5)
    seen = assert_equal_run(protected, Reference(networks.cnn(), inputs, labels))
    assert {"masked", "sdc", "due"} <= seen
    run = open_run(protected)
    trials = run.trials()
    assert set(trials["protection"].dropna()) == LABELS
    assert trials["detected"].isna().tolist() == trials["protection"].isna().tolist()
    assert (trials["detected"] > 0).any()
    assert (trials["detected"].fillna(0) <= trials["due"]).all()
    summed = run.summary("layer")
    assert set(summed["protection"].dropna()) == LABELS


def test_all_protections_have_the_same_faults(protected: Path) -> None:
    sites = open_run(protected).injections()
    trials = open_run(protected).trials()
    joined = sites.merge(
        trials[["trial_id", "protection", "repetition", "target", "count", "bit"]],
        on="trial_id",
        suffixes=("", "_of_cell"),
    )
    names = ["target", "layer", "variable", "count", "bit_of_cell", "repetition", "sample"]
    names += ["element", "bit", "original"]
    bare = joined[joined["protection"].isna()][names]
    for label, rows in joined.groupby("protection", observed=True):
        mine = rows[names].sort_values(names).reset_index(drop=True)
        theirs = bare[bare["target"].isin(rows["target"].unique())]
        theirs = theirs.sort_values(names).reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, theirs, obj=str(label))


def test_a_trial_under_a_protection_is_run_again(protected: Path, injecttf2: Command) -> None:
    trials = open_run(protected).trials()
    chosen = trials[trials["protection"].notna() & (trials["detected"] > 0)].iloc[0]
    ended = injecttf2("replay", protected, int(chosen["trial_id"]))
    assert ended.code == 0, ended.err
    assert "protection ecc target=" in ended.out


def test_faults_are_exported_once_as_nothing_protects_from_them(
    protected: Path, injecttf2: Command, tmp_path: Path
) -> None:
    assert injecttf2("export-sites", protected, "-o", tmp_path / "sites.csv").code == 0
    trials = open_run(protected).trials()
    bare = trials[trials["protection"].isna() & (trials["injected"] > 0)]["trial_id"]
    assert {*pd.read_csv(tmp_path / "sites.csv", dtype={"trial": "uint64"})["trial"]} == {*bare}


@pytest.mark.parametrize(
    ("protections", "message"),
    [
        ("tmrr", "there is no protection 'tmrr'; did you mean 'tmr'?"),
        ("{type: tmr}", "tmr needs layers; received nothing"),
        ("{type: tmr, layers: [conf]}", "the model has no layer 'conf'; did you mean 'conv'?"),
        ("{type: tmr, layers: {type: ReLU}}", "the model has no layer of type 'ReLU'"),
        ("{type: ecc, target: inputs}", "ecc: target is 'inputs', expected weights or outputs"),
        ("{type: ecc, target: weights, words: 8}", "received 'words'; did you mean 'word'?"),
        ("{type: ecc, target: outputs, word: thirty}", "word is a whole number of 8 or more"),
        ("{type: tmr, layers: []}", "tmr: layers is all, a layer's name, a pattern such as"),
        ("{type: tmr, layers: {typ: ReLU}}", "or a list of such; received {'typ': 'ReLU'}"),
        ("{type: ecc, target: weights}", "ecc target=weights does nothing about faults in the"),
        ("{type: tmr, layers: dropout}", "tmr layers=dropout does nothing about faults in the"),
        ("{type: none, layers: conv}", "none takes no parameters; received 'layers'"),
    ],
)
def test_protections_that_there_cannot_be_are_refused(
    campaign: Path, injecttf2: Command, protections: str, message: str
) -> None:
    ended = injecttf2("plan", campaign, "-o", f"grid.protections=[{protections}]")
    assert ended.code == 2
    assert message in " ".join(ended.err.split())
    assert "grid.protections" in ended.err


def test_a_plan_names_protections(campaign: Path, injecttf2: Command) -> None:
    ended = injecttf2("plan", campaign, "-o", "grid.protections=[none, {type: tmr, layers: conv}]")
    lines = [line.split() for line in ended.out.splitlines()]
    assert ["conv", "outputs", "none"] in [line[:3] for line in lines]
    assert ["conv", "outputs", "tmr", "layers=conv"] in [line[:4] for line in lines]


def test_a_code_is_not_asked_for_faults_that_it_cannot_count(
    campaign: Path, injecttf2: Command
) -> None:
    changes = ["grid.fault=zero", "grid.bits=", "grid.probabilities=", "grid.counts=3"]
    changes.append("grid.protections={type: ecc, target: outputs}")
    ended = injecttf2("plan", campaign, *(word for one in changes for word in ("-o", one)))
    assert ended.code == 2
    assert "ecc counts flipped bits" in ended.err


def test_a_weight_of_which_a_protection_misses_a_layer_is_not_covered(
    injecttf2: Command, tmp_path: Path
) -> None:
    """Three copies of one of the layers that share a weight do nothing about faults in it."""
    inputs = keras.Input((5,), name="x")
    shared = keras.layers.Dense(5, activation="tanh", name="shared")
    x = keras.layers.Dense(3, name="logits")(shared(shared(inputs)))
    keras.Model(inputs, x).save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=np.ones((4, 5), np.float32), y=np.zeros(4, np.int64))
    file = tmp_path / "shared.yaml"
    file.write_text(
        "model: model.keras\ndataset: data.npz\nrepetitions: 1\n"
        "grid: {layers: shared, target: weights, bits: 30, counts: 1, protections: none}\n"
    )
    for layers, code in (("shared", 2), ("[shared, shared#2]", 0), ("shared*", 0)):
        change = f"grid.protections={{type: tmr, layers: {layers}}}"
        ended = injecttf2("plan", file, "-o", change)
        assert ended.code == code, ended.err
    assert (
        "tmr layers=shared does nothing"
        in injecttf2("plan", file, "-o", "grid.protections={type: tmr, layers: shared}").err
    )
