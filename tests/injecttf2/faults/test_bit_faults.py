"""Fault models of bits: which bits a site may fall on, and what happens to them."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from scipy import stats

from injecttf2 import bits
from injecttf2.faults.bit_faults import BitFault, BitFlip, StuckAt
from injecttf2.faults.fault_model import FaultedElements


@pytest.mark.parametrize("dtype", bits.LAYOUTS)
def test_a_given_bit_is_the_only_candidate(dtype: str) -> None:
    for bit in range(bits.LAYOUTS[dtype].width):
        assert list(BitFlip(bit=bit).candidates(dtype)) == [bit]


@pytest.mark.parametrize(
    ("dtype", "field", "expected"),
    [
        ("float32", "sign", range(31, 32)),
        ("float32", "exponent", range(23, 31)),
        ("float32", "mantissa", range(23)),
        ("float32", "any", range(32)),
        ("bfloat16", "exponent", range(7, 15)),
        ("float16", "exponent", range(10, 15)),
        ("float64", "any", range(64)),
    ],
)
def test_a_field_offers_its_bits_of_the_layers_dtype(
    dtype: str, field: str, expected: range
) -> None:
    assert BitFlip(bit_field=field).candidates(dtype) == expected


def test_a_given_bit_lies_in_the_field_that_its_dtype_says() -> None:
    fault = BitFlip(bit=10)
    fields = {dtype: fault.field(dtype) for dtype in bits.LAYOUTS}
    assert fields == {
        "float16": "exponent",
        "bfloat16": "exponent",
        "float32": "mantissa",
        "float64": "mantissa",
    }
    assert BitFlip(bit_field="any").field("float32") == "any"


@pytest.mark.parametrize(
    ("dtype", "bit", "highest"), [("float16", 16, 15), ("float32", 32, 31), ("float64", 64, 63)]
)
def test_a_bit_beyond_the_word_is_refused(dtype: str, bit: int, highest: int) -> None:
    message = f"^{dtype} has bits 0 to {highest}; received bit {bit}$"
    with pytest.raises(ValueError, match=message):
        BitFlip(bit=bit).candidates(dtype)
    with pytest.raises(ValueError, match=message):
        BitFlip(bit=bit).field(dtype)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "BitFlip takes either bit or bit_field; received bit=None, bit_field=None"),
        (
            {"bit": 3, "bit_field": "sign"},
            "BitFlip takes either bit or bit_field; received bit=3, bit_field='sign'",
        ),
        ({"bit": -1}, "bits count from 0; received bit=-1"),
        (
            {"bit_field": "exponents"},
            "bit_field is one of sign, exponent, mantissa, any; received 'exponents'",
        ),
    ],
)
def test_a_flip_that_makes_no_sense_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        BitFlip(**arguments)


def test_equal_flips_are_one_dictionary_key() -> None:
    assert {BitFlip(bit=3): 1, BitFlip(bit=3): 2, BitFlip(bit_field="sign"): 3} == {
        BitFlip(bit=3): 2,
        BitFlip(bit_field="sign"): 3,
    }


def test_a_flip_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        BitFlip(bit=3).bit = 4  # type: ignore[misc]


def corrupted(fault: BitFault, values: list[Any], dtype: str, bit: int = -1) -> list[Any]:
    """Return what becomes of values whose sites all have the same bit."""
    draws = np.random.Generator(np.random.Philox(key=1)).random((len(values), fault.draws))
    hits = FaultedElements(dtype, np.full(len(values), bit), draws)
    old = np.asarray(values, bits.numpy_dtype(dtype))
    result: list[Any] = fault.changes(hits).apply(old).tolist()
    return result


def test_a_plain_flip_is_the_flip_of_bits() -> None:
    values = np.asarray([1.0, -2.5, np.inf, 0.0], np.float32)
    hits = FaultedElements("float32", np.asarray([31, 23, 22, 0]), np.empty((4, 0)))
    flipped = BitFlip(bit_field="any").changes(hits).apply(values)
    assert flipped.tobytes() == bits.flip(values, hits.bit).tobytes()


@pytest.mark.parametrize("fault", [BitFlip(bit=30), BitFlip(bit_field="any", flips=3)])
def test_the_same_flip_twice_restores_the_value(fault: BitFlip) -> None:
    values = [1.0, -0.5, 3.25, 0.0]
    once = corrupted(fault, values, "float32", 30)
    assert once != values
    assert corrupted(fault, once, "float32", 30) == values


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [("float32", 1.0, -1.0), ("float64", 1.0, -1.0), ("bfloat16", 1.0, -1.0), ("int8", 1, -127)],
)
def test_the_sign_is_that_of_the_layers_dtype(dtype: str, value: Any, expected: Any) -> None:
    (bit,) = BitFlip(bit_field="sign").candidates(dtype)
    assert corrupted(BitFlip(bit_field="sign"), [value], dtype, bit) == [expected]


@pytest.mark.parametrize(
    ("value", "before", "after"),
    [(1, [1.0, -1.0], [-1.0, -1.0]), (0, [1.0, -1.0], [1.0, 1.0])],
)
def test_a_bit_that_is_stuck_reads_its_value(
    value: int, before: list[float], after: list[float]
) -> None:
    assert corrupted(StuckAt(bit=31, value=value), before, "float32", 31) == after


def test_a_burst_changes_adjacent_bits_from_the_sites_bit_up() -> None:
    assert corrupted(BitFlip(bit_field="any", burst=3), [0, 0b0101_0101], "uint8", 2) == [
        0b0001_1100,
        0b0100_1001,
    ]
    assert corrupted(StuckAt(bit=4, burst=4, value=0), [255], "uint8", 4) == [15]
    assert corrupted(StuckAt(bit=0, burst=64, value=1), [0], "uint64", 0) == [2**64 - 1]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (BitFlip(bit_field="exponent", burst=3), range(23, 29)),
        (BitFlip(bit_field="exponent", burst=8), range(23, 24)),
        (BitFlip(bit_field="any", burst=2), range(31)),
        (BitFlip(bit=29, burst=3), range(29, 30)),
    ],
)
def test_a_whole_burst_lies_in_the_field_and_in_the_word(fault: BitFlip, expected: range) -> None:
    assert fault.candidates("float32") == expected


def test_several_flips_are_as_many_different_bits_of_the_field() -> None:
    words = corrupted(BitFlip(bit_field="exponent", flips=3), [0.0] * 1000, "float32")
    flipped = np.asarray(words, np.float32).view(np.uint32)
    assert set(np.bitwise_count(flipped).tolist()) == {3}
    assert np.bitwise_or.reduce(flipped) == 0x7F80_0000


def test_every_set_of_flips_is_equally_likely() -> None:
    words = corrupted(BitFlip(bit_field="any", flips=2), [0] * 28_000, "uint8")
    _, counts = np.unique(words, return_counts=True)
    assert len(counts) == 28
    assert stats.chisquare(counts).pvalue > 0.01


def test_all_bits_of_a_field_can_be_asked_for() -> None:
    assert corrupted(BitFlip(bit_field="any", flips=8), [0b1100_1010], "uint8") == [0b0011_0101]


def test_what_a_site_is_within_an_element() -> None:
    plain = BitFlip(bit_field="any").choice("float32")
    assert (plain.candidates, plain.one_bit, plain.draws, plain.sites) == (range(32), True, 0, 32)
    flips = StuckAt(bit_field="any", flips=4, value=1).choice("float32")
    assert (flips.candidates, flips.one_bit, flips.draws, flips.sites) == (None, False, 4, 1)
    burst = BitFlip(bit_field="any", burst=4).choice("float32")
    assert (burst.candidates, burst.one_bit, burst.draws, burst.sites) == (range(29), False, 0, 1)


@pytest.mark.parametrize(
    ("bit", "burst", "field"),
    [(20, 3, "mantissa"), (21, 3, "any"), (23, 8, "exponent"), (23, 9, "any"), (31, 1, "sign")],
)
def test_the_field_of_a_burst_is_that_of_all_its_bits(bit: int, burst: int, field: str) -> None:
    assert BitFlip(bit=bit, burst=burst).field("float32") == field


@pytest.mark.parametrize(
    ("fault", "dtype", "message"),
    [
        (
            BitFlip(bit=30, burst=3),
            "float32",
            "float32 has bits 0 to 31; received bit 30 with a burst of 3",
        ),
        (
            BitFlip(bit_field="exponent", flips=6),
            "float16",
            "the field 'exponent' of float16 has 5 bits; received flips=6",
        ),
        (
            StuckAt(bit_field="any", burst=9, value=0),
            "int8",
            "the field 'any' of int8 has 8 bits; received burst=9",
        ),
        (
            BitFlip(bit_field="exponent"),
            "int32",
            "int32 has the fields sign, any; received 'exponent'",
        ),
        (
            BitFlip(bit=3),
            "bool",
            f"bool has no words to inject into; expected {', '.join(bits.DTYPES)}",
        ),
    ],
)
def test_bits_that_a_dtype_lacks_are_refused(fault: BitFault, dtype: str, message: str) -> None:
    for ask in (fault.check, fault.candidates, fault.choice):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            ask(dtype)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bit": 2.5}, "bits count from 0; received bit=2.5"),
        (
            {"bit": 3, "flips": 2},
            "several flips are drawn from a bit_field; received bit=3, flips=2",
        ),
        ({"bit_field": "any", "flips": 0}, "flips is a whole number of 1 or more; received 0"),
        ({"bit_field": "any", "burst": 1.5}, "burst is a whole number of 1 or more; received 1.5"),
        ({"bit_field": "any", "flips": 65}, "words have 64 bits or less; received flips=65"),
        ({"bit_field": "sign", "flips": 2}, "the sign is one bit; received flips=2"),
        ({"bit_field": "sign", "burst": 2}, "the sign is one bit; received burst=2"),
        (
            {"bit_field": "any", "flips": 2, "burst": 2},
            "either flips or burst is more than 1; received flips=2, burst=2",
        ),
    ],
)
def test_numbers_of_bits_that_make_no_sense_are_refused(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        BitFlip(**arguments)


@pytest.mark.parametrize(
    ("value", "shown"), [(2, "2"), (-1, "-1"), (True, "true"), ("1", "'1'"), (None, "nothing")]
)
def test_a_bit_is_stuck_at_0_or_1(value: Any, shown: str) -> None:
    with pytest.raises(ValueError, match=f"^a bit is stuck at the value 0 or 1; received {shown}$"):
        StuckAt(bit=3, value=value)


def test_parameters_that_have_their_default_are_not_written_down() -> None:
    """So that the trials of a plain flip are what they were before it had parameters."""
    assert BitFlip(bit=3).parameters() == {}
    assert BitFlip(bit=3).description() == {"fault": "bit_flip", "bit": 3, "parameters": {}}
    assert BitFlip(bit_field="any", flips=2).parameters() == {"flips": 2}
    assert StuckAt(bit_field="any", burst=2, value=0).parameters() == {"burst": 2, "value": 0}


def test_faults_that_do_something_else_are_not_equal() -> None:
    faults = [
        BitFlip(bit=3),
        BitFlip(bit_field="any"),
        BitFlip(bit_field="any", flips=2),
        BitFlip(bit_field="any", burst=2),
        StuckAt(bit=3, value=0),
        StuckAt(bit=3, value=1),
    ]
    assert len(set(faults)) == len(faults)
    assert BitFlip(bit=np.int64(3)) == BitFlip(bit=3)  # type: ignore[arg-type]
