"""The command line: what it prints, its exit codes, and bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.campaign.campaign import load_campaign
from orchestrator.cli.console import print_json
from results import open_run
from tests.orchestrator.conftest import Command, Run

TRIALS = 3 * 13 * 3 * 3


def test_run_prints_a_table_and_where_the_results_are(
    campaign: Path, injecttf2: Command, tmp_path: Path
) -> None:
    ended = injecttf2("run", campaign, "--executor", "inline", "--output", tmp_path / "run")
    assert ended.code == 0
    assert "layers, most critical first by sdc+due; 95% intervals" in ended.out
    assert "conv" in ended.out
    assert f"{TRIALS} of {TRIALS} trials done" in ended.out
    assert f"results: {tmp_path / 'run'}" in ended.out


def test_the_table_tells_faults_apart_by_their_parameters(
    campaign: Path, injecttf2: Command, tmp_path: Path
) -> None:
    head = campaign.read_text().partition("grid:")[0]
    stuck = "{fault: [{type: stuck_at, value: 0}, {type: stuck_at, value: 1}, zero], bits: 30, "
    campaign.write_text(f"{head}grid: {stuck}target: weights, counts: 1}}\n")
    ended = injecttf2("run", campaign, "--executor", "inline", "--output", tmp_path / "run")
    assert "skipping pool, flatten, dropout, softmax, each because it has no weights\n" in ended.err
    names = {line.partition("%")[0].rpartition(" ")[0].strip() for line in ended.out.splitlines()}
    assert {
        f"{layer} {fault}"
        for layer in ("conv", "logits")
        for fault in ("stuck_at value=0", "stuck_at value=1", "zero")
    } <= names
    assert "layers, most critical first by sdc+due; weights; 1 site; 95% intervals" in ended.out


def test_run_writes_to_runs_and_the_campaigns_name_by_default(
    campaign: Path, injecttf2: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert injecttf2("run", campaign, "--executor", "inline").code == 0
    assert (tmp_path / "runs" / "small" / "campaign.json").is_file()


def test_run_json_is_one_line(campaign: Path, injecttf2: Command, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    options = ("--executor", "inline", "--levels", "dense", "--output", folder)
    ended = injecttf2("run", campaign, *options, "--json")
    assert len(ended.out.splitlines()) == 1
    summary = ended.json
    assert summary.pop("seconds") > 0
    assert 0 < summary.pop("busy") <= 1
    assert "hardly more often than by chance" in summary.pop("warnings")[0]  # it is untrained
    run = open_run(folder)
    injected = int(run.trials()["injected"].sum())
    ranks, layers = run.criticality("layer"), summary.pop("layers")
    assert [row["layer"] for row in layers] == ranks["layer"].tolist()
    rates = [row["sdc+due_rate"] for row in layers]
    assert rates[:3] == [None] * 3  # of probability 0
    assert rates[3:] == pytest.approx(ranks["sdc+due_rate"].tolist()[3:])
    assert summary == {
        "run": str(folder),
        "trials": TRIALS,
        "done": TRIALS,
        "failed": 0,
        "injections": injected,
        "reevaluated": 0,
        "stopped": None,
        "report": str(folder / "report.html"),
        "data": "70 samples of 8 x 8 x 1, float32 -4.057 to 3.335, as they are",
        "golden_accuracy": (run.golden or {})["accuracy"],
    }


def test_levels_are_named_on_the_command_line(
    campaign: Path, injecttf2: Command, tmp_path: Path
) -> None:
    options = ("--executor", "inline", "--output", tmp_path / "run")
    ended = injecttf2("run", campaign, *options, "--levels", "drop,diference")
    assert ended.code == 2
    assert "--levels: unknown level 'diference'; did you mean 'difference'?" in ended.err
    assert "expected some of drop, difference, separated by commas, or dense" in ended.err
    assert not (tmp_path / "run").exists()
    assert injecttf2("run", campaign, *options, "--levels", "dense").code == 0


def test_plan_json_counts_and_runs_nothing(
    campaign: Path, injecttf2: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    planned = injecttf2("plan", campaign, "--json").json
    assert planned["trials"] == TRIALS
    assert planned["cells"] == 3 * 13 * 3
    assert planned["injections"] == round(3 * 13 * 3 * 70 * 1.2)
    assert planned["bytes"] == TRIALS * 35
    assert planned["seconds"] > 0
    seconds = {"seconds", "seconds_at_least"}
    assert set(planned) == {"trials", "cells", "injections", *seconds, "bytes", "data", "per_cell"}
    assert planned["per_cell"] == [
        {
            "target": "outputs",
            "probability": probability,
            "least": injections,
            "most": injections,
            "few": 0,
            "half_widths": {"0.5": [half, half], "0.01": [hundredth, hundredth]},
        }
        for probability, injections, half, hundredth in (
            (0.2, 42.0, 0.1447, 0.0502),
            (1.0, 210.0, 0.067, 0.016),
        )
    ]
    assert planned["seconds_at_least"] <= planned["seconds"]
    assert sorted(tmp_path.rglob("*")) == before


def test_layers_json_lists_every_layer(campaign: Path, injecttf2: Command) -> None:
    layers = injecttf2("layers", campaign.with_name("model.keras"), "--json").json
    assert layers[1] == {
        "layer": "conv",
        "type": "Conv2D",
        "shape": [8, 8, 4],
        "dtype": "float32",
        "elements": 256,
        "parameters": 40,
        "weights": [
            {
                "variable": name,
                "dtype": "float32",
                "elements": elements,
                "counted_at": {"layer": "conv", "variable": name},
            }
            for name, elements in (("kernel", 36), ("bias", 4))
        ],
    }
    assert "weights" not in layers[2]
    names = ["image", "conv", "pool", "flatten", "dropout", "logits", "softmax"]
    assert [entry["layer"] for entry in layers] == names


def test_status_from_the_directory_alone(
    campaign: Path, run: Run, injecttf2: Command, tmp_path: Path
) -> None:
    run(campaign, tmp_path / "run")
    status = injecttf2("status", tmp_path / "run", "--json").json
    assert (status["planned"], status["done"], status["failures"]) == (TRIALS, TRIALS, 0)
    assert status["layers"]["conv"] == {
        "planned": TRIALS // 3,
        "done": TRIALS // 3,
        "failed": 0,
    }
    assert "351 of 351 trials done" in injecttf2("status", tmp_path / "run").out


def test_replay_equals_the_row_and_finds_a_forged_one(
    campaign: Path, run: Run, injecttf2: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    run(campaign, folder)
    rows = open_run(folder).trials()
    for bits in (rows["bit"] == 30, rows["bit_field"] == "any", rows["bit_field"] == "exponent"):
        chosen = rows[bits & (rows["probability"] == 1.0)].iloc[0]
        ended = injecttf2("replay", folder, chosen["trial_id"])
        assert ended.code == 0
        assert ended.out.endswith(f"trial {chosen['trial_id']} is equal to its row\n")

    injecttf2("compact", folder)  # a slow run publishes more than one
    (part,) = (folder / "trials").glob("*.parquet")
    table = pq.read_table(part)
    masked, benign = table["masked"].to_pylist(), table["benign"].to_pylist()
    place = next(i for i, count in enumerate(masked) if count)
    masked[place], benign[place] = masked[place] - 1, benign[place] + 1
    for name, values in (("masked", masked), ("benign", benign)):
        index = table.schema.get_field_index(name)
        table = table.set_column(index, table.schema.field(name), pa.array(values, pa.int64()))
    part.unlink()
    pq.write_table(table, part.with_name("part-000009-0a1b2c3d.parquet"))  # tells no digest
    trial_id = table["trial_id"][place].as_py()
    ended = injecttf2("replay", folder, trial_id, "--json")
    assert ended.code == 1
    assert ended.json["trial_id"] == str(trial_id)
    assert ended.json["differences"] == {
        "masked": [masked[place], masked[place] + 1],
        "benign": [benign[place], benign[place] - 1],
    }


def test_commands_that_load_tensorflow_say_what_they_are_at(
    campaign: Path, run: Run, injecttf2: Command, tmp_path: Path
) -> None:
    run(campaign, tmp_path / "run")
    model = campaign.with_name("model.keras")
    trial = open_run(tmp_path / "run").trials(["trial_id"])["trial_id"].iloc[0]
    new = ("init", tmp_path / "new.yaml", "--model", model)
    planning = ["loading the model", "loading the data", "tracing the model"]
    for command, stages in (
        (("layers", model), ["loading the model", "tracing the model"]),
        (("replay", tmp_path / "run", trial), [*planning, "running the trial"]),
        (("plan", campaign), [*planning, "timing the model"]),
        (
            (*new, "--dataset", campaign.with_name("data.npz")),
            ["planning: which judge, bits and repetitions fit"],
        ),
    ):
        ended = injecttf2(*command)
        assert (ended.code, ended.err.splitlines()) == (0, ["loading TensorFlow", *stages])


def test_replay_says_what_the_trial_does_and_what_became_of_it(
    campaign: Path, run: Run, injecttf2: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run(campaign, tmp_path / "run")
    rows = open_run(tmp_path / "run").trials()
    for bits, told in (
        (rows["bit"] == 30, "bit 30"),
        (rows["bit_field"] == "any", "bit_field any"),
    ):
        row = rows[bits & (rows["layer"] == "pool") & (rows["probability"] == 0.2)].iloc[1]
        ended = injecttf2("replay", tmp_path / "run", row["trial_id"])
        assert ended.out.splitlines() == [
            f"layer pool, target outputs, fault bit_flip, {told}, probability 0.2, repetition 1",
            f"{row['injected']} of 70 samples injected: {row['masked']} masked, "
            f"{row['benign']} benign, {row['sdc']} sdc, {row['due']} due; "
            f"accuracy {row['accuracy']:.2%}, golden {row['golden_accuracy']:.2%}",
            f"trial {row['trial_id']} is equal to its row",
        ]
    said = injecttf2("replay", tmp_path / "run", row["trial_id"], "--json").json
    assert (said["equal"], said["row"]["layer"], said["row"]["sdc"]) == (True, "pool", row["sdc"])


def test_replay_of_an_id_that_was_rounded_names_it(
    campaign: Path, run: Run, injecttf2: Command, tmp_path: Path
) -> None:
    run(campaign, tmp_path / "run")
    ids = open_run(tmp_path / "run").trials()["trial_id"].tolist()
    trial_id = next(one for one in ids if one > 2**53 and int(float(one)) not in ids)
    same = " or ".join(str(one) for one in sorted(ids) if float(one) == float(trial_id))
    for given in (f"{float(trial_id):.0f}", repr(float(trial_id))):
        ended = injecttf2("replay", tmp_path / "run", given)
        assert ended.code == 2
        assert f"{given}; it was rounded to 53 bits and may be {same}" in ended.err


def test_ids_are_texts_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Also where a column that differs is one."""
    trial_id = 2**64 - 1
    value = {
        "failed": ({"trial_id": trial_id, "trial": "layer conv"},),
        "differences": {
            "cell_id": (trial_id, 2**53 + 1),
            "sdc": (trial_id, 1),
            "layer": ("a", "b"),
        },
        "done": trial_id,
    }
    print_json(value)
    printed = json.loads(capsys.readouterr().out)
    assert printed["failed"] == [{"trial_id": "18446744073709551615", "trial": "layer conv"}]
    assert printed["differences"]["cell_id"] == ["18446744073709551615", "9007199254740993"]
    assert printed["differences"]["sdc"] == [trial_id, 1]
    assert printed["done"] == trial_id


