"""Lists of SFI: their layers, orders of axes and elements are found in the model, or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import pandas as pd
import pytest
from keras import layers

from benchmarks import data
from injecttf2 import device
from injecttf2.errors import CampaignError
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.models import loading
from orchestrator.campaign.grid import FaultListSpec
from orchestrator.planning.fault_list import FaultList
from orchestrator.planning.sfi_fault_lists import read_fault_list

Read = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def graph() -> Iterator[ModelGraph]:
    """Kernels (3, 3, 3, 4), (3, 5, 4, 2) depthwise, (1, 1, 8, 6) and (6, 5)."""
    device.load()
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, name="stem"),
            layers.BatchNormalization(name="norm"),
            layers.DepthwiseConv2D((3, 5), depth_multiplier=2, name="depthwise"),
            layers.Conv2D(6, 1, name="pointwise"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(5, name="logits"),
        ]
    )
    yield ModelGraph.of(model)
    keras.utils.clear_session(free_memory=False)


@pytest.fixture
def read(tmp_path: Path, graph: ModelGraph) -> Read:
    """Write a list and return its rows: label, layer, variable, element and bit."""

    def rows(text: str, **spec: Any) -> list[tuple[Any, ...]]:
        file = tmp_path / "list.csv"
        file.write_bytes(text.encode())
        found = read_fault_list(FaultListSpec(file=str(file), **spec), graph).rows
        columns = ["trial", "layer", "variable", "element", "bit"]
        return [tuple(row) for row in found[columns].astype(object).to_numpy().tolist()]

    return rows


@pytest.fixture
def refused(read: Read, tmp_path: Path) -> Callable[..., str]:
    def message(text: str, **spec: Any) -> str:
        with pytest.raises(CampaignError) as caught:
            read(text, format="sfi", **spec)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return message


COLUMNS = ["Injection", "Layer", "TensorIndex", "Bit"]
LIST = pd.DataFrame(
    [
        (0, "conv1", "(3, 2, 1, 0)", 30),
        (1, "features.1", "(7, 0, 2, 4)", 31),
        (2, "features.2", "(5, 7, 0, 0)", 0),
        (3, "linear", "(4, 5)", 12),
    ],
    columns=COLUMNS,
)
TORCH = LIST.to_csv(index=False)
HEAD = "Injection,Layer,TensorIndex,Bit\n"
KERAS = f"""{HEAD}0,conv2d,"(1, 0, 2, 3)",30
1,depthwise_conv2d,"(2, 4, 3, 1)",31
2,conv2d_1,"(0, 0, 7, 5)",0
3,dense,"(5, 4)",12
"""
WHERE = [
    ("stem", "kernel", ((1 * 3 + 0) * 3 + 2) * 4 + 3, 30),
    ("depthwise", "kernel", ((2 * 5 + 4) * 4 + 3) * 2 + 1, 31),
    ("pointwise", "kernel", 7 * 6 + 5, 0),
    ("logits", "kernel", 5 * 5 + 4, 12),
]
NAMES = {"conv1": "stem", "features.1": "depthwise", "features.2": "pointwise", "linear": "logits"}


@pytest.mark.parametrize("text", [TORCH, KERAS], ids=["torch", "keras"])
@pytest.mark.parametrize("spec", [{"format": "sfi"}, {}])
def test_layers_and_order_of_axes_are_found(read: Read, text: str, spec: Any) -> None:
    assert [row[1:] for row in read(text, **spec)] == WHERE


def test_a_row_is_called_by_what_the_list_says(read: Read) -> None:
    assert [row[0] for row in read(TORCH)] == [
        "conv1 (3, 2, 1, 0) 30",
        "features.1 (7, 0, 2, 4) 31",
        "features.2 (5, 7, 0, 0) 0",
        "linear (4, 5) 12",
    ]


EVERY_DAY = {
    "BOM": "\ufeff" + TORCH,
    "blanks after commas": TORCH.replace(',"', ', "').replace('",', '", '),
    "semicolons": LIST.to_csv(index=False, sep=";"),
    "brackets": TORCH.replace("(", "[").replace(")", "]"),
    "bare numbers": TORCH.replace("(", "").replace(")", ""),
    "no blanks": TORCH.replace(", ", ","),
    "ends of lines as on Windows": TORCH.replace("\n", "\r\n"),
    "small letters in the head": TORCH.replace(HEAD, HEAD.lower()),
    "blanks in the head": TORCH.replace(HEAD, "Injection, Layer, TensorIndex, Bit\n"),
    "an index column": TORCH.replace(HEAD, ",Layer,TensorIndex,Bit\n"),
    "two index columns": LIST.reset_index().to_csv(),
    "results beside": LIST.assign(masked=9, critical=1, note="a, b").to_csv(index=False),
    "rows that say nothing": f"{TORCH},,,\n\n",
}


@pytest.mark.parametrize("text", EVERY_DAY.values(), ids=EVERY_DAY)
def test_csv_files_of_every_day_are_read(read: Read, text: str) -> None:
    assert [row[1:] for row in read(text)] == WHERE


def test_layers_may_be_left_out(read: Read) -> None:
    """Real lists lack the shortcuts of a residual network, which their authors' model pads."""
    text = LIST.iloc[[0, 3]].to_csv(index=False)
    assert [row[1:] for row in read(text)] == [WHERE[0], WHERE[3]]


