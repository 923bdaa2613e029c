"""What a grid names in a model: which cells it makes, and what is refused before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import pytest

from injecttf2 import device
from injecttf2.errors import CampaignError
from injecttf2.graph.model_graph import ModelGraph
from orchestrator.campaign.campaign import load_campaign
from orchestrator.planning.sampling_plan import SamplingPlan
from orchestrator.planning.selection import Selection, TargetSelector
from tests import families, networks

SAMPLES = 70


@pytest.fixture(scope="module", params=["cnn"])
def graph(request: pytest.FixtureRequest) -> Iterator[ModelGraph]:
    device.load()
    models = {"cnn": networks.cnn, "crossed": networks.crossed, "whole": families.whole_numbers}
    yield ModelGraph.of(models[request.param]())
    keras.utils.clear_session(free_memory=False)


Choose = Callable[[str], Selection]


@pytest.fixture
def choose(graph: ModelGraph, tmp_path: Path) -> Choose:
    """Choose what the grid that is line 3 of a campaign names."""

    def chosen(grid: str) -> Selection:
        file = tmp_path / "c.yaml"
        file.write_text(f"model: model.keras\ndataset: data.npz\ngrid: {grid}\n")
        campaign = load_campaign(file)
        sampling = SamplingPlan(campaign, graph, SAMPLES)
        return TargetSelector(campaign, graph, sampling, SAMPLES).choose()

    return chosen


def cells(chosen: Selection) -> list[str]:
    """Every product, in words."""
    return [
        f"{scope.label} {scope.target}: {variable} {fault.name} {fault.bit_field or fault.bit}"
        for scope, products in chosen.products.items()
        for product in products
        for variable in product.variables  # type: ignore[union-attr]
        for fault in product.faults  # type: ignore[union-attr]
    ]


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        (
            "{layers: [logits, conv], bits: 30, probabilities: 1}",
            ["conv outputs: None bit_flip 30", "logits outputs: None bit_flip 30"],
        ),
        (
            "{layers: '*o*', layers_together: true, fault: zero, counts: 2}",
            ["conv + pool + dropout + logits + softmax outputs: None zero None"],
        ),
        (
            "{layers: conv, target: weights, variables: [all, b*], bits: sign, counts: 1}",
            ["conv weights: None bit_flip sign", "conv weights: bias bit_flip sign"],
        ),
        (
            "{layers: {type: Dense}, fault: [bit_flip, zero], bits: [0, 1], counts: 1}",
            [f"logits outputs: None {one}" for one in ("bit_flip 0", "bit_flip 1", "zero None")],
        ),
        (
            "{layers: conv, counts: 1, bits: exponent, fault: {type: mixture, faults: "
            "[{fault: bit_flip, weight: 1}, {fault: {type: stuck_at, value: 1}, weight: 2}]}}",
            ["conv outputs: None mixture exponent"],
        ),
        (
            "{layers: conv, counts: 1, fault: {type: mixture, faults: [{fault: bit_flip, bit: 3, "
            "weight: 1}, {fault: {type: constant, value: 7}, weight: 1}]}}",
            ["conv outputs: None mixture None"],
        ),
    ],
)
def test_cells_of_a_grid(choose: Choose, grid: str, expected: list[str]) -> None:
    assert cells(choose(grid)) == expected


def test_all_skips_what_cannot_be_injected_and_says_so(choose: Choose) -> None:
    chosen = choose("{layers: all, target: weights, bits: 1, counts: 1}")
    assert [scope.label for scope in chosen.products] == ["conv", "logits"]
    assert [*chosen.skipped] == [
        (layer, "it has no weights") for layer in ("pool", "flatten", "dropout", "softmax")
    ]


REFUSED = {
    "unknown layer": (
        "{layers: [conv, cnov], bits: 1, counts: 1}",
        "c.yaml:3:23: the model has no layer 'cnov'; did you mean 'conv'?",
    ),
    "unknown type": (
        "{layers: {type: Dens}, bits: 1, counts: 1}",
        "the model has no layer of type 'Dens'; did you mean 'Dense'?",
    ),
    "pattern of nothing": (
        "{layers: 'x*', bits: 1, counts: 1}",
        "c.yaml:3:16: the model has no layer 'x*'",
    ),
    "layer without weights": (
        "{layers: pool, target: weights, bits: 1, counts: 1}",
        "c.yaml:3:16: the layer 'pool' cannot be injected: it has no weights",
    ),
    "unknown variable": (
        "{layers: conv, target: weights, variables: [bias, kernl], bits: 1, counts: 1}",
        "c.yaml:3:57: the layer 'conv' has no variable 'kernl'; did you mean 'kernel'?",
    ),
    "bit outside the word": (
        "{layers: conv, bits: [3, 32], counts: 1}",
        "c.yaml:3:28: the outputs of the layer 'conv': float32 has bits 0 to 31; received bit 32",
    ),
    "fault of bits without bits": (
        "{layers: conv, fault: stuck_at, counts: 1}",
        "expected bits: numbers, ranges such as 23-30, random, sign, exponent, mantissa",
    ),
    "mixture of bits without bits": (
        "{layers: conv, counts: 1, fault: {type: mixture, faults: [{fault: bit_flip, weight: 1}]}}",
        "the fault mixture hits bits, and the grid does not say which",
    ),
    "bits for a fault of words": (
        "{layers: conv, fault: zero, bits: 3, counts: 1}",
        "c.yaml:3:41: the fault zero hits no bits",
    ),
    "unknown fault": (
        "{layers: conv, fault: bitflip, bits: 3, counts: 1}",
        "c.yaml:3:29: there is no fault model 'bitflip'; did you mean 'bit_flip'?",
    ),
    "parameter missing": (
        "{layers: conv, fault: stuck_at, bits: 3, counts: 1}",
        "c.yaml:3:29: stuck_at needs value; received bit: 3",
    ),
    "parameter wrong": (
        "{layers: conv, fault: {type: stuck_at, value: 2}, bits: 3, counts: 1}",
        "c.yaml:3:29: stuck_at: a bit is stuck at the value 0 or 1; received 2",
    ),
    "parameter unknown": (
        "{layers: conv, fault: {type: scale, factr: 2}, counts: 1}",
        "c.yaml:3:29: scale takes factor; received 'factr'; did you mean 'factor'?",
    ),
    "more flips than bits": (
        "{layers: conv, fault: {type: bit_flip, flips: 2}, bits: 3, counts: 1}",
        "c.yaml:3:29: bit_flip: ",
    ),
    "burst longer than the field": (
        "{layers: conv, fault: {type: bit_flip, burst: 9}, bits: exponent, counts: 1}",
        "the outputs of the layer 'conv': ",
    ),
    "a bit in the fault and in the grid": (
        "{layers: conv, fault: {type: bit_flip, bit: 3}, bits: 4, counts: 1}",
        "c.yaml:3:29: bit_flip: its bit is given twice: received bit: 3 beside bits",
    ),
    "a class that is none": (
        "{layers: conv, fault: 'nosuch.module:Fault', counts: 1}",
        "c.yaml:3:29: nosuch.module:Fault: the module 'nosuch.module' cannot be imported",
    ),
    "bit error rate of words": (
        "{layers: conv, fault: zero, bers: 0.1}",
        "c.yaml:3:41: the fault zero: a bit error rate takes a fault that hits single bits; "
        "received one that changes whole words, which takes a count",
    ),
    "more sites than there are": (
        "{layers: logits, bits: 3, counts: [350, 351]}",
        "c.yaml:3:41: the fault bit_flip: there are 350 sites; received a count of 351",
    ),
    "more sites than a variable has": (
        "{layers: logits, target: weights, variables: bias, bits: 3, counts: 6}",
        "there are 5 sites; received a count of 6",
    ),
    "more sites than the smallest of layers together": (
        "{layers: [conv, logits], layers_together: true, bits: 3, counts: 351}",
        "there are 350 sites; received a count of 351",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_with_its_place(name: str, choose: Choose) -> None:
    grid, message = REFUSED[name]
    with pytest.raises(CampaignError) as caught:
        choose(grid)
    assert message in str(caught.value)
    assert "c.yaml:3:" in str(caught.value)


@pytest.mark.parametrize("graph", ["crossed"], indirect=True)
@pytest.mark.parametrize("target", ["outputs", "weights"])
def test_what_a_tensor_without_samples_by_passes_is_taken(target: str, choose: Choose) -> None:
    chosen = choose(f"{{layers: '*a*t*', target: {target}, fault: zero, counts: 1}}")
    taken = [scope.label for scope in chosen.products]
    assert [layer for layer in taken if layer in ("late", "last")] == ["late", "last"]
    reason = "its first axis is not the sample" if target == "outputs" else "it has no weights"
    assert ("flat", reason) in chosen.skipped


@pytest.mark.parametrize("graph", ["crossed"], indirect=True)
def test_layers_that_may_each_be_hit_alone_may_be_hit_together(choose: Choose) -> None:
    grid = "layers: [rows, early], fault: zero, counts: 1"
    assert [scope.label for scope in choose(f"{{{grid}}}").products] == ["rows", "early"]
    together = choose(f"{{{grid}, layers_together: true}}")
    assert [scope.label for scope in together.products] == ["rows + early"]


@pytest.mark.parametrize("graph", ["whole"], indirect=True)
@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("{layers: uint8, bits: sign, counts: 1}", "uint8"),
        ("{layers: int8, bits: exponent, counts: 1}", "int8"),
        ("{layers: uint8, fault: {type: constant, value: -1}, counts: 1}", "uint8"),
        ("{layers: int8, fault: {type: constant, value: 128}, counts: 1}", "int8"),
        ("{layers: int8, fault: {type: constant, value: nan}, counts: 1}", "int8"),
        (
            "{layers: uint8, counts: 1, fault: {type: random_value, distribution: uniform, "
            "low: -1, high: 1}}",
            "uint8",
        ),
        (
            "{layers: uint8, counts: 1, fault: {type: mixture, faults: [{fault: zero, weight: 1}, "
            "{fault: {type: constant, value: -1}, weight: 1}]}}",
            "uint8",
        ),
    ],
)
def test_faults_that_whole_numbers_cannot_have_are_refused(
    grid: str, message: str, choose: Choose
) -> None:
    with pytest.raises(CampaignError) as caught:
        choose(grid)
    assert f"the outputs of the layer '{message}': " in str(caught.value)
    assert "give layers or variables of another dtype a grid of their own" in str(caught.value)