EDITED: list[tuple[list[str | int], object, str]] = [
    (["campaign", "grid", 0, "bits"], "many", "grid[0].bits: received 'many'"),
    (["campaign", "seed"], None, "seed: received "),
    (["campaign", "model"], {}, "model.source: the key 'source' is missing"),
    (["provenance", "keras"], {"a": 1}, "provenance.keras is {'a': 1}, expected Keras' sett"),
    (["provenance", "keras", "floatx"], "x", "expected Keras' settings: Unknown `floatx`"),
    (["plan", "layers"], [], "plan.layers is [], expected a mapping of whole numbers"),
]


def test_replay_tells_what_was_edited_in_a_runs_description(
    campaign: Path, run: Run, injecttf2: Command, tmp_path: Path
) -> None:
    run(campaign, tmp_path / "run")
    trial = open_run(tmp_path / "run").trials()["trial_id"].iloc[0]
    file = tmp_path / "run" / "campaign.json"
    whole = file.read_text()
    for keys, value, reason in EDITED:
        contents = said = json.loads(whole)
        del contents["digest"]  # that of an edited file tells no more than that it was edited
        for key in keys[:-1]:
            said = said[key]
        said[keys[-1]] = value
        file.write_text(json.dumps(contents))
        ended = injecttf2("replay", tmp_path / "run", trial)
        assert ended.code == 2
        assert ended.error.startswith(f"error: {file}: ")
        assert reason in ended.err
        assert "Traceback" not in ended.err


