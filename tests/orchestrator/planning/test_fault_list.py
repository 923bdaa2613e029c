"""Fault lists: what they may say, what is refused, and that a recorded run can be replayed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from injecttf2 import device
from injecttf2.errors import CampaignError
from injecttf2.faults.bit_faults import BitFlip, StuckAt
from injecttf2.faults.listed import FromFaultList, SetValue
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.trial import Cell, Scope
from orchestrator.campaign.grid import FaultListSpec
from orchestrator.planning.fault_list import FaultList
from results import open_run
from tests import families, networks
from tests.orchestrator.conftest import Command, Run, pure_rows

SAMPLES = 70


@pytest.fixture(scope="module")
def graph() -> Iterator[ModelGraph]:
    device.load()
    yield ModelGraph.of(networks.cnn())
    keras.utils.clear_session(free_memory=False)


@pytest.fixture
def list_of(tmp_path: Path, graph: ModelGraph) -> Any:
    def read(text: str) -> dict[Scope, list[Cell]]:
        file = tmp_path / "faults.csv"
        file.write_text(text)
        return FaultList(FaultListSpec(file=str(file)), graph, SAMPLES).trials()

    return read


def listed(cell: Cell) -> FromFaultList:
    assert isinstance(cell.rate, FromFaultList)
    return cell.rate


def test_every_row_is_a_trial_unless_there_is_a_column_trial(list_of: Any) -> None:
    found = list_of("layer,sample,element,bit\nconv,3,255,31\nlogits,69,4,0\nconv,0,1,22\n")
    assert [(scope.layers, scope.target) for scope in found] == [
        (("conv",), "outputs"),
        (("logits",), "outputs"),
    ]
    first, second = found[Scope(("conv",))]
    assert (first.fault, second.fault) == (BitFlip(bit=31), BitFlip(bit=22))
    (sites,) = listed(first).outputs
    assert [column.tolist() for column in (sites.sample, sites.element, sites.bit)] == [
        [3],
        [255],
        [31],
    ]
    assert sites.draws.shape == (1, 0)


def test_rows_of_a_trial_may_lie_anywhere_and_in_any_order(list_of: Any) -> None:
    head = "trial,layer,sample,element,bit,fault\n"
    rows = [
        "a,conv,3,5,31,stuck_at_1",
        "b,conv,1,1,0,",
        "a,logits,0,2,7,stuck_at_1",
        "a,conv,1,9,3,stuck_at_1",
    ]
    found = list_of(head + "\n".join(rows))
    (cell,) = found[Scope(("conv", "logits"))]
    assert cell.fault == StuckAt(bit_field="any", value=1)
    conv, logits = listed(cell).outputs
    assert (conv.sample.tolist(), conv.bit.tolist()) == ([1, 3], [3, 31])
    assert (logits.element.tolist(), logits.bit.tolist()) == ([2], [7])
    assert (listed(cell).sites, listed(cell).samples) == (3, 3)
    again = list_of(head + "\n".join(reversed(rows)))
    assert again[Scope(("conv", "logits"))] == [cell]


def test_equal_trials_are_one(list_of: Any) -> None:
    found = list_of("layer,sample,element,bit\nconv,3,5,31\nconv,3,5,31\nconv,3,5,30\n")
    assert len(found[Scope(("conv",))]) == 2


def test_values_may_be_anything_that_a_float_holds(list_of: Any) -> None:
    found = list_of(
        "trial,layer,sample,element,value\n1,conv,0,1,nan\n1,conv,0,2,-inf\n1,conv,0,3,-0.0\n"
    )
    (cell,) = found[Scope(("conv",))]
    assert cell.fault == SetValue()
    (sites,) = listed(cell).outputs
    assert sites.draws.shape == (3, 1)
    assert sites.bit.tolist() == [-1, -1, -1]
    assert repr(sites.draws[:, 0].tolist()) == "[nan, -inf, -0.0]"


def test_sites_in_weights_count_the_variables_of_the_trial(list_of: Any) -> None:
    found = list_of(
        "trial,layer,variable,element,bit\n"
        "1,logits,bias,4,30\n1,logits,kernel,319,30\n"
        "2,logits,bias,0,30\n2,conv,bias,3,30\n"
    )
    (one,) = found[Scope(("logits",), "weights")]
    (together,) = found[Scope(("conv", "logits"), "weights")]
    first, second = listed(one).weights, listed(together).weights
    assert first is not None
    assert second is not None
    assert (first.variable.tolist(), first.element.tolist()) == ([0, 1], [319, 4])
    # conv: kernel, bias; then logits: kernel, bias
    assert (second.variable.tolist(), second.element.tolist()) == ([1, 3], [3, 0])


def test_names_are_found_with_blanks_around_them_and_na_is_none(list_of: Any) -> None:
    """As R writes a list of both kinds, and a hand a list with blanks."""
    found = list_of(
        "layer, variable, sample, element, bit, fault\n"
        " conv, NA, 3, 5, 31, NA\n"
        'logits , bias ,NA,4,30," stuck_at_1"\n'
        '"logits",None,7,4,30,\n'
    )
    assert [(scope.layers, scope.target, len(cells)) for scope, cells in found.items()] == [
        (("conv",), "outputs", 1),
        (("logits",), "weights", 1),
        (("logits",), "outputs", 1),
    ]
    (weight,) = found[Scope(("logits",), "weights")]
    assert weight.fault == StuckAt(bit=30, value=1)


def test_names_that_have_blanks_themselves_come_first(tmp_path: Path) -> None:
    """Of inputs, as TensorFlow takes no other layer whose name has a blank."""
    model = keras.Sequential([keras.Input((3,), name=" none"), keras.layers.Dense(2, name="none")])
    graph = ModelGraph.of(model)
    (tmp_path / "faults.csv").write_text(
        'layer,variable,sample,element,bit\n none,,0,1,3\n" none",,1,2,3\nnone,kernel,,5,3\n'
    )
    found = FaultList(FaultListSpec(file=str(tmp_path / "faults.csv")), graph, SAMPLES).trials()
    assert {(*scope.layers, scope.target): len(cells) for scope, cells in found.items()} == {
        (" none", "outputs"): 2,
        ("none", "weights"): 1,
    }
    keras.utils.clear_session(free_memory=False)


def test_the_same_site_in_two_parts_is_told_with_both(graph: ModelGraph, tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {"trial": [1, 2], "layer": "conv", "sample": 0, "element": [0, 1], "bit": 1}
    )
    folder = tmp_path / "faults"
    folder.mkdir()
    for name in ("0.parquet", "1.parquet"):
        rows.to_parquet(folder / name)
    with pytest.raises(CampaignError) as caught:
        FaultList(FaultListSpec(file=str(folder)), graph, SAMPLES)
    assert str(caught.value) == (
        f"{folder / '1.parquet'}: row 1: the same site as in {folder / '0.parquet'}: row 1; "
        "expected each site once in a trial"
    )


HEAD = "layer,sample,element,bit\n"
REFUSED = {
    "no rows": (HEAD, "the fault list has no rows"),
    "unknown column": (
        "layer,sampel,element,bit\nconv,0,0,1\n",
        "'sampel' is none; did you mean 'sample'?",
    ),
    "column twice": ("layer,sample,element,bit,bit\nconv,0,0,1,1\n", "'bit' is given twice"),
    "no layer column": ("sample,element,bit\n0,0,1\n", "the fault list has the columns sample,"),
    "no element column": ("layer,sample,bit\nconv,0,1\n", "has the columns layer, sample, bit"),
    "neither bit nor value column": (
        "layer,sample,element\nconv,0,0\n",
        "of which layer, element and either bit or value are required",
    ),
    "no layer": (HEAD + "conv,0,0,1\n,0,0,1\n", "row 2: received no layer"),
    "unknown layer": (
        HEAD + "conv,0,0,1\nconw,0,0,1\n",
        "row 2: the model has no layer 'conw'; did you mean 'conv'?",
    ),
    "layer that is a number": ("layer,sample,element,bit\n3,0,0,1\n", "has no layer '3'"),
    "no sample": (HEAD + "conv,,0,1\n", "row 1: received no sample"),
    "sample outside": (
        HEAD + "conv,0,0,1\nconv,70,0,1\n",
        "row 2: received the sample 70; expected 0 to 69",
    ),
    "negative sample": (HEAD + "conv,-1,0,1\n", "received the sample -1; expected a whole number"),
    "half a sample": (HEAD + "conv,0.5,0,1\n", "received the sample 0.5; expected a whole number"),
    "sample that is text": (HEAD + "conv,one,0,1\n", "received the sample 'one'; expected a whole"),
    "no element": (HEAD + "conv,0,,1\n", "received no element; expected a whole number from 0"),
    "element outside": (HEAD + "conv,0,256,1\n", "received the element 256; expected 0 to 255"),
    "huge element": (HEAD + "conv,0,1e30,1\n", "received the element 1e30; expected a whole"),
    "bit outside": (
        HEAD + "conv,0,0,31\nconv,0,0,32\n",
        "row 2: float32 has bits 0 to 31; received bit 32",
    ),
    "no bit and no value": (HEAD + "conv,0,0,\n", "received no bit and no value; expected one"),
    "bit and value": (
        "layer,sample,element,bit,value\nconv,0,0,1,2.5\n",
        "received the bit 1 and the value 2.5; expected one",
    ),
    "value that is text": ("layer,sample,element,value\nconv,0,0,big\n", "'big'"),
    "unknown fault": (
        "layer,sample,element,bit,fault\nconv,0,0,1,bitflip\n",
        "received the fault 'bitflip'; expected bit_flip, stuck_at_0, stuck_at_1",
    ),
    "fault and value": (
        "layer,sample,element,value,fault\nconv,0,0,1,bit_flip\n",
        "received the fault 'bit_flip' and a value; expected a bit, or no fault",
    ),
    "two faults": (
        "trial,layer,sample,element,bit,fault\n1,conv,0,0,1,bit_flip\n1,conv,0,1,1,stuck_at_0\n",
        "a trial has the faults bit_flip, stuck_at_0; expected one",
    ),
    "outputs and weights": (
        "trial,layer,variable,sample,element,bit\n1,conv,,0,0,1\n1,conv,kernel,,1,1\n",
        "a trial has sites in outputs and in weights; expected one",
    ),
    "no trial": (
        "trial,layer,sample,element,bit\n1,conv,0,0,1\n,conv,0,0,2\n",
        "row 2: received no",
    ),
    "the same site": (
        "trial,layer,sample,element,bit\n1,conv,0,0,1\n2,conv,0,0,1\n1,conv,0,0,1\n",
        "row 3: the same site as in row 1; expected each site once in a trial",
    ),
    "unknown variable": (
        "layer,variable,element,bit\nconv,kernal,0,1\n",
        "the layer 'conv' has no variable 'kernal'; did you mean 'kernel'?",
    ),
    "layer without weights": (
        "layer,variable,element,bit\npool,kernel,0,1\n",
        "the layer 'pool' has no variable 'kernel'",
    ),
    "sample of a weight": (
        "layer,variable,sample,element,bit\nconv,kernel,3,0,1\n",
        "received the sample 3 for a weight; expected none, as all samples are hit",
    ),
    "weight outside": (
        "layer,variable,element,bit\nconv,bias,4,1\n",
        "received the element 4; expected 0 to 3",
    ),
    "rows of another length": (
        HEAD + "conv,0,0,1\n\nconv,0,0\n",
        "row 2: received 3 cells, 'conv,0,0'; expected 4",
    ),
    "not a table": ("\x00\x01", "the fault list"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_malformed_list_is_one_message_with_file_and_row(
    name: str, list_of: Any, tmp_path: Path
) -> None:
    text, message = REFUSED[name]
    with pytest.raises(CampaignError) as error:
        list_of(text)
    assert message in str(error.value)
    assert str(tmp_path / "faults.csv") in str(error.value)


@pytest.mark.parametrize(
    ("column", "value"),
    [("trial", [1]), ("layer", ["conv"]), ("bit", True), ("sample", pd.Timestamp("2026-01-01"))],
)
def test_columns_of_a_type_that_does_not_fit_are_refused(
    column: str, value: object, graph: ModelGraph, tmp_path: Path
) -> None:
    file = tmp_path / "faults.parquet"
    row = {"trial": 1, "layer": "conv", "sample": 0, "element": 0, "bit": 1, column: value}
    pd.DataFrame([row]).to_parquet(file)
    with pytest.raises(CampaignError, match=f"the column {column} of the fault list has the type"):
        FaultList(FaultListSpec(file=str(file)), graph, SAMPLES)


def test_files_that_are_no_lists_are_refused(graph: ModelGraph, tmp_path: Path) -> None:
    for name in ("junk.parquet", "faults.xlsx"):
        (tmp_path / name).write_text("junk")
    for name, message in {
        "absent.csv": "absent.csv: there is no such fault list",
        "junk.parquet": "the fault list cannot be read: ",
        "faults.xlsx": "a fault list is a .parquet or .csv file; received 'faults.xlsx'",
    }.items():
        with pytest.raises(CampaignError, match=message):
            FaultList(FaultListSpec(file=str(tmp_path / name)), graph, SAMPLES)


def test_nan_is_no_value_of_whole_numbers(tmp_path: Path) -> None:
    graph = ModelGraph.of(families.whole_numbers())
    file = tmp_path / "faults.csv"
    file.write_text("layer,sample,element,value\nint8_back,0,0,nan\nint8,0,0,nan\n")
    with pytest.raises(CampaignError, match="row 2: received the value nan; int8 has none"):
        FaultList(FaultListSpec(file=str(file)), graph, SAMPLES)


def test_a_broken_list_ends_the_command_with_2(
    campaign: Path, injecttf2: Command, tmp_path: Path
) -> None:
    (tmp_path / "faults.csv").write_text("layer,sample,element,bit\nconv,0,900,1\n")
    listing(campaign, "faults.csv")
    ended = injecttf2("run", campaign, "--executor", "inline", "--output", tmp_path / "run")
    assert ended.code == 2
    assert "small.yaml:6:15: " in ended.err
    assert "faults.csv: row 1: received the element 900; expected 0 to 255" in ended.err
    assert not (tmp_path / "run").exists()


OUTCOMES = [
    *("target", "sites", "injected", "benign", "masked", "sdc", "due"),
    *("sdc_critical", "due_changed", "accuracy"),
]
GRIDS = {
    "flips": "{layers: [conv, logits], bits: [30, random], probabilities: [0.02, 0.5]}",
    "stuck": "{layers: conv, fault: {type: stuck_at, value: 1}, bits: random, bers: 1.0e-4}",
    "words": "{layers: [conv, logits], fault: [random_bits, zero], counts: [1, 40]}",
    "weights": "{layers: [conv, logits], target: weights, bits: [30, random], counts: [1, 3]}",
    "together": "{layers: [conv, logits], layers_together: true, bits: exponent, counts: 20}",
    "weights together": "{layers: [conv, logits], target: weights, layers_together: true, "
    "fault: random_bits, counts: 6}",
}


@pytest.mark.parametrize(
    ("grid", "kind"), [*((grid, "parquet") for grid in GRIDS), ("flips", "csv"), ("weights", "csv")]
)
def test_a_recorded_run_injected_again_has_the_same_outcomes(
    grid: str, kind: str, campaign: Path, run: Run, injecttf2: Command, tmp_path: Path
) -> None:
    head = campaign.read_text().partition("grid:")[0]
    campaign.write_text(f"{head}grid: {GRIDS[grid]}\nrecord: injections\n")
    run(campaign, tmp_path / "first")
    file = tmp_path / f"faults.{kind}"
    ended = injecttf2("export-sites", tmp_path / "first", "-o", file)
    assert ended.code == 0
    assert str(file) in ended.out

    listing(campaign, file.name)
    run(campaign, tmp_path / "again")
    first, again = pure_rows(tmp_path / "first"), pure_rows(tmp_path / "again")
    first = first[first["sites"] > 0]
    assert outcomes(again) == outcomes(first)
    assert set(again["trial_id"]).isdisjoint(first["trial_id"])


def outcomes(rows: pd.DataFrame) -> list[tuple[Any, ...]]:
    """What became of each trial, equal trials once."""
    return sorted(set(rows[OUTCOMES].itertuples(index=False, name=None)))


def test_a_run_without_recorded_sites_cannot_be_exported(
    campaign: Path, run: Run, injecttf2: Command, tmp_path: Path
) -> None:
    run(campaign, tmp_path / "run")
    for file, message in {
        "sites.csv": "the run holds no injected sites",
        "sites.json": "received 'sites.json'; expected the name of a .parquet or .csv file",
    }.items():
        ended = injecttf2("export-sites", tmp_path / "run", "-o", tmp_path / file)
        assert ended.code == 2
        assert message in ended.err
        assert not (tmp_path / file).exists()


def test_an_export_does_not_replace_a_file(
    campaign: Path, run: Run, injecttf2: Command, tmp_path: Path
) -> None:
    campaign.write_text(campaign.read_text() + "record: injections\n")
    run(campaign, tmp_path / "run")
    (tmp_path / "sites.csv").write_text("mine")
    ended = injecttf2("export-sites", tmp_path / "run", "-o", tmp_path / "sites.csv")
    assert ended.code == 2
    assert ended.err.splitlines() == [
        f"error: {tmp_path / 'sites.csv'}: there is a file of that name already",
        "  give another name",
    ]
    assert (tmp_path / "sites.csv").read_text() == "mine"


def test_a_list_by_hand_is_injected_exactly(campaign: Path, run: Run, tmp_path: Path) -> None:
    """What is recorded is what was listed, and the outcome that of a model with that value."""
    (tmp_path / "faults.csv").write_text(
        "trial,layer,sample,element,value\n1,logits,0,0,1e9\n1,logits,5,3,1e9\n2,logits,7,2,nan\n"
    )
    listing(campaign, "faults.csv", "record: injections\n")
    run(campaign, tmp_path / "run")
    opened = open_run(tmp_path / "run")
    sites = opened.injections().sort_values("sample")
    assert sites["element"].tolist() == [0, 3, 2]
    assert sites["corrupted"].tolist()[:2] == [1e9, 1e9]
    assert np.isnan(sites["corrupted"].tolist()[2])
    rows = opened.trials().sort_values("sites")
    assert rows[["sites", "injected", "due"]].to_numpy().tolist() == [[1, 1, 1], [2, 2, 0]]

    images, _ = networks.data((8, 8, 1), 5)
    golden = networks.cnn()(images).numpy().argmax(-1)
    assert rows["sdc"].tolist()[1] == int(golden[0] != 0) + int(golden[5] != 3)


def test_a_list_is_the_same_trials_however_it_is_written(
    campaign: Path, run: Run, tmp_path: Path
) -> None:
    rows = pd.DataFrame({"layer": "logits", "sample": [0, 5, 9], "element": [0, 3, 4], "bit": 30})
    rows.to_csv(tmp_path / "plain.csv", index=False)
    rows.to_csv(tmp_path / "other.csv", sep=";", encoding="utf-8-sig")
    rows.set_index("layer").to_parquet(tmp_path / "index.parquet")
    text = campaign.read_text()
    for file in ("plain.csv", "other.csv", "index.parquet"):
        campaign.write_text(text)
        listing(campaign, file)
        run(campaign, tmp_path / file.partition(".")[2] / file)
    expected = pure_rows(tmp_path / "csv" / "plain.csv")
    assert len(expected) == 3
    for name in ("csv/other.csv", "parquet/index.parquet"):
        pd.testing.assert_frame_equal(pure_rows(tmp_path / name), expected, check_exact=True)


def listing(campaign: Path, file: str, more: str = "") -> None:
    """Let a campaign inject a list in place of its grid."""
    head = campaign.read_text().partition("repetitions:")[0]
    campaign.write_text(f"{head}grid: {{sites: {file}}}\n{more}")
