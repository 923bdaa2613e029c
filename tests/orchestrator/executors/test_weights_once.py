"""Weights in campaigns: each variable once, whatever the grid names, and none that is not read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from injecttf2 import device
from injecttf2.errors import CampaignError
from orchestrator.campaign.campaign import load_campaign
from orchestrator.planning.plan import Plan, make_plan
from results import open_run
from tests import sharing
from tests.orchestrator.conftest import Command, Run

ALL = "{layers: all, target: weights, bits: 30, exhaustive: true}"


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    device.load()
    keras.utils.clear_session(free_memory=False)
    yield
    keras.utils.clear_session(free_memory=False)


@pytest.fixture
def campaign(tmp_path: Path) -> Callable[..., Path]:
    """Write a campaign on one of the models; its grid begins in line 3."""

    def written(model: str, grid: str) -> Path:
        file = tmp_path / "c.yaml"
        file.write_text(
            f"model: tests.sharing:{model}\ndataset: tests.sharing:dataset\ngrid: {grid}\n"
        )
        return file

    return written


@pytest.fixture
def plan(campaign: Callable[..., Path]) -> Callable[..., Plan]:
    return lambda *what: make_plan(load_campaign(campaign(*what)))


def cells(planned: Plan) -> list[tuple[str, str | None, int]]:
    """Layer, variable and number of trials of each cell."""
    return [(cell.layer, cell.variable, trials) for cell, trials in planned.grid.cells()]


def skipped(planned: Plan) -> list[tuple[str, str | None]]:
    return [(info.layer, info.reason) for info in planned.skipped]


@pytest.mark.parametrize("target", ["all", "'*'", "{type: Dense}"])
def test_a_layer_that_is_called_again_has_its_weights_once(
    target: str, plan: Callable[..., Plan]
) -> None:
    grid = ALL.replace("layers: all", f"layers: {target}")
    planned = plan("called_again", grid)
    norm = [("norm", None, 12)] if "type" not in target else []
    assert cells(planned) == [("cell", None, 42), *norm, ("classes", None, 21)]
    again = [(f"cell#{number}", "its weights are those of 'cell'") for number in (2, 3, 4)]
    assert [one for one in skipped(planned) if one[0].startswith("cell")] == again


def test_exact_rates_are_those_of_every_weight_once(
    campaign: Callable[..., Path], run: Run, tmp_path: Path
) -> None:
    """As many sdc and due as when Keras evaluates the model with the bit of each weight flipped."""
    summary = run(campaign("called_again", ALL), tmp_path / "run")
    assert (summary.trials, summary.done) == (75, 75)
    rows = open_run(tmp_path / "run").trials()
    model, (inputs, _) = sharing.called_again(), sharing.dataset()
    whole = tf.function(lambda x: model(x, training=False))
    golden = whole(inputs).numpy()
    sdc = due = 0
    for variable in model.weights:
        values = variable.numpy()
        for element in range(values.size):
            words = values.copy()
            words.reshape(-1).view(np.uint32)[element] ^= np.uint32(1 << 30)
            variable.assign(words)
            faulty = whole(inputs).numpy()
            broken = ~np.isfinite(faulty).all(axis=1)
            due += int(broken.sum())
            sdc += int((~broken & (faulty.argmax(axis=1) != golden.argmax(axis=1))).sum())
        variable.assign(values)
    assert (rows["sdc"].sum(), rows["due"].sum()) == (sdc, due)
    assert sdc > 100


def test_a_block_beside_its_layers_has_cells_for_what_is_its_own(plan: Callable[..., Plan]) -> None:
    planned = plan("blocks", ALL)
    assert cells(planned) == [
        ("block/dense", None, 42),
        ("block/norm", None, 12),
        ("block", "scale", 6),
        ("classes", None, 21),
    ]
    inside = "'block/dense', 'block/norm'"
    assert skipped(planned) == [
        ("kernel, bias, gamma, beta of block", f"among the weights of {inside}"),
        ("block/dense#2", "its weights are those of 'block/dense'"),
        ("block/norm#2", "its weights are those of 'block/norm'"),
        ("block#2", f"its weights are those of 'block', {inside}"),
    ]


def test_a_subclassed_models_own_weights_are_taken_with_its_layers(
    plan: Callable[..., Plan], campaign: Callable[..., Path], run: Run, tmp_path: Path
) -> None:
    assert cells(plan("own", ALL)) == [("classes", None, 21), ("model", "token", 6)]
    assert cells(
        plan("own", ALL.replace("target: weights, ", "").replace("exhaustive: true", "counts: 1"))
    ) == [("classes", None, 1)]
    run(campaign("own", ALL), tmp_path / "run")
    rows = open_run(tmp_path / "run").trials()
    assert rows.groupby("layer", observed=True)["injected"].sum().to_dict() == {
        "classes": 420,
        "model": 120,
    }


def test_what_a_grid_names_alone_stays_as_it_was(plan: Callable[..., Plan]) -> None:
    for layer, places in (("block", 60), ("block#2", 60), ("block/dense#2", 42)):
        planned = plan("blocks", ALL.replace("all", f"'{layer}'"))
        assert cells(planned) == [(layer, None, places)]
        assert skipped(planned) == []


@pytest.mark.parametrize(
    ("variables", "of_block"),
    [
        ("all", ["scale", "gamma", "beta"]),
        ("[b*, kernel]", ["beta"]),
        ("kernel", []),
    ],
)
def test_variables_that_are_named_are_taken_where_they_are_counted(
    variables: str, of_block: list[str], plan: Callable[..., Plan]
) -> None:
    """The norm, which is in the block too, is not named, so its weights are the block's."""
    grid = ALL.replace("all", f"[block, block/dense], variables: {variables}", 1)
    planned = plan("blocks", grid)
    assert [name for layer, name, _ in cells(planned) if layer == "block"] == of_block
    assert skipped(planned) == [("kernel, bias of block", "among the weights of 'block/dense'")]