def test_replay_with_another_model_is_refused(
    campaign: Path, run: Run, injecttf2: Command, tmp_path: Path
) -> None:
    run(campaign, tmp_path / "run")
    trial = open_run(tmp_path / "run").trials()["trial_id"].iloc[0]
    np.savez(tmp_path / "other.npz", x=np.zeros((70, 8, 8, 1), np.float32), y=np.zeros(70, int))
    ended = injecttf2("replay", tmp_path / "run", trial, "--dataset", tmp_path / "other.npz")
    assert ended.code == 2
    assert "another data than" in ended.err


def test_init_writes_a_campaign_that_loads_and_is_never_overwritten(
    injecttf2: Command, tmp_path: Path
) -> None:
    file = tmp_path / "new.yaml"
    assert injecttf2("init", file).code == 0
    assert load_campaign(file).name == "my-campaign"
    file.write_text("mine")
    assert injecttf2("init", file).code == 2
    assert file.read_text() == "mine"


def test_pandas_reads_the_trials_without_this_package(
    campaign: Path, run: Run, tmp_path: Path
) -> None:
    run(campaign, tmp_path / "run")
    frame = pd.read_parquet(tmp_path / "run" / "trials")
    assert len(frame) == TRIALS
    assert frame["layer"].dtype == "category"
    total = frame[["masked", "benign", "sdc", "due"]].sum(axis=1)
    assert (total == frame["injected"]).all()


