"""The guide's page on trackers: its listener is run against MLflow, its tables are complete."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from orchestrator.session.counters import RunCounters
from orchestrator.session.listeners import Listener
from results import open_run
from tests.docs.pages import ROOT, blocks

PAGE = "docs/guide/trackers.md"

CAMPAIGN = """
name: followed
model: builtin:digits_cnn
dataset: {source: digits, samples: 20}
seed: 7
repetitions: 3
grid: {layers: [conv2d, dense], bits: [30], probabilities: 1.0}
"""

READ = """
import json, mlflow
run, = mlflow.search_runs(output_format="list")
print(json.dumps({
    **run.to_dictionary(),
    "trials": [
        one.value for one in mlflow.MlflowClient().get_metric_history(run.info.run_id, "trials")
    ],
    "artifacts": [one.path for one in mlflow.artifacts.list_artifacts(run_id=run.info.run_id)],
    "ranking": mlflow.load_table("ranking.json")["layer"].tolist(),
}))
"""


@pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None,
    reason="MLflow is not installed; `pip install '.[dev]'` brings it",
)
def test_mlflow_gets_parameters_metrics_ranking_and_report(tmp_path: Path) -> None:
    listener = next(block for block in blocks(PAGE) if block.file == "follow_mlflow.py")
    (tmp_path / "follow_mlflow.py").write_text(listener.code)
    (tmp_path / "followed.yaml").write_text(CAMPAIGN)
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": (tmp_path / "store").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }

    def python(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-P", *arguments],
            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, check=True,
        ).stdout  # fmt: skip

    run = ["run", "followed.yaml", "--executor", "inline", "--no-report", "--json"]
    said = json.loads(python("-m", "injecttf2", *run, "--listener", "follow_mlflow:FollowMLflow"))
    found = json.loads(python("-c", READ))
    info, data = found["info"], found["data"]
    assert (info["run_name"], info["status"]) == ("followed", "FINISHED")
    assert data["tags"]["run_directory"] == said["run"]
    campaign = open_run(tmp_path / said["run"]).campaign
    assert data["params"] == {key: str(value) for key, value in campaign.items()}
    assert (data["metrics"]["trials"], found["trials"][-1]) == (6, 6)
    sdc = sum(row["sdc"] for row in said["layers"])
    assert data["metrics"]["sdc_rate"] == sdc / said["injections"]
    assert found["ranking"] == [row["layer"] for row in said["layers"]]
    assert found["artifacts"] == ["ranking.json", "report.html"]


def test_the_tables_hold_all_that_a_listener_hears_and_finds() -> None:
    page = (ROOT / PAGE).read_text()
    assert set(re.findall(r"^\| `(\w+)\(", page, re.MULTILINE)) == {
        name for name in vars(Listener) if not name.startswith("_")
    }
    told = {*re.findall(r"`counters\.(\w+)`", page), "reevaluated"}  # of interest to benchmarks
    assert told == {field.name for field in fields(RunCounters)}