def test_layers_together_share_one_place(plan: Callable[..., Plan]) -> None:
    grid = "{layers: [cell, cell#2], layers_together: true, target: weights, bits: 30, counts: N}"
    assert cells(plan("called_again", grid.replace("N", "42"))) == [("cell + cell#2", None, 1)]
    with pytest.raises(CampaignError, match="there are 42 sites; received a count of 43"):
        plan("called_again", grid.replace("N", "43"))


def test_two_grids_may_share_weights_but_no_fault(plan: Callable[..., Plan]) -> None:
    one, other = (ALL.replace("all", layer) for layer in ("cell", "cell#2"))
    assert len(cells(plan("called_again", f"[{one}, {other.replace('30', '29')}]"))) == 2
    with pytest.raises(CampaignError) as caught:
        plan("called_again", f"[{one}, {other}]")
    assert str(caught.value).endswith(
        "c.yaml:3:7: 'kernel' of 'cell#2' is among the weights of 'cell', and two grids hit it by "
        "the same fault; a place counts once\n  leave 'cell#2' or 'cell' out"
    )


def test_what_is_not_read_is_skipped_and_named_outright_it_is_refused(
    plan: Callable[..., Plan],
) -> None:
    planned = plan("spectral", ALL)
    assert cells(planned) == [("spectral", None, 42), ("classes", None, 21)]
    assert skipped(planned) == [("vector_u of spectral", "inference does not read it")]
    planned = plan("adapted", ALL)
    assert cells(planned) == [("classes", None, 21)]
    assert skipped(planned) == [("normalization", "it has no weights that inference reads")]
    refused = {
        "normalization": "cannot be injected: it has no weights that inference reads",
        "spectral, variables: vector_u": "has no variable 'vector_u' that inference reads",
    }
    for (layers, message), model in zip(refused.items(), ("adapted", "spectral"), strict=True):
        with pytest.raises(CampaignError, match=message):
            plan(model, ALL.replace("all", layers))


LISTS = {
    "not read": (
        "spectral",
        "classes,kernel,0\nspectral,vector_u,0\n",
        "row 2: the layer 'spectral' has a variable 'vector_u', but inference does not read it: a "
        "fault there changes nothing\n  it has kernel, bias; sites in outputs have none",
    ),
    "nothing read": (
        "adapted",
        "normalization,mean,0\n",
        "row 1: the layer 'normalization' has a variable 'mean', but inference does not read it: "
        "a fault there changes nothing\n  it has none; sites in outputs have none",
    ),
    "the same weight under two addresses": (
        "called_again",
        "cell,kernel,3\ncell,bias,3\ncell#2,kernel,4\ncell#4,kernel,3\n",
        "row 4: the same site as in row 1; expected each site once in a trial",
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_fault_list_that_names_no_place_or_one_twice_is_refused(
    name: str, plan: Callable[..., Plan], tmp_path: Path
) -> None:
    model, rows, message = LISTS[name]
    text = "".join(f"1,{row},30\n" for row in rows.splitlines())
    (tmp_path / "sites.csv").write_text("trial,layer,variable,element,bit\n" + text)
    with pytest.raises(CampaignError) as caught:
        plan(model, "{sites: sites.csv}")
    assert str(caught.value).endswith(message)


def test_layers_names_the_address_of_every_variable(
    injecttf2: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    listed = injecttf2("layers", "tests.sharing:blocks", "--json").json
    found = {
        entry["layer"]: {one["variable"]: one["counted_at"] for one in entry.get("weights", ())}
        for entry in listed
    }
    dense = {name: {"layer": "block/dense", "variable": name} for name in ("kernel", "bias")}
    norm = {name: {"layer": "block/norm", "variable": name} for name in ("gamma", "beta")}
    assert found["block/dense#2"] == found["block/dense"] == dense
    assert (
        found["block"]
        == found["block#2"]
        == {"scale": {"layer": "block", "variable": "scale"}, **dense, **norm}
    )
    assert found["features"] == {}
    table = injecttf2("layers", "tests.sharing:blocks").out
    assert "scale; kernel, bias (counted at block/dense); gamma, beta" in table
    (entry,) = (
        one
        for one in injecttf2("layers", "tests.sharing:spectral", "--json").json
        if one["layer"] == "spectral"
    )
    assert entry["weights"][0] == {
        "variable": "vector_u",
        "dtype": "float32",
        "elements": 6,
        "counted_at": None,
        "reason": "inference does not read it",
    }