def test_recorded_injections_add_up_to_the_trials(campaign: Path, run: Run, tmp_path: Path) -> None:
    campaign.write_text(campaign.read_text() + "record: injections\n")
    run(campaign, tmp_path / "run")
    opened = open_run(tmp_path / "run")
    trials, sites = opened.trials().set_index("trial_id"), opened.injections()
    assert len(sites) == trials["injected"].sum()
    for outcome in ("masked", "benign", "sdc", "due"):
        counted = sites[sites["outcome"] == outcome].groupby("trial_id").size()
        assert counted.reindex(trials.index, fill_value=0).eq(trials[outcome]).all()
    due = sites["outcome"] == "due"
    assert sites["faulty_class"].isna().equals(due)
    sdc = sites[sites["outcome"] == "sdc"]
    assert (sdc["golden_class"] != sdc["faulty_class"]).all()


def test_the_originals_file_runs_as_a_campaign_of_one_cell(
    campaign: Path, injecttf2: Command, tmp_path: Path
) -> None:
    config = tmp_path / "example_config.yml"
    config.write_text(
        "inject_layer:\n  layer_name: logits\n  fault_type: BitFlip\n"
        "  bit_flip_type: SpecificBit\n  bit_number: 31\n  probability: 1.0\n"
    )
    folder = tmp_path / "run"
    model, data = campaign.with_name("model.keras"), campaign.with_name("data.npz")
    options = ["--model", model, "--dataset", data, "--executor", "inline", "--output", folder]
    assert injecttf2("run", config, *options).code == 0
    (row,) = open_run(folder).trials().to_dict("records")
    assert (row["layer"], row["bit"], row["injected"]) == ("logits", 31, 70)