def test_several_weights_of_a_layer_are_in_the_order_of_the_list(read: Read) -> None:
    text = f"""{HEAD}0,conv1,"(3, 2, 1, 0)",30
1,linear,"(4, 5)",1
2,conv1,"(0, 0, 2, 2)",3
"""
    assert [(row[1], row[3]) for row in read(text)] == [
        ("stem", WHERE[0][2]),
        ("logits", WHERE[3][2]),
        ("stem", (2 * 3 + 2) * 3 * 4),
    ]


def test_a_fault_that_is_listed_twice_is_one(read: Read) -> None:
    assert [row[1:] for row in read(TORCH + '9,linear,"(4,5)",12\n')] == WHERE


def test_layers_are_found_by_their_names(read: Read) -> None:
    """Also where order and shape would say others."""
    text = f'{HEAD}0,logits.weight,"(4, 2)",1\n1,pointwise.weight,"(2, 3, 0, 0)",1\n'
    assert [row[1:4] for row in read(text)] == [
        ("logits", "kernel", 2 * 5 + 4),
        ("pointwise", "kernel", 3 * 6 + 2),
    ]


def test_layers_are_as_the_campaign_says(read: Read, tmp_path: Path) -> None:
    assert [row[1:] for row in read(TORCH, format="sfi", layers=NAMES)] == WHERE
    file = tmp_path / "names.csv"
    pairs = "".join(f"{name};{layer}\n" for name, layer in NAMES.items())
    for head in ("", "torch;keras\n", "\ufeffname;layer\n"):
        file.write_text(head + pairs, encoding="utf-8")
        assert [row[1:] for row in read(TORCH, format="sfi", layers=str(file))] == WHERE


def test_a_mapping_says_what_order_and_shape_cannot(refused: Any, read: Read) -> None:
    text = f'{HEAD}0,a,"(1, 1, 0, 0)",3\n'
    message = refused(text, order="torch")
    assert message == (
        "list.csv: row 1: the layer 'a' of the list may be 'stem' or 'pointwise' of the model by "
        "the order and shape of layers\n  say which is which: sites: {file: ..., format: sfi, "
        "layers: {NAME: LAYER}}, or a CSV file with the two columns in place of the mapping"
    )
    (row,) = read(text, format="sfi", layers={"a": "pointwise"}, order="torch")
    assert row[1:] == ("pointwise", "kernel", 1 * 6 + 1, 3)


def test_an_order_that_the_indices_leave_open_is_asked_for(refused: Any, read: Read) -> None:
    text = f'{HEAD}0,a,"(1, 2)",3\n'
    assert refused(text, layers={"a": "logits"}) == (
        "list.csv: the indices of the list fit the model in PyTorch's order of axes and in Keras'\n"
        "  say which it is: sites: {file: ..., format: sfi, order: torch}, or keras"
    )
    for order, element in (("torch", 2 * 5 + 1), ("keras", 1 * 5 + 2)):
        (row,) = read(text, format="sfi", layers={"a": "logits"}, order=order)
        assert row[3] == element


