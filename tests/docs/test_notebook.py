"""The notebook runs from its first cell to its last on a run of its own campaign."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from orchestrator import Campaign, run
from tests.docs.pages import DOCS

NOTEBOOK = DOCS / "notebooks" / "analysis.ipynb"


def campaign(text: str) -> Campaign:
    """The campaign in the notebook's introduction, with few samples and bits."""
    found = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert found is not None
    data = yaml.safe_load(found[1])
    data |= {"dataset": {"source": "digits", "samples": 30}, "repetitions": 2}
    data["grid"] |= {"layers": ["dense", "dense_1"], "bits": [0, 23, 29, 30, 31]}
    return Campaign(**data)


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    chosen = campaign(notebook.cells[0].source)
    run(chosen, tmp_path / "runs" / "digits", executor="inline", quiet=True)
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    figures = [one for one in shown if "application/vnd.plotly.v1+json" in one.get("data", {})]
    assert len(figures) == 5
    assert not [one for one in shown if one["output_type"] == "stream" and one["name"] == "stderr"]
    assert "40 of 40 trials; 0 given up on" in shown[0]["text"]


def test_the_notebook_is_committed_without_outputs() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert [cell for cell in code if cell.outputs or cell.execution_count] == []