def test_the_table_names_the_fault_where_it_is_no_bit_flip(
    campaign: Path, injecttf2: Command, tmp_path: Path
) -> None:
    head = campaign.read_text().partition("grid:")[0]
    campaign.write_text(f"{head}grid: {{layers: conv, fault: zero, counts: 2}}\n")
    ended = injecttf2("run", campaign, "--executor", "inline", "--output", tmp_path / "run")
    assert "layers, most critical first by sdc+due; zero; 2 sites; 95% intervals" in ended.out
    assert "bit_flip" not in ended.out


BAD_CAMPAIGNS = {
    "unknown key": ("bits:", "bitz:", "small.yaml:9:3: unknown key 'bitz'; did you mean 'bits'?"),
    "unknown layer": ("pool", "poll", "small.yaml:8:18: the model has no layer 'poll'; did you"),
    "bit outside the word": (
        "[0, 22",
        "[33, 22",
        "the outputs of the layer 'conv': float32 has bits 0 to 31; received bit 33",
    ),
    "probability above 1": (
        "0.2, 1.0",
        "0.2, 1.5",
        "small.yaml:10:29: probabilities: received 1.5",
    ),
    "probability NaN": ("0.2, 1.0", "0.2, .nan", "small.yaml:10:29: probabilities: received .nan"),
    "probability no number": ("0.2, 1.0", "0.2, half", "received 'half'"),
    "a module whose name reads as an emoji": (
        "model.keras",
        "nomod:X",
        "nomod:X: the module 'nomod' cannot be imported",
    ),
    "empty grid": ("[conv, pool, logits]", "[]", "the grid is empty"),
    "no such model": ("model.keras", "nosuch.keras", "nosuch.keras: the model file cannot be read"),
    "model is no model": ("model.keras", "junk.keras", "junk.keras: it is not a .keras file"),
    "no such data": ("data.npz", "nosuch.npz", "nosuch.npz: there is no such data file"),
    "data of another shape": ("data.npz", "wide.npz", "a sample has shape (9, 8, 1); the model"),
    "no labels": ("data.npz", "unlabelled.npz", "it holds the arrays x; expected inputs and"),
    "labels of another length": ("data.npz", "short.npz", "70 inputs and 69 labels"),
    "pickled data": ("data.npz", "pickled.npz", "pickled.npz: it cannot be read as .npz"),
}


@pytest.mark.parametrize("name", BAD_CAMPAIGNS)
def test_bad_campaigns_are_one_message_and_nothing_is_run(
    name: str, campaign: Path, injecttf2: Command, tmp_path: Path
) -> None:
    old, new, message = BAD_CAMPAIGNS[name]
    (tmp_path / "junk.keras").write_text("junk")
    images, labels = np.zeros((70, 8, 8, 1), np.float32), np.zeros(70, np.int64)
    np.savez(tmp_path / "wide.npz", x=np.zeros((70, 9, 8, 1), np.float32), y=labels)
    np.savez(tmp_path / "unlabelled.npz", x=images)
    np.savez(tmp_path / "short.npz", x=images, y=labels[:-1])
    np.savez(tmp_path / "pickled.npz", x=images, y=np.array([object()] * 70))
    text = campaign.read_text()
    assert old in text
    campaign.write_text(text.replace(old, new))
    ended = injecttf2("run", campaign, "--executor", "inline", "--output", tmp_path / "run")
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""
    assert not (tmp_path / "run").exists()