REFUSED = {
    "another model": (
        'a,"(9, 2, 1, 0)",1',
        {},
        "row 1: the list's layers have other names than the model's, and by order and shape 'a', "
        "with indices up to (9, 2, 1, 0), fits none that is left of: stem (3, 3, 3, 4), depthwise "
        "(3, 5, 4, 2), pointwise (1, 1, 8, 6), logits (6, 5)\n  say which is which",
    ),
    "an index outside": (
        'stem,"(0, 0, 0, 0)",1\n1,stem,"(4, 0, 0, 0)",1',
        {},
        "row 2: the TensorIndex (4, 0, 0, 0) of 'stem' is outside kernel of 'stem', (3, 3, 3, 4), "
        "in the order of torch and of keras\n  is it the list of another model",
    ),
    "another input of a depthwise layer": (
        'depthwise,"(1, 1, 0, 0)",1',
        {"order": "torch"},
        "row 1: the TensorIndex (1, 1, 0, 0) of 'depthwise' is outside kernel of 'depthwise'",
    ),
    "a name that the model lacks": (
        'a,"(1, 1)",1',
        {"layers": {"a": "logit"}},
        "row 1: the layer 'a' of the list: the model has no layer 'logit'; did you mean 'logits'",
    ),
    "a name that the mapping lacks": (
        'a,"(1, 1)",1',
        {"layers": {"b": "logits"}},
        "row 1: `layers` of `sites` has no layer for 'a' of the list",
    ),
    "a layer without such weights": (
        'a,"(1, 1)",1',
        {"layers": {"a": "norm"}},
        "row 1: the layer 'norm' has no weights with 2 axes, as 'a' of the list; expected one",
    ),
    "an index that is none": (
        'stem,"(1, x, 0, 0)",1',
        {},
        "row 1: received the TensorIndex '(1, x, 0, 0)' of 'stem'; expected 3 whole numbers",
    ),
    "indices of two lengths": (
        'stem,"(1, 1, 0, 0)",1\n1,stem,"(1, 1)",1',
        {},
        "row 2: received the TensorIndex '(1, 1)' of 'stem'; expected 4 whole numbers from 0",
    ),
    "a negative index": (
        'stem,"(1, -1, 0, 0)",1',
        {},
        "row 1: received the TensorIndex '(1, -1, 0, 0)' of 'stem'; expected 4 whole numbers",
    ),
    "two layers that are one": (
        'a,"(1, 1)",1\n1,b,"(2, 1)",1',
        {"layers": {"a": "logits", "b": "logits"}},
        "row 2: 'a' and 'b' of the list are both 'logits'",
    ),
    "a vector": (
        'stem,"(1,)",1',
        {},
        "row 1: received the TensorIndex '(1,)' of 'stem'; expected 2 whole numbers from 0, such "
        "as (3, 0, 2, 1)\n  vectors, such as biases, are not taken: leave them out",
    ),
    "layers in the order of letters": (
        'f.0,"(3, 2, 1, 0)",30\n1,f.10,"(5, 7, 0, 0)",0\n2,f.2,"(4, 5)",12',
        {},
        "row 1: the layers of the list are in the order of their letters, which is not that of a "
        "model\n  say which is which",
    ),
    "no index": ('stem,"(1, 1, 0, 0)",1\n1,stem,,1', {}, "row 2: received no TensorIndex"),
    "no layer": (',"(1, 1, 0, 0)",1', {}, "row 1: received no Layer"),
    "no bit": ('stem,"(1, 1, 0, 0)",', {}, "row 1: received no Bit"),
    "a bit that there is not": ('stem,"(1, 1, 0, 0)",x', {}, "row 1: received the bit 'x'"),
}


