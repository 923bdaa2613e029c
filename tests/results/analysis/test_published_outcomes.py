"""A run beside published outcomes: fault by fault, by bit and by layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from results import PublishedComparison, ResultsError, Run, compare
from results.analysis.published_outcomes import fault_label
from results.statistics.clusters import cluster_wilson
from results.statistics.intervals import paired_t

Table = Callable[..., pa.Table]
Make = Callable[..., Run]

FAULTS = [
    # what the list says, bit, sdc, due, due_changed, published critical of 1,000
    ("conv1", "(3, 0, 2, 1)", 30, 4, 3, 2, 580),
    ("conv1", "(0, 0, 0, 0)", 30, 2, 0, 0, 200),
    ("conv1", "(1, 0, 0, 0)", 12, 0, 0, 0, 0),
    ("linear", "(4, 5)", 30, 0, 10, 9, 900),
    ("linear", "(4, 6)", 12, 1, 0, 0, 9),
]


def outcomes(*, sdc: int, due: int = 0, due_changed: int = 0) -> dict[str, Any]:
    """Outcomes of a fault in weights over 10 images."""
    return {
        "target": "weights",
        "variable": "kernel",
        "samples": 10,
        "injected": 10,
        "benign": 0,
        "masked": 10 - sdc - due,
        "sdc": sdc,
        "sdc_critical": 0,
        "due": due,
        "due_changed": due_changed,
    }


@pytest.fixture
def run(made: Make, trials: Table) -> Run:
    tables = [
        trials(
            number,
            **outcomes(sdc=sdc, due=due, due_changed=changed),
            layer={"conv1": "stem", "linear": "logits"}[layer],
            bit=bit,
            listed_as=fault_label(layer, index, bit),
        )
        for number, (layer, index, bit, sdc, due, changed, _) in enumerate(FAULTS)
    ]
    return made(*tables)


def test_what_a_protection_leaves_is_not_what_was_published(
    made: Make, trials: Table, tmp_path: Path
) -> None:
    layer, index, bit, *_ = FAULTS[0]
    same = {"layer": "stem", "bit": bit, "listed_as": fault_label(layer, index, bit)}
    tmr = {"protection": "tmr layers=stem", "detected": 0}
    opened = made(trials(0, **outcomes(sdc=6), **same), trials(1, **outcomes(sdc=0), **same, **tmr))
    found = compare(opened, written(tmp_path))
    assert found.faults["rate"].tolist() == [0.6]


def written(folder: Path, **change: Any) -> Path:
    """Write what the authors published, as SFI does."""
    file = folder / "published.csv"
    rows = [(layer, index, bit, 1000, critical) for layer, index, bit, *_, critical in FAULTS]
    columns = ["Layer", "TensorIndex", "Bit", "n_injections", "critical"]
    frame = pd.DataFrame(rows, columns=columns).assign(**change)
    frame.to_csv(file, index_label="Injection")
    return file


@pytest.fixture
def comparison(run: Run, tmp_path: Path) -> PublishedComparison:
    return compare(run, written(tmp_path))


def test_every_fault_is_beside_its_published_outcome(comparison: PublishedComparison) -> None:
    faults = comparison.faults
    assert faults["fault"].tolist() == [
        "conv1 (3, 0, 2, 1) 30",
        "conv1 (0, 0, 0, 0) 30",
        "conv1 (1, 0, 0, 0) 12",
        "linear (4, 5) 30",
        "linear (4, 6) 12",
    ]
    assert faults["layer"].tolist() == ["stem"] * 3 + ["logits"] * 2
    assert faults["rate"].tolist() == [0.6, 0.2, 0.0, 0.9, 0.1]
    assert faults["published"].tolist() == [0.58, 0.2, 0.0, 0.9, 0.009]
    assert faults["difference"].tolist() == (faults["rate"] - faults["published"]).tolist()
    assert (comparison.only_published, comparison.only_run) == (0, 0)


def test_rates_are_means_over_the_faults_of_a_bit(comparison: PublishedComparison) -> None:
    table = comparison.by_bit
    assert (table["bit"].tolist(), table["faults"].tolist()) == ([30, 12], [3, 2])
    assert table["rate"].tolist() == pytest.approx([17 / 30, 0.05])
    assert table["published"].tolist() == pytest.approx([1.68 / 3, 0.0045])
    expected = cluster_wilson(3, 30, 17, 6**2 + 2**2 + 9**2)
    assert table[["low", "high"]].iloc[0].tolist() == pytest.approx(list(map(float, expected)))
    assert table[["difference_low", "difference_high"]].isna().all(axis=None)  # of three faults


def test_layers_have_the_order_of_the_list(comparison: PublishedComparison) -> None:
    table = comparison.by_layer
    assert (table["layer"].tolist(), table["faults"].tolist()) == (["stem", "logits"], [3, 2])
    assert table["rate"].tolist() == pytest.approx([8 / 30, 0.5])
    (total,) = comparison.total["rate"]
    assert total == pytest.approx(18 / 50)


def test_correlation_is_over_the_faults_of_a_per_cent_and_more(
    comparison: PublishedComparison,
) -> None:
    expected = np.corrcoef([0.6, 0.2, 0.9], [0.58, 0.2, 0.9])[0, 1]
    assert comparison.correlation == pytest.approx(expected)
    assert comparison.correlated == 3


def test_differences_have_an_interval_over_many_faults(
    made: Make, trials: Table, tmp_path: Path
) -> None:
    sdc = [1, 0, 3, 2, 5, 1, 2, 4, 1, 3, 2, 1]
    critical = [2, 1, 3, 2, 4, 1, 3, 4, 0, 3, 2, 2]
    faults = [
        trials(n, **outcomes(sdc=k), bit=31, listed_as=f"fc (0, {n}) 31") for n, k in enumerate(sdc)
    ]
    run = made(*faults)
    file = tmp_path / "published.csv"
    rows = [("fc", f"(0, {n})", 31, 20, 2 * k) for n, k in enumerate(critical)]
    pd.DataFrame(rows, columns=["layer", "tensorindex", "bit", "n_injections", "critical"]).to_csv(
        file
    )
    row = compare(run, file).total.iloc[0]
    differences = (np.array(sdc) - np.array(critical)) / 10
    low, high = paired_t(differences, 0.95)
    assert row[["difference", "difference_low", "difference_high"]].tolist() == pytest.approx(
        [differences.mean(), low, high]
    )


def test_other_forms_tell_the_same(
    run: Run, comparison: PublishedComparison, tmp_path: Path
) -> None:
    """Counts in place of their sum, semicolons, a BOM and capitals."""
    given = pd.read_csv(written(tmp_path))
    rest = given["n_injections"] - given["critical"]
    given = given.assign(masked=3, non_critical=rest - 3).drop(columns="n_injections")
    given.columns = [name.upper() for name in given.columns]
    given.to_csv(tmp_path / "other.csv", index=False, sep=";", encoding="utf-8-sig")
    pd.testing.assert_frame_equal(compare(run, tmp_path / "other.csv").faults, comparison.faults)


def test_faults_of_a_plain_list_are_told_by_their_trial(
    made: Make, trials: Table, tmp_path: Path
) -> None:
    run = made(
        trials(0, **outcomes(sdc=5), layer="stem", bit=30, listed_as="7"),
        trials(1, **outcomes(sdc=1), layer="logits", bit=2, listed_as="9"),
    )
    file = tmp_path / "published.csv"
    head = "trial,layer,element,bit,masked,non_critical,critical\n"
    file.write_text(f"{head}9,logits,3,2,8,1,1\n7,stem,4,30,0,5,5\n8,stem,4,31,0,5,5\n")
    found = compare(run, str(file))
    assert found.faults["fault"].tolist() == ["9", "7"]
    assert found.faults["difference"].tolist() == [0.0, 0.0]
    assert (found.only_published, found.only_run) == (1, 0)
    assert "; faults only in the file: 1" in str(found)
    file.write_text(f"{head}7,stem,4,30,0,5,5\n9,stem,4,31,0,5,5\n")
    with pytest.raises(ResultsError, match="the fault 9 is in 'stem', bit 31, and in 'logits'"):
        compare(run, file)


def test_it_prints_the_tables_side_by_side(comparison: PublishedComparison) -> None:
    lines = str(comparison).splitlines()
    assert lines[0] == "Critical predictions (sdc + due_changed) in %, and the published."
    head = ["faults", "rate", "low", "high", "published"]
    assert lines[2].split()[:6] == ["bit", *head]
    assert lines[3].split()[:3] == ["30", "3", "56.6667"]
    assert lines[6].split()[:6] == ["layer", *head]
    assert lines[-1] == "correlation over the 3 faults of 1% and more: 0.9995"


def test_a_file_of_other_faults_is_refused(run: Run, tmp_path: Path) -> None:
    file = written(tmp_path, Layer="features.3")
    with pytest.raises(ResultsError, match="none of the 5 faults is among the 5 of the run"):
        compare(run, file)


@pytest.mark.parametrize("column", ["Bit", "critical", "n_injections"])
def test_a_file_that_lacks_a_column_is_refused(run: Run, tmp_path: Path, column: str) -> None:
    file = written(tmp_path)
    pd.read_csv(file).drop(columns=column).to_csv(file, index=False)
    with pytest.raises(ResultsError, match=r"the file has the columns injection, .*, and not"):
        compare(run, file)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b'a,"b\n1,2'])
def test_a_file_that_cannot_be_read_is_refused(
    run: Run, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "published.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ResultsError, match=r"published.csv: the file"):
        compare(run, file)


def test_metric_is_not_for_a_file(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="metric is 'due'"):
        compare(run, written(tmp_path), metric="due")


PLAIN = "layer,variable,element,bit,n_injections,critical\n"


def test_faults_without_a_name_are_told_by_their_place(
    made: Make, trials: Table, tmp_path: Path
) -> None:
    """Whatever the order of the file: it may have been sorted or filtered."""
    run = made(
        trials(0, **outcomes(sdc=5), layer="stem", bit=30, listed_as="stem kernel 4 30"),
        trials(1, **outcomes(sdc=1), layer="stem", bit=30, listed_as="stem kernel 5 30"),
    )
    file = tmp_path / "published.csv"
    file.write_text(f"{PLAIN}stem,kernel,5,30,10,1\nstem,kernel,4.0,30,10,5\n,,,,,\n")
    assert compare(run, file).faults["difference"].tolist() == [0.0, 0.0]
    file.write_text(file.read_text(), encoding="utf-16")
    assert compare(run, file).faults["fault"].tolist() == ["stem kernel 5 30", "stem kernel 4 30"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("stem,kernel,5,30,10,11", "row 2: received more critical predictions than there are, or"),
        ("stem,kernel,5,30,0,0", "row 2: received more critical predictions than there are, or no"),
        ("stem,kernel,5,30,10,-1", "row 2: the critical is no whole number from 0"),
        ("stem,kernel,5,30,10,0.5", "row 2: the critical is no whole number from 0"),
        ("stem,kernel,5,30,10,", "row 2: the critical is no whole number from 0"),
        ("stem,kernel,5,30,many,1", "row 2: the n_injections is no whole number from 0"),
        ("stem,kernel,5,,10,1", "row 2: received no bit; expected one in every row"),
        ("stem,kernel,4,30,10,6", "row 2: the fault is there before, with other outcomes"),
        ("stem,kernel,4,30,10", "row 2: received 5 cells"),
    ],
)
def test_outcomes_that_cannot_be_are_refused(
    run: Run, tmp_path: Path, row: str, message: str
) -> None:
    file = tmp_path / "published.csv"
    file.write_text(f"{PLAIN}stem,kernel,4,30,10,5\n{row}\n")
    with pytest.raises(ResultsError) as caught:
        compare(run, file)
    assert message in str(caught.value)