def test_a_mistake_found_late_does_not_claim_the_directory(
    campaign: Path, injecttf2: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.session.launch.knock", lambda *_: None)
    options = ["--output", tmp_path / "run"]
    refused = injecttf2("run", campaign, *options, "--address", "127.0.0.1:1")
    assert refused.code == 2
    campaign.write_text(campaign.read_text().replace("seed: 11", "seed: 12"))
    ended = injecttf2("run", campaign, *options, "--executor", "inline", "--json")
    assert (ended.code, ended.json["done"]) == (0, TRIALS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--executor", "inline", "--workers", "2"], "error: --workers: the inline executor"),
        (["--output", "ftp://bucket/run"], "expected a local path or a URI that begins with"),
        (["--executor", "inline", "--patience", "5"], "error: --patience: the inline executor"),
        (["--output", ""], "error: --output: received an empty text"),
        (["--executor", "dask"], "received 'dask', expected one of 'auto', 'ray', 'inline'"),
        (["--workers", "0"], "error: --workers: received '0', expected 1 or more"),
    ],
)
def test_options_that_cannot_be_followed_are_refused(
    options: list[str], message: str, campaign: Path, injecttf2: Command
) -> None:
    ended = injecttf2("run", campaign, *options)
    assert ended.code == 2
    assert message in ended.err
    assert not (campaign.parent / "s3:").exists()


def test_sites_cannot_be_recorded_for_the_rest_of_a_run_only(
    campaign: Path, run: Run, injecttf2: Command, tmp_path: Path
) -> None:
    run(campaign, tmp_path / "run")
    campaign.write_text(campaign.read_text() + "record: injections\n")
    ended = injecttf2("run", campaign, "--executor", "inline", "--output", tmp_path / "run")
    assert ended.code == 2
    assert f"record: injections asked for; {TRIALS} trials of" in ended.err


@pytest.mark.parametrize("executor", ["inline", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_model_that_cannot_run_on_the_data_is_one_message(
    executor: str, injecttf2: Command, tmp_path: Path
) -> None:
    keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            keras.layers.Embedding(5, 4),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    ).save(tmp_path / "tokens.keras")
    np.savez(tmp_path / "tokens.npz", x=np.array([[1, 2, 9]]), y=np.array([0]))
    file = tmp_path / "tokens.yaml"
    file.write_text(
        "model: tokens.keras\ndataset: tokens.npz\n"
        "grid: {layers: dense*, bits: [30], probabilities: [1.0]}\n"
    )
    workers = ["--workers=1"] if executor == "ray" else []
    where = ["--output", tmp_path / "run", "--executor", executor, *workers]
    ended = injecttf2("run", file, *where)
    assert ended.code == 2
    assert "the model cannot be run on the data" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_before_the_workers_are_ready_ends_with_3(
    number: int,
    campaign: Path,
    injecttf2: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from injecttf2 import device

    monkeypatch.setattr(device, "configure", lambda **_: os.kill(os.getpid(), number))
    before = signal.signal(number, signal.default_int_handler)  # not ignored, as under nohup
    try:
        ended = injecttf2("run", campaign, "--executor", "inline", "--output", tmp_path / "run")
    finally:
        signal.signal(number, before)
    assert ended.code == 3
    assert ended.err.splitlines()[-1] == "interrupted; the same command again goes on from here"


def test_another_campaigns_directory_is_refused_and_untouched(
    campaign: Path, run: Run, injecttf2: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    run(campaign, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    campaign.write_text(campaign.read_text().replace("seed: 11", "seed: 12"))
    ended = injecttf2("run", campaign, "--executor", "inline", "--output", folder)
    assert ended.code == 2
    assert "seed: 11 -> 12" in ended.err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_folder_that_is_no_run_is_refused(
    campaign: Path, injecttf2: Command, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    ended = injecttf2("run", campaign, "--executor", "inline", "--output", tmp_path / "mine")
    assert ended.code == 2
    assert "not a run directory" in ended.err
    assert injecttf2("status", tmp_path / "mine").code == 2


@pytest.mark.parametrize("command", [["--help"], ["status", "RUN"], ["run", "--help"]])
def test_help_and_status_load_neither_tensorflow_nor_ray(
    command: list[str], campaign: Path, run: Run, tmp_path: Path
) -> None:
    run(campaign, tmp_path / "run")
    arguments = [str(tmp_path / "run") if word == "RUN" else word for word in command]
    code = (
        "import sys, atexit\n"
        "from orchestrator.cli import main as cli\n"
        "heavy = {'tensorflow', 'keras', 'ray', 'pandas'}\n"
        "atexit.register(lambda: print('loaded', sorted(heavy & set(sys.modules))))\n"
        "cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "loaded []"
