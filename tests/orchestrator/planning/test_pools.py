"""Which cells are asked for together, and what makes no sense together."""

from __future__ import annotations

from pathlib import Path

import pytest

from injecttf2.faults.bit_faults import BitFlip, StuckAt
from injecttf2.sampling.rates import Count, Exhaustive
from injecttf2.trial import Scope
from orchestrator.campaign.precision import Precision
from orchestrator.planning.pools import label_of, pools_of
from orchestrator.planning.trial_grid import Grid, Product
from tests.orchestrator.conftest import Command

CELL = Precision(half_width=0.1)
LAYER = Precision(half_width=0.1, scope="layer")
NETWORK = Precision(half_width=0.1, scope="network")


def grid() -> Grid:
    flips = (BitFlip(bit=0), BitFlip(bit_field="sign"))
    products = [
        Product(flips, (Count(1), Count(2)), ("kernel", "bias"), 4),
        Product((StuckAt(bit=0, value=1),), (Count(1),), (None,), 4),
        Product((BitFlip(bit=3),), (Exhaustive(),), (None,), 6),
    ]
    return Grid([(Scope((name,), "weights"), products) for name in "ab"])


def test_cells_are_alone_unless_they_are_asked_for_together() -> None:
    pools = pools_of(grid(), CELL)
    assert [len(pool) for pool in pools] == [1] * 18
    assert [pool[0].start for pool in pools] == [*range(0, 36, 4), *range(42, 78, 4)]


def test_bits_and_variables_of_a_layer_belong_together() -> None:
    pools = pools_of(grid(), LAYER)
    assert {label_of(pool, LAYER): len(pool) for pool in pools} == {
        f"weights of {layer}: {rest}": cells
        for layer in "ab"
        for rest, cells in {
            "bit_flip, count 1": 4,
            "bit_flip, count 2": 4,
            "stuck_at, count 1, parameters {'value': 1}": 1,
        }.items()
    }


def test_layers_of_the_network_belong_together() -> None:
    pools = pools_of(grid(), NETWORK)
    assert [label_of(pool, NETWORK) for pool in pools] == [
        "weights of the network: bit_flip, count 1",
        "weights of the network: bit_flip, count 2",
        "weights of the network: stuck_at, count 1, parameters {'value': 1}",
    ]
    assert [{one.group for one in pool} for pool in pools] == [{0, 1}] * 3
    assert [(one.cell.layer, one.start) for one in pools[2]] == [("a", 32), ("b", 74)]


HEAD = "name: small\nmodel: model.keras\ndataset: data.npz\n"

WRONG = {
    "grid: {layers: conv, bits: [random, 3], probabilities: 1.0}": (
        "the bits 'any' and the bit 3 of conv share sites, which would count twice in the rate of "
        "the network"
    ),
    "grid: {layers: conv, target: weights, variables: [all, bias], bits: 3, counts: 1}": (
        "the bit 3 and the bit 3 of conv share sites"
    ),
    "grid: {layers: conv, target: weights, bits: 3, bers: 0.01}": (
        "expected probabilities or counts in a precision of a layer or the network"
    ),
    "paired: true\ngrid: {layers: conv, bits: 3, probabilities: 1.0}": (
        "expected no pairs: the cells of a layer or the network get different trials"
    ),
}


@pytest.mark.parametrize("rest", WRONG)
def test_what_makes_no_sense_together_is_refused(
    rest: str, campaign: Path, injecttf2: Command
) -> None:
    campaign.write_text(f"{HEAD}precision: {{scope: network, half_width: 0.1}}\n{rest}\n")
    ended = injecttf2("plan", campaign)
    assert ended.code == 2
    assert WRONG[rest] in " ".join(ended.err.split())
    campaign.write_text(f"{HEAD}precision: {{half_width: 0.1}}\n{rest}\n")
    assert injecttf2("plan", campaign).code == 0


@pytest.mark.parametrize("scope", ["cell", "network"])
def test_of_a_list_of_faults_alone_nothing_goes_on_until_it_is_known(
    scope: str, campaign: Path, injecttf2: Command
) -> None:
    (campaign.parent / "faults.csv").write_text(
        "layer,sample,element,bit\nconv,3,255,31\nconv,0,1,22\n"
    )
    campaign.write_text(
        f"{HEAD}precision: {{scope: {scope}, half_width: 0.1}}\ngrid: {{sites: faults.csv}}\n"
    )
    told = injecttf2("plan", campaign).out
    assert "2 trials" in told
    assert "known as asked" not in told


def test_what_would_take_more_trials_than_can_be_numbered_is_refused(
    campaign: Path, injecttf2: Command
) -> None:
    campaign.write_text(
        f"{HEAD}precision: {{scope: network, half_width: 1.0e-5}}\n"
        "grid: {layers: conv, target: weights, bits: 3, counts: 1}\n"
    )
    said = " ".join(injecttf2("plan", campaign).err.split())
    assert "until the rate of the network is known that well" in said
    assert "give the precision a `maximum` or a wider interval" in said
    assert "hit more samples" not in said


def test_a_maximum_that_is_less_than_all_cells_get_is_refused(
    campaign: Path, injecttf2: Command
) -> None:
    campaign.write_text(
        f"{HEAD}precision: {{scope: layer, half_width: 0.1, minimum: 2, maximum: 5}}\n"
        "grid: {layers: conv, bits: [1-3], probabilities: 1.0}\n"
    )
    ended = injecttf2("plan", campaign)
    assert ended.code == 2
    said = "outputs of conv: bit_flip, probability 1.0 has 3 cells, which get 6 trials at least"
    assert f"{said}; received a maximum of 5" in " ".join(ended.err.split())
    assert f"{campaign}:4:" in ended.err