@pytest.mark.parametrize(("row", "spec", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(refused: Any, row: str, spec: Any, message: str) -> None:
    assert message in refused(f"{HEAD}0,{row}\n", **spec)


def test_a_list_without_a_tensor_index_is_not_one_of_sfi(refused: Any) -> None:
    assert refused("layer,element,bit\nlogits,1,1\n") == (
        "list.csv: the fault list has no column TensorIndex, as lists of SFI have\n"
        "  leave `format` out for a list with the columns layer, element and bit"
    )


def test_a_list_without_bits_is_refused(refused: Any) -> None:
    message = refused('Injection,Layer,TensorIndex\n0,stem,"(1, 1, 0, 0)"\n')
    assert "'bit' 0 times" in message
    assert "expected Injection, Layer, TensorIndex and Bit" in message


def test_weights_are_not_taken_for_smaller_ones(refused: Any) -> None:
    """Draws of a 1 x 1 kernel fit a 3 x 3 one, of which 40 would not all be in a corner."""
    rows = "".join(f'{n},a,"({n % 4}, {n % 3}, 0, 0)",1\n' for n in range(40))
    assert "'a', with indices up to (3, 2, 0, 0), fits none" in refused(HEAD + rows, order="torch")


def test_which_of_a_layers_weights_is_meant_can_be_said(tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.SeparableConv2D(4, (3, 5), name="sep"), layers.Flatten()]
    )
    graph = ModelGraph.of(model)
    file = tmp_path / "list.csv"
    file.write_text(f'{HEAD}0,deep,"(2, 0, 1, 4)",1\n1,wide,"(3, 2, 0, 0)",1\n')
    names = {"deep": "sep depthwise_kernel", "wide": "sep pointwise_kernel"}
    spec = FaultListSpec(file=str(file), format="sfi", layers=names, order="torch")
    rows = read_fault_list(spec, graph).rows
    assert rows["variable"].tolist() == ["depthwise_kernel", "pointwise_kernel"]
    assert rows["element"].tolist() == [(1 * 5 + 4) * 3 + 2, 2 * 4 + 3]
    spec = spec.model_copy(update={"layers": {"deep": "sep", "wide": "sep"}})
    with pytest.raises(CampaignError, match=r"say which in `layers`: deep: sep depthwise_kernel"):
        read_fault_list(spec, graph)
    keras.utils.clear_session(free_memory=False)


def other_layouts() -> keras.Model:
    inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(3, 3, padding="same", name="conv")(inputs)
    x = layers.Dropout(0.1)(layers.Flatten(name="flat")(x))
    x = layers.Dense(8, name="hidden")(x)
    x = layers.Reshape((2, 4))(x)
    x = layers.GRU(5, name="gru")(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(x))


@pytest.mark.parametrize(
    ("layer", "index", "why"),
    [
        ("hidden", "(7, 11)", "the inputs of 'hidden' are a flattened image, channels last"),
        ("gru", "(14, 3)", "'gru' is a GRU, whose weights PyTorch lays out otherwise"),
    ],
)
def test_weights_that_pytorch_lays_out_otherwise_are_refused(
    tmp_path: Path, layer: str, index: str, why: str
) -> None:
    graph = ModelGraph.of(other_layouts())
    file = tmp_path / "list.csv"
    file.write_text(f'{HEAD}0,{layer},"{index}",1\n')
    names = {"gru": "gru kernel"}.get(layer, layer)
    spec = FaultListSpec(file=str(file), format="sfi", layers={layer: names}, order="torch")
    with pytest.raises(CampaignError, match=why):
        read_fault_list(spec, graph)
    keras.utils.clear_session(free_memory=False)


def test_how_it_was_read_is_told(tmp_path: Path, graph: ModelGraph) -> None:
    file = tmp_path / "list.csv"
    told = "list.csv: axes in the order of torch; layers "
    for spec, how in (
        ({}, "by their order and shape; `layers` of `sites` can say otherwise: "),
        ({"layers": NAMES}, "as `layers` says: "),
    ):
        file.write_text(TORCH)
        listed = FaultList(FaultListSpec(file=str(file), format="sfi", **spec), graph, 10)
        assert listed.told == (
            f"{told}{how}conv1 is stem, features.1 is depthwise, features.2 is pointwise, "
            "linear is logits"
        )
        (cell,), *_ = listed.trials().values()
        assert cell.rate.label == "conv1 (3, 2, 1, 0) 30"


def test_the_published_list_hits_the_elements_that_were_computed_of_it(
    shared_data: Path, tmp_path: Path
) -> None:
    data.write_sfi_list(tmp_path / "list.csv")
    graph = ModelGraph.of(loading.load_file(shared_data / "models/resnet20_cifar10.keras"))
    rows = read_fault_list(FaultListSpec(file=str(tmp_path / "list.csv")), graph).rows
    expected = pd.read_csv(data.published())
    columns = ["layer", "element", "bit"]
    assert rows[columns].astype(object).to_numpy().tolist() == expected[columns].to_numpy().tolist()
    assert len(rows) == 16_627
