"""Ids are a digest of the trial's canonical JSON, whatever way they are computed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from injecttf2 import trial as trials
from injecttf2.faults.bit_faults import BitFlip, StuckAt
from injecttf2.sampling.rates import BitErrorRate, Count, Probability
from injecttf2.trial import Cell, CellTrials, Identity, Scope
from tests.builders import cell_of

IDENTITY = Identity(model="0123456789abcdef" * 2, data="fedcba9876543210" * 2, seed=2026)
CELL = cell_of("block1/conv2d", BitFlip(bit=30), Probability(0.1))


def content_of(identity: Identity, cell: Cell) -> dict[str, Any]:
    return {
        "bit": cell.fault.bit,
        "bit_field": cell.fault.bit_field,
        "data": identity.data,
        "fault": "bit_flip",
        "layer": cell.layer,
        "model": identity.model,
        cell.rate.name: cell.rate.value,
        "seed": identity.seed,
        "target": cell.target,
        "version": identity.version,
    }


def naive_id(content: dict[str, Any]) -> int:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return int(hashlib.blake2b(text.encode("utf-8"), digest_size=8).hexdigest(), 16)


def naive_trial_id(identity: Identity, cell: Cell, repetition: int) -> int:
    return naive_id({**content_of(identity, cell), "repetition": repetition})


def one_id(identity: Identity, cell: Cell, repetition: int = 0) -> int:
    (found,) = trials.trial_ids(identity, cell, [repetition]).tolist()
    return int(found)


def test_the_keys_of_paired_trials_never_change() -> None:
    cell = dataclasses.replace(CELL, paired=True)
    text = {
        "data": IDENTITY.data,
        "layer": "block1/conv2d",
        "paired": True,
        "probability": None,
        "repetition": 1,
        "seed": 2026,
        "target": "outputs",
        "variable": None,
    }
    first, second = CellTrials(cell, 0, 2).trials(IDENTITY)
    assert second.key == naive_id(text)
    assert hex(first.key) == "0x12aa5b48d5ca53"
    assert (first.id, second.id) == tuple(trials.trial_ids(IDENTITY, cell, range(2)).tolist())


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"fault": BitFlip(bit=3)}, True),
        ({"fault": StuckAt(bit=3, value=1)}, True),
        ({"rate": Probability(1.0)}, True),
        ({"rate": Count(1)}, False),
        ({"scope": Scope(("other",))}, False),
        ({"scope": Scope(("block1/conv2d",), "weights")}, False),
        ({"variable": "kernel"}, False),
    ],
)
def test_what_paired_trials_share(change: dict[str, Any], same: bool) -> None:
    cell = dataclasses.replace(CELL, paired=True)
    one, other = (
        next(CellTrials(each, 0, 1).trials(IDENTITY))
        for each in (cell, dataclasses.replace(cell, **change))
    )
    assert (one.key == other.key) == same
    assert one.id != other.id


def test_paired_counts_share_their_draws_only_with_the_same_count() -> None:
    keys = {
        next(CellTrials(cell_of("a", CELL.fault, Count(n), paired=True), 0, 1).trials(IDENTITY)).key
        for n in (1, 2)
    }
    assert len(keys) == 2


def test_versions_of_a_model_share_the_draws_of_paired_trials() -> None:
    cell = dataclasses.replace(CELL, paired=True)
    other = dataclasses.replace(IDENTITY, model="another")
    one, two = (next(CellTrials(cell, 5, 6).trials(each)) for each in (IDENTITY, other))
    assert one.key == two.key
    assert one.id != two.id


def test_ids_never_change() -> None:
    ids = trials.trial_ids(IDENTITY, CELL, range(4))
    assert ids.dtype == np.uint64
    assert [hex(one) for one in ids.tolist()] == [
        "0x8e3b25a858902d38",
        "0x2d19267c9e750b52",
        "0x9c1fbfd9f01aa371",
        "0x2df05153818e9b24",
    ]
    assert hex(trials.cell_id(IDENTITY, CELL)) == "0xe5a7fd941414eb09"


def test_ids_of_every_kind_of_cell_never_change() -> None:
    identity = Identity(model="ab" * 16, data="cd" * 16, seed=0)
    cells = [
        cell_of("conv2d", BitFlip(bit=0), Probability(1e-05)),
        cell_of("conv2d", BitFlip(bit_field="any"), Probability(1.0)),
        cell_of("größe/層", BitFlip(bit_field="exponent"), Probability(0.5)),
        cell_of("dense", BitFlip(bit_field="sign"), Probability(0.0), target="weights"),
        cell_of('a"b\\c', BitFlip(bit_field="mantissa"), Probability(1 / 3)),
    ]
    ids = [trials.trial_ids(identity, cell, (0, 9, 10, 123_456)).tolist() for cell in cells]
    assert ids == [
        [3015408958404587722, 14857145487244674104, 13628578878337462499, 860962837615574930],
        [1438423430187782525, 13781624274733141112, 3986186919329791917, 14641540800313355245],
        [16403624138344589005, 10465617883540644221, 558008997983790933, 3491714948634586859],
        [12640494638839269213, 17481606465003282616, 15111000673858667915, 6832860942431941777],
        [6057106505005750117, 6053767322394147592, 13522520651400640582, 2761990415155380130],
    ]


def test_the_canonical_json_never_changes() -> None:
    content = {**IDENTITY.to_dict(), **CELL.to_dict(), "repetition": 3}
    assert trials.canonical_json(content) == (
        b'{"bit":30,"bit_field":null,"data":"fedcba9876543210fedcba9876543210",'
        b'"fault":"bit_flip","layer":"block1/conv2d",'
        b'"model":"0123456789abcdef0123456789abcdef","probability":0.1,"repetition":3,'
        b'"seed":2026,"target":"outputs","version":1}'
    )


faults = st.integers(0, 63).map(lambda bit: BitFlip(bit=bit)) | st.sampled_from(
    ["sign", "exponent", "mantissa", "any"]
).map(lambda field: BitFlip(bit_field=field))


@settings(deadline=None)
@given(
    layer=st.text(),
    fault=faults,
    probability=st.floats(0, 1),
    seed=st.integers(-(2**70), 2**70),
    repetitions=st.lists(st.integers(0, 2**40), max_size=4),
)
@example(layer='"repetition":0', fault=BitFlip(bit=0), probability=1e-3, seed=0, repetitions=[0, 7])
@example(layer=',"repetition":0,', fault=BitFlip(bit=0), probability=1.0, seed=0, repetitions=[10])
@example(layer='\\"repetition":0', fault=BitFlip(bit=0), probability=0.0, seed=0, repetitions=[1])
@example(layer="größe/層/🦆", fault=BitFlip(bit=0), probability=5e-324, seed=1, repetitions=[3])
@example(layer='a"b\\c\n\x00\u2028', fault=BitFlip(bit=0), probability=0.5, seed=1, repetitions=[3])
def test_ids_equal_blake2b_over_the_canonical_json(
    layer: str, fault: BitFlip, probability: float, seed: int, repetitions: list[int]
) -> None:
    identity, cell = (
        Identity("m", '"repetition":0', seed),
        cell_of(layer, fault, Probability(probability)),
    )
    ids = trials.trial_ids(identity, cell, repetitions).tolist()
    assert ids == [naive_trial_id(identity, cell, repetition) for repetition in repetitions]
    assert trials.cell_id(identity, cell) == naive_id(content_of(identity, cell))


def test_every_field_changes_the_id() -> None:
    identities = [
        dataclasses.replace(IDENTITY, model="1" * 32),
        dataclasses.replace(IDENTITY, data="1" * 32),
        dataclasses.replace(IDENTITY, seed=2027),
        dataclasses.replace(IDENTITY, version=2),
        # the same two texts the other way round
        dataclasses.replace(IDENTITY, model=IDENTITY.data, data=IDENTITY.model),
    ]
    cells = [
        dataclasses.replace(CELL, scope=Scope(("block1/conv2e",))),
        dataclasses.replace(CELL, scope=Scope(("block1/conv2d",), "weights")),
        dataclasses.replace(CELL, fault=BitFlip(bit=29)),
        dataclasses.replace(CELL, fault=BitFlip(bit_field="exponent")),
        dataclasses.replace(CELL, fault=BitFlip(bit_field="sign")),
        dataclasses.replace(CELL, fault=BitFlip(bit_field="any")),
        dataclasses.replace(CELL, fault=StuckAt(bit=30, value=0)),
        dataclasses.replace(CELL, fault=StuckAt(bit=30, value=1)),
        dataclasses.replace(CELL, fault=BitFlip(bit=30, burst=2)),
        dataclasses.replace(CELL, rate=Probability(0.1 + 2**-56)),
        dataclasses.replace(CELL, rate=BitErrorRate(0.1)),
        dataclasses.replace(CELL, rate=Count(1)),
        dataclasses.replace(CELL, variable="kernel"),
    ]
    ids = [one_id(IDENTITY, CELL), one_id(IDENTITY, CELL, 1), one_id(IDENTITY, CELL, 10)]
    ids += [one_id(identity, CELL) for identity in identities]
    ids += [one_id(IDENTITY, cell) for cell in cells]
    assert len(set(ids)) == len(ids) == 21
    cell_ids = [trials.cell_id(identity, CELL) for identity in [IDENTITY, *identities]]
    cell_ids += [trials.cell_id(IDENTITY, cell) for cell in cells]
    assert len(set(cell_ids)) == len(cell_ids) == 19


def test_a_sign_flip_by_number_and_by_field_are_different_trials() -> None:
    by_number = dataclasses.replace(CELL, fault=BitFlip(bit=31))
    by_field = dataclasses.replace(CELL, fault=BitFlip(bit_field="sign"))
    assert one_id(IDENTITY, by_number) != one_id(IDENTITY, by_field)


def test_equal_cells_have_equal_ids_whatever_type_their_numbers_have() -> None:
    whole = cell_of("conv", BitFlip(bit=3), Probability(1))
    number = cell_of("conv", BitFlip(bit=3), Probability(1.0))
    from_a_row = cell_of("conv", BitFlip(bit=3), Probability(np.float64(1.0)))
    assert whole == number == from_a_row
    assert one_id(IDENTITY, whole) == one_id(IDENTITY, number) == one_id(IDENTITY, from_a_row)
    assert trials.cell_id(IDENTITY, whole) == trials.cell_id(IDENTITY, number)


def test_the_id_of_a_repetition_does_not_depend_on_the_others() -> None:
    whole = trials.trial_ids(IDENTITY, CELL, range(100)).tolist()
    assert trials.trial_ids(IDENTITY, CELL, range(40, 60)).tolist() == whole[40:60]
    assert trials.trial_ids(IDENTITY, CELL, [99, 0]).tolist() == [whole[99], whole[0]]
    assert trials.trial_ids(IDENTITY, CELL, []).tolist() == []


def test_repetitions_yield_their_trials_in_order() -> None:
    repetitions = CellTrials(CELL, 3, 7)
    found = list(repetitions.trials(IDENTITY))
    assert len(repetitions) == len(found) == 4
    assert [trial.repetition for trial in found] == [3, 4, 5, 6]
    assert [trial.id for trial in found] == [naive_trial_id(IDENTITY, CELL, n) for n in range(3, 7)]
    assert {trial.cell for trial in found} == {CELL}
    assert {type(trial.id) for trial in found} == {int}  # as a generator's key takes them
    assert list(CellTrials(CELL, 5, 5).trials(IDENTITY)) == []


def test_the_ids_of_runs_are_those_of_their_trials_in_order() -> None:
    other = dataclasses.replace(CELL, scope=Scope(("dense",)))
    runs = [CellTrials(CELL, 3, 5), CellTrials(other, 0, 0), CellTrials(other, 9, 11)]
    ids = trials.run_ids(IDENTITY, runs)
    assert ids.dtype == np.uint64
    assert ids.tolist() == [
        naive_trial_id(IDENTITY, cell, repetition)
        for cell, repetition in [(CELL, 3), (CELL, 4), (other, 9), (other, 10)]
    ]
    assert trials.run_ids(IDENTITY, []).tolist() == []


def test_an_identity_is_written_out_in_full() -> None:
    assert IDENTITY.to_dict() == {
        "version": 1,
        "model": "0123456789abcdef" * 2,
        "data": "fedcba9876543210" * 2,
        "seed": 2026,
    }


def test_a_million_trials_have_a_million_ids() -> None:
    ids = trials.trial_ids(IDENTITY, CELL, range(10**6))
    assert len(np.unique(ids)) == 10**6
    for repetition in (0, 9, 10, 99_999, 999_999):
        assert ids[repetition] == naive_trial_id(IDENTITY, CELL, repetition)
