"""The guide's examples of plain pandas, DuckDB and Polars give what the methods of a run give."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from results import Run, RunHeader, RunWriter, compare, open_run
from tests.results.conftest import hits_of

Table = Callable[..., pa.Table]

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "results.md"
SECTION = "## The same in pandas, DuckDB and Polars"
TOOLS = ("pandas", "DuckDB", "Polars")


def example(tool: str) -> str:
    section = GUIDE.read_text().split(SECTION)[1].split("\n## ")[0]
    code = re.search(rf"In {tool}:\n\n```python\n(.*?)```", section, re.DOTALL)
    assert code is not None
    return code[1]


@pytest.fixture
def runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    header: RunHeader,
    trials: Table,
    injections: Table,
) -> tuple[Run, Run]:
    """Two runs in which cells have different numbers of trials, rates and probabilities."""
    monkeypatch.chdir(tmp_path)
    shape = {"type": "Conv2D", "shape": [8, 8, 32], "dtype": "float32"}
    header = replace(header, layers={"conv2d": shape})
    for name, sdc in (("digits", 2), ("digits-protected", 1)):
        with RunWriter.open(f"runs/{name}", header, flush_seconds=0) as writer:
            writer.append(trials(*range(48), sdc=sdc, benign=4 - sdc), injections(*range(48)))
            for number in range(0, 20, 2):
                more = {"trial_id": 10_000 + number, "repetition": 7, "masked": 0}
                writer.append(trials(number, **more, sdc=4 - sdc, benign=1 + sdc))
                many = {"trial_id": 20_000 + number, "cell_id": 900 + number, "probability": 1.0}
                writer.append(
                    trials(number, **many, injected=10, masked=6, benign=3 - sdc, sdc=sdc),
                    hits_of({"trial_id": many["trial_id"], "element": number, "outcome": "masked"}),
                )
            nulls = {"trial_id": 5, "cell_id": 77, "bit": None, "bit_field": "any"}
            writer.append(trials(0, **nulls, sdc=sdc, benign=4 - sdc))
    return open_run("runs/digits"), open_run("runs/digits-protected")


def answers(tool: str) -> dict[str, pd.DataFrame]:
    """What the guide's example of ``tool`` leaves behind, as pandas frames."""
    names: dict[str, Any] = {}
    exec(example(tool), names)  # noqa: S102
    found = {name: names[name] for name in ("ranking", "channels", "drift", "changes")}
    to_pandas = {"pandas": lambda frame: frame, "DuckDB": lambda frame: frame.df()}.get(
        tool, lambda frame: pd.DataFrame(frame.to_dict(as_series=False))
    )
    return {name: to_pandas(frame) for name, frame in found.items()}


def same(frame: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Check that two frames hold the same rows, whatever their order and dtypes."""
    sides = []
    for side in (frame[expected.columns.tolist()], expected):
        texts = {"layer": "str"} if "layer" in side else {}
        numbers = {name: "float64" for name in side.columns if name != "layer"}
        side = side.astype(texts | numbers)
        sides.append(side.sort_values(side.columns.tolist()).reset_index(drop=True))
    pd.testing.assert_frame_equal(*sides, check_dtype=False, rtol=1e-12)


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_gives_the_answers_of_the_run(tool: str, runs: tuple[Run, Run]) -> None:
    found = answers(tool)
    ranked = runs[0].criticality().rename(columns={"sdc+due_rate": "lost"})
    same(found["ranking"], ranked[["probability", "layer", "bit", "lost"]])
    channels = runs[0].vulnerability_map("conv2d", by="channel")
    same(found["channels"], channels[["channel", "sdc_rate"]])
    same(found["drift"], runs[0].class_drift()[["golden_class", "faulty_class", "count"]])
    changes = compare(*runs)[["layer", "bit", "probability", "difference"]]
    same(found["changes"], changes)


@pytest.mark.parametrize("tool", TOOLS)
def test_ranking_begins_with_the_most_critical(tool: str, runs: tuple[Run, Run]) -> None:
    for _, rows in answers(tool)["ranking"].groupby("probability"):
        assert rows["lost"].tolist() == sorted(rows["lost"], reverse=True)
