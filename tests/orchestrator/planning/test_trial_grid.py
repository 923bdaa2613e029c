"""The grid, against plain lists and sets of its trials."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from injecttf2.faults.bit_faults import BitFlip
from injecttf2.faults.listed import FromFaultList
from injecttf2.sampling.rates import Count, Probability
from injecttf2.trial import Cell, CellTrials, Identity, Scope, canonical_json, digest64
from orchestrator.planning import trial_grid as grid_module
from orchestrator.planning.trial_grid import (
    BLOCK_TRIALS,
    FaultListCells,
    Grid,
    Group,
    Product,
    union,
)
from orchestrator.scheduling.events import Range
from tests.builders import cell_of

IDENTITY = Identity(model="0a1b", data="2c3d", seed=2026)
SIGN = BitFlip(bit_field="sign")

Layers = list[tuple[str, list[Product]]]


def flips(*bits: int) -> tuple[BitFlip, ...]:
    return tuple(BitFlip(bit=bit) for bit in bits)


def product_of(
    faults: Sequence[BitFlip],
    probabilities: Sequence[float],
    variables: Sequence[str | None] = (None,),
) -> Product:
    rates = tuple(map(Probability, probabilities))
    return Product(tuple(faults), rates, tuple(variables))


def grid_of(layers: Layers, repetitions: int) -> Grid:
    return Grid(
        [
            (Scope((layer,)), [replace(product, repetitions=repetitions) for product in products])
            for layer, products in layers
        ]
    )


def pairs_of(product: Product) -> list[Cell]:
    return [
        cell_of("layer", fault, rate, variable=variable)
        for variable in product.variables
        for fault in product.faults
        for rate in product.rates
    ]


def plain_trials(layers: Layers, repetitions: int) -> list[tuple[Cell, int]]:
    """Every trial of a grid whose products do not overlap, by nested loops."""
    return [
        (cell_of(layer, fault, rate, variable=variable), repetition)
        for layer, products in layers
        for product in products
        for variable in product.variables
        for fault in product.faults
        for rate in product.rates
        for repetition in range(repetitions)
    ]


def plain_id(cell: Cell, repetition: int) -> int:
    content = {**IDENTITY.to_dict(), **cell.to_dict(), "repetition": repetition}
    return digest64(canonical_json(content))


def blocks_of(size: int) -> mock._patch[int]:
    return mock.patch.object(grid_module, "BLOCK_TRIALS", size)


def ids_of(grid: Grid) -> list[int]:
    return [trial_id for _, ids in grid.ids(IDENTITY) for trial_id in ids.tolist()]


def as_done(ids: Iterable[int]) -> npt.NDArray[np.uint64]:
    return np.array(sorted(ids), np.uint64)


faults = st.sampled_from((*flips(0, 1, 23, 31), SIGN, BitFlip(bit_field="any")))
products = st.builds(
    product_of,
    st.lists(faults, unique=True, max_size=5).map(tuple),
    st.lists(st.sampled_from((0.0, 0.01, 0.1, 1.0)), unique=True, max_size=4).map(tuple),
    st.lists(st.sampled_from((None, "kernel", "bias")), unique=True, min_size=1, max_size=2),
)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    names = draw(st.lists(st.sampled_from("abcd"), unique=True, max_size=3))
    layers = [(name, draw(st.lists(products, max_size=3))) for name in names]
    return grid_of(layers, repetitions=draw(st.integers(1, 4)))


@st.composite
def grids_with_some_done(draw: st.DrawFn) -> tuple[Grid, set[int]]:
    grid = draw(grids())
    done = draw(st.sets(st.integers(0, max(0, len(grid) - 1))))
    return grid, {position for position in done if position < len(grid)}


SMALL: Layers = [
    ("conv", [product_of(flips(3, 1), (0.5, 0.1))]),
    ("dense", [product_of((SIGN,), (1.0,))]),
]


def test_the_order_is_layer_fault_rate_repetition() -> None:
    assert list(grid_of(SMALL, repetitions=2)) == [
        (cell_of("conv", BitFlip(bit=3), Probability(0.5)), 0),
        (cell_of("conv", BitFlip(bit=3), Probability(0.5)), 1),
        (cell_of("conv", BitFlip(bit=3), Probability(0.1)), 0),
        (cell_of("conv", BitFlip(bit=3), Probability(0.1)), 1),
        (cell_of("conv", BitFlip(bit=1), Probability(0.5)), 0),
        (cell_of("conv", BitFlip(bit=1), Probability(0.5)), 1),
        (cell_of("conv", BitFlip(bit=1), Probability(0.1)), 0),
        (cell_of("conv", BitFlip(bit=1), Probability(0.1)), 1),
        (cell_of("dense", SIGN, Probability(1.0)), 0),
        (cell_of("dense", SIGN, Probability(1.0)), 1),
    ]


def test_the_trials_of_a_layer_are_one_range() -> None:
    assert [(g.layer, g.start, g.stop, len(g)) for g in grid_of(SMALL, repetitions=2).groups] == [
        ("conv", 0, 8, 8),
        ("dense", 8, 10, 2),
    ]


def test_cells_come_with_the_number_of_their_trials() -> None:
    grid = grid_of(SMALL, repetitions=5)
    assert list(grid.cells()) == [
        (cell_of("conv", BitFlip(bit=3), Probability(0.5)), 5),
        (cell_of("conv", BitFlip(bit=3), Probability(0.1)), 5),
        (cell_of("conv", BitFlip(bit=1), Probability(0.5)), 5),
        (cell_of("conv", BitFlip(bit=1), Probability(0.1)), 5),
        (cell_of("dense", SIGN, Probability(1.0)), 5),
    ]
    assert list(grid.cells(grid.groups[1])) == [(cell_of("dense", SIGN, Probability(1.0)), 5)]
    assert [group.cells for group in grid.groups] == [4, 1]


def test_variables_come_before_faults_and_rates_in_the_order() -> None:
    product = Product((SIGN,), (Count(1), Count(2)), ("kernel", "bias"))
    grid = Grid([(Scope(("dense",), "weights"), [product])])
    assert [(cell.target, cell.variable, cell.rate) for cell, _ in grid] == [
        ("weights", "kernel", Count(1)),
        ("weights", "kernel", Count(2)),
        ("weights", "bias", Count(1)),
        ("weights", "bias", Count(2)),
    ]


def test_listed_cells_have_one_trial_each_behind_the_products() -> None:
    listed = tuple(cell_of("conv", SIGN, FromFaultList(value)) for value in ("a", "b"))
    product = replace(product_of(flips(1), (0.5,)), repetitions=3)
    grid = Grid([(Scope(("conv",)), [FaultListCells(listed), product, FaultListCells(listed[1:])])])
    assert list(grid) == [
        *(
            (cell_of("conv", BitFlip(bit=1), Probability(0.5)), repetition)
            for repetition in range(3)
        ),
        (listed[0], 0),
        (listed[1], 0),
    ]
    assert ids_of(grid) == [plain_id(cell, repetition) for cell, repetition in grid]
    assert grid.by_layer() == {"conv": 5}


def test_a_layer_counts_the_trials_of_its_outputs_and_its_weights() -> None:
    product = product_of(flips(1), (0.5,))
    scopes = [Scope(("conv",)), Scope(("conv",), "weights"), Scope(("conv", "dense"))]
    grid = Grid([(scope, [product]) for scope in scopes])
    assert grid.by_layer() == {"conv": 2, "conv + dense": 1}


@given(
    st.lists(st.sampled_from("abcd"), unique=True, max_size=3),
    st.lists(products, min_size=3, max_size=3),
    st.integers(1, 4),
)
def test_a_grid_is_the_nested_loop(
    names: list[str], of_each: list[Product], repetitions: int
) -> None:
    layers: Layers = [(name, [product]) for name, product in zip(names, of_each, strict=False)]
    expected = plain_trials(layers, repetitions)
    grid = grid_of(layers, repetitions=repetitions)
    assert list(grid) == expected
    assert len(grid) == len(expected)


@given(grids())
def test_length_position_and_iteration_agree(grid: Grid) -> None:
    trials = list(grid)
    assert len(trials) == len(grid)
    assert [grid[position] for position in range(len(grid))] == trials
    assert len(set(trials)) == len(trials)


@pytest.mark.parametrize("position", [-1, 10, 10**9])
def test_a_position_outside_is_an_index_error(position: int) -> None:
    with pytest.raises(IndexError, match=f"a grid of 10 trials has no position {position}"):
        grid_of(SMALL, repetitions=2)[position]


def test_a_cell_outside_its_group_is_an_index_error() -> None:
    group = Group(Scope(("conv",), "weights"), [product_of(flips(0), (0.5, 1.0))], 0)
    cell = cell_of("conv", BitFlip(bit=0), Probability(1.0), target="weights")
    assert group.at(1) == (cell, 0, 1)
    with pytest.raises(IndexError):
        group.at(2)


@given(products, st.lists(st.integers(0, 3), min_size=12, max_size=12), st.data())
def test_cells_of_a_product_may_have_different_numbers_of_trials(
    product: Product, numbers: list[int], data: st.DataObject
) -> None:
    cells = pairs_of(product)
    count = {cell: numbers[index % 12] for index, cell in enumerate(cells)}
    other = product_of(flips(7), (0.25,))
    counted = replace(
        product, repetitions=lambda cell: count[replace(cell, scope=Scope(("layer",)))]
    )
    grid = Grid([(Scope(("a",)), [counted]), (Scope(("b",)), [other]), (Scope(("c",)), [counted])])
    expected = [
        (replace(cell, scope=Scope((layer,))), repetition)
        for layer, of_layer in (("a", cells), ("b", pairs_of(other)), ("c", cells))
        for cell in of_layer
        for repetition in range(count.get(cell, 1))
    ]
    assert list(grid) == expected
    assert [grid[position] for position in range(len(grid))] == expected
    wanted = data.draw(st.sets(st.integers(0, max(len(grid) - 1, 0)), max_size=9))
    spans = [(position, position + 1) for position in sorted(wanted) if position < len(grid)]
    found = grid.compare(IDENTITY, as_done([]), spans).missing
    assert [p for span in found for p in range(*span)] == [start for start, _ in spans]


def test_an_empty_grid_has_no_trials() -> None:
    for grid in (grid_of([], repetitions=3), grid_of([("conv", [])], repetitions=3)):
        assert len(grid) == 0
        assert list(grid) == []
        assert list(grid.missing(IDENTITY, as_done([]))) == []
        with pytest.raises(IndexError):
            grid[0]


def test_a_layer_without_faults_takes_no_positions() -> None:
    nothing: tuple[str, list[Product]] = ("idle", [product_of((), (0.5,))])
    layers: Layers = [nothing, SMALL[0], nothing, nothing, SMALL[1], nothing]
    grid = grid_of(layers, repetitions=2)
    assert list(grid) == list(grid_of(SMALL, repetitions=2))
    assert [grid[position] for position in range(10)] == list(grid)


def test_what_two_products_share_is_taken_from_the_second() -> None:
    first = product_of(flips(0, 1), (0.1, 0.2))
    second = product_of(flips(1, 2), (0.2, 0.3))
    assert union([first, second]) == (
        first,
        product_of(flips(2), (0.2, 0.3)),
        product_of(flips(1), (0.3,)),
    )


def test_a_product_given_twice_counts_once() -> None:
    product = product_of(flips(0, 1), (0.1, 0.2))
    assert union([product, product]) == (product,)


@given(st.lists(products, max_size=5))
def test_a_union_holds_every_pair_once_those_of_earlier_products_first(
    overlapping: list[Product],
) -> None:
    disjoint = union(overlapping)
    pairs = [pair for product in disjoint for pair in pairs_of(product)]
    assert len(set(pairs)) == len(pairs)
    seen: set[Cell] = set()
    for product in overlapping:
        new = set(pairs_of(product)) - seen
        assert set(pairs[len(seen) : len(seen) + len(new)]) == new
        seen |= new
    assert len(pairs) == len(seen)


@given(products)
def test_a_product_is_its_pairs_by_number(product: Product) -> None:
    scope = Scope(("layer",))
    assert [product.cell(scope, index) for index in range(len(product))] == pairs_of(product)


@given(st.data())
def test_runs_are_the_trials_at_the_positions_in_order(data: st.DataObject) -> None:
    grid = data.draw(grids())
    edges = sorted(data.draw(st.lists(st.integers(0, len(grid)), max_size=8)))
    ranges = list(zip(edges[::2], edges[1::2], strict=False))
    runs = list(grid.runs(ranges))
    trials = [(run.cell, repetition) for run in runs for repetition in range(run.start, run.stop)]
    assert trials == [grid[position] for span in ranges for position in range(*span)]
    assert all(len(run) > 0 for run in runs)


def test_a_run_ends_with_its_cell() -> None:
    assert list(grid_of(SMALL, repetitions=4).runs([(1, 3), (6, 17)])) == [
        CellTrials(cell_of("conv", BitFlip(bit=3), Probability(0.5)), 1, 3),
        CellTrials(cell_of("conv", BitFlip(bit=3), Probability(0.1)), 2, 4),
        CellTrials(cell_of("conv", BitFlip(bit=1), Probability(0.5)), 0, 4),
        CellTrials(cell_of("conv", BitFlip(bit=1), Probability(0.1)), 0, 4),
        CellTrials(cell_of("dense", SIGN, Probability(1.0)), 0, 1),
    ]


def test_an_id_is_the_digest_of_what_decides_the_result() -> None:
    text = (
        '{"bit":3,"bit_field":null,"data":"2c3d","fault":"bit_flip","layer":"conv","model":"0a1b",'
        '"probability":0.5,"repetition":1,"seed":2026,"target":"outputs","version":1}'
    )
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    assert json.loads(text)["repetition"] == 1
    assert ids_of(grid_of(SMALL, repetitions=2))[1] == int.from_bytes(digest, "big")


@given(grids(), st.integers(1, 9))
def test_ids_are_those_of_the_trials_one_by_one(grid: Grid, size: int) -> None:
    expected = [plain_id(cell, repetition) for cell, repetition in grid]
    assert ids_of(grid) == expected
    with blocks_of(size):
        blocks = list(grid.ids(IDENTITY))
    assert [start for start, _ in blocks] == list(range(0, len(grid), size))
    assert all(len(ids) == size for _, ids in blocks[:-1])
    assert [trial_id for _, ids in blocks for trial_id in ids.tolist()] == expected


@pytest.mark.parametrize("layer", ['"repetition":0', "größe/λ", "a\\b"])
def test_no_layer_name_confuses_the_ids(layer: str) -> None:
    grid = grid_of([(layer, [product_of(flips(0), (0.5,))])], repetitions=3)
    assert ids_of(grid) == [plain_id(cell, repetition) for cell, repetition in grid]


@given(st.lists(products, max_size=2), products, st.integers(1, 3), st.integers(0, 3))
def test_widening_a_grid_keeps_every_id(
    narrow: list[Product], more: Product, repetitions: int, more_repetitions: int
) -> None:
    old = grid_of([("b", narrow)], repetitions=repetitions)
    new = grid_of(
        [("a", [more]), ("b", [more, *narrow])], repetitions=repetitions + more_repetitions
    )
    assert set(ids_of(old)) <= set(ids_of(new))


def test_widening_a_grid_leaves_open_what_is_new() -> None:
    old = grid_of([("conv", [product_of(flips(3, 1), (0.5, 0.1))])], repetitions=2)
    new = grid_of([("conv", [product_of(flips(3, 2, 1), (0.5, 0.1))]), SMALL[1]], repetitions=3)
    assert list(new.missing(IDENTITY, as_done(ids_of(old)))) == [
        (2, 3),
        (5, 12),
        (14, 15),
        (17, 21),
    ]


@given(grids_with_some_done(), st.integers(1, 9))
def test_missing_is_the_set_difference_in_as_few_ranges_as_can_be(
    grid_and_done: tuple[Grid, set[int]], size: int
) -> None:
    grid, done = grid_and_done
    ids = ids_of(grid)
    with blocks_of(size):
        ranges = list(grid.missing(IDENTITY, as_done(ids[position] for position in done)))
    assert [p for span in ranges for p in range(*span)] == sorted(set(range(len(grid))) - done)
    assert all(start < stop for start, stop in ranges)
    assert all(earlier[1] < later[0] for earlier, later in pairwise(ranges))


def missing_without(grid: Grid, done: Sequence[int]) -> list[Range]:
    ids = ids_of(grid)
    return list(grid.missing(IDENTITY, as_done(ids[position] for position in done)))


def test_nothing_done_is_one_range_over_all_layers() -> None:
    assert missing_without(grid_of(SMALL, repetitions=3), []) == [(0, 15)]


def test_all_done_leaves_nothing() -> None:
    assert missing_without(grid_of(SMALL, repetitions=3), range(15)) == []


def test_open_trials_of_adjacent_cells_are_one_range() -> None:
    grid = grid_of(SMALL, repetitions=3)
    assert missing_without(grid, [0, 1, 7, 14]) == [(2, 7), (8, 14)]
    assert missing_without(grid, [3, 4, 5]) == [(0, 3), (6, 15)]


def test_ids_of_other_campaigns_do_not_count_as_done() -> None:
    grid = grid_of(SMALL, repetitions=3)
    strangers = as_done([0, 2**64 - 1, *(trial_id ^ 1 for trial_id in ids_of(grid))])
    assert list(grid.missing(IDENTITY, strangers)) == [(0, 15)]


@given(grids_with_some_done(), st.sets(st.integers(0, 2**64 - 1), max_size=9), st.integers(1, 9))
def test_outside_is_what_is_done_but_no_trial_of_the_grid(
    grid_and_done: tuple[Grid, set[int]], strangers: set[int], size: int
) -> None:
    grid, positions = grid_and_done
    ids = ids_of(grid)
    strangers -= set(ids)
    done = as_done({*(ids[position] for position in positions), *strangers})
    with blocks_of(size):
        found = grid.compare(IDENTITY, done)
        assert found.missing == tuple(grid.missing(IDENTITY, done))
    assert found.outside.dtype == np.uint64
    assert found.outside.tolist() == sorted(strangers)


def test_narrowing_a_grid_leaves_outside_what_it_no_longer_holds() -> None:
    old = grid_of(SMALL, repetitions=3)
    new = grid_of([("conv", [product_of(flips(1), (0.1, 0.9))])], repetitions=2)
    found = new.compare(IDENTITY, as_done(ids_of(old)))
    kept = [
        plain_id(cell_of("conv", BitFlip(bit=1), Probability(0.1)), repetition)
        for repetition in (0, 1)
    ]
    assert found.missing == ((2, 4),)
    assert found.outside.tolist() == sorted(set(ids_of(old)) - set(kept))
    assert len(found.outside) == 13


def test_ranges_go_on_across_blocks() -> None:
    grid = grid_of([("conv", [product_of(flips(0, 1, 2), (0.5,))])], repetitions=50_000)
    edge = BLOCK_TRIALS
    done = [*range(edge - 3), edge + 2, *range(2 * edge - 1, 2 * edge + 1), 149_999]
    assert missing_without(grid, done) == [
        (edge - 3, edge + 2),
        (edge + 3, 2 * edge - 1),
        (2 * edge + 1, 149_999),
    ]


MILLION = grid_of(
    [
        (f"block{number}/conv", [product_of(flips(*range(32)), (0.001, 0.01, 0.1, 0.5, 1.0))])
        for number in range(25)
    ],
    repetitions=250,
)


def test_a_million_trials_have_a_length_and_a_last_one_at_once() -> None:
    tracemalloc.start()
    assert len(MILLION) == 1_000_000
    assert MILLION[999_999] == (cell_of("block24/conv", BitFlip(bit=31), Probability(1.0)), 249)
    assert MILLION[123_456] == (cell_of("block3/conv", BitFlip(bit=2), Probability(0.5)), 206)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_million_trials_are_compared_with_a_million_done() -> None:
    ids = np.concatenate([block for _, block in MILLION.ids(IDENTITY)])
    assert ids.shape == (1_000_000,)
    assert ids[[0, 249, 250, 999_999]].tolist() == [
        plain_id(*MILLION[position]) for position in (0, 249, 250, 999_999)
    ]
    open_here = np.random.default_rng(1).random(1_000_000) < 0.5
    found = MILLION.compare(IDENTITY, np.sort(ids[~open_here]))
    position = np.zeros(1_000_000, np.int8)
    for start, stop in found.missing:
        position[start:stop] += 1
    assert (position == open_here).all()
    assert len(found.outside) == 0


def test_finding_what_is_missing_takes_the_memory_of_a_block() -> None:
    grid = grid_of([("conv", [product_of(flips(*range(32)), (0.1, 1.0))])], repetitions=2_000)
    with blocks_of(1_000):
        ranges = grid.missing(IDENTITY, as_done([]))
        tracemalloc.start()
        assert list(ranges) == [(0, 128_000)]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 200_000  # the ids of all are 1,024,000 bytes
