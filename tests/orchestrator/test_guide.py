"""The examples in the guide, as a user would take them over."""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from results import open_run
from tests.builders import install_package
from tests.orchestrator.conftest import Run

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "faults.md"


@pytest.fixture
def modules(campaign: Path) -> Path:
    """The modules of the guide beside a campaign; returns the campaign."""
    code = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    fault, judges = code
    campaign.with_name("my_faults.py").write_text(fault)
    campaign.with_name("my_judges.py").write_text(judges)
    return campaign


@pytest.mark.parametrize("executor", ["inline", pytest.param("ray", marks=pytest.mark.ray)])
def test_faults_and_judges_of_the_users_own(
    executor: str, modules: Path, run: Run, tmp_path: Path
) -> None:
    head = modules.read_text().partition("grid:")[0]
    modules.write_text(
        f"{head}"
        'judge: {type: "my_judges:Group", size: 3}\n'
        "metrics: my_judges:Lead\n"
        "criteria: my_judges:Fell\n"
        "grid:\n"
        "- {layers: [conv, logits], bits: [30, 31], counts: 20}\n"
        '- {layers: [conv, logits], fault: {type: "my_faults:Drift", width: 100}, counts: 20}\n'
    )
    workers = 1 if executor == "ray" else None
    assert run(modules, tmp_path / "run", executor, workers=workers).failed == 0
    rows = open_run(tmp_path / "run").trials()
    assert len(rows) == 2 * 3 * 3
    assert sorted(rows["fault"].unique()) == ["bit_flip", "my_faults:Drift"]
    assert rows["sdc_Fell"].between(0, rows["injected"] - rows["due"]).all()
    assert rows["sdc_Fell"].sum() > 0
    assert rows["metric_Lead"].nunique() > 5
    assert (rows["sdc"] > 0).any()


DATA = """
import numpy as np


def plates():
    with np.load({file!r}) as data:
        return data["x"], data["y"]
"""


def test_what_a_package_names_is_found(
    modules: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry_points, grid = re.findall(
        r"```(?:toml|yaml)\n(.*?)```", GUIDE.read_text().partition("## In a package")[2], re.DOTALL
    )
    package = tmp_path / "site" / "my_package"
    package.mkdir(parents=True)
    shutil.move(tmp_path / "my_faults.py", package / "faults.py")
    shutil.move(tmp_path / "my_judges.py", package / "judges.py")
    (package / "data.py").write_text(DATA.format(file=str(tmp_path / "data.npz")))
    groups = tomllib.loads(entry_points)["project"]["entry-points"]
    lines = [
        line
        for group, named in groups.items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in named.items()))
    ]
    install_package(package.parent, "\n".join(lines))
    monkeypatch.syspath_prepend(package.parent)
    modules.write_text(f"name: packaged\nmodel: model.keras\n{grid}")
    assert run(modules, tmp_path / "run").failed == 0
    rows = open_run(tmp_path / "run").trials()
    assert set(rows["fault"]) == {"drift"}
    assert {"metric_Lead", "sdc_Fell"} <= {*rows}
    for name in [name for name in sys.modules if name.startswith("my_package")]:
        del sys.modules[name]
