"""Which bits a fault model may fall on."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from injecttf2 import bits
from injecttf2.faults import FAULTS, BitFlip


def test_the_registry_names_fault_models_as_the_results_do() -> None:
    assert list(FAULTS.items()) == [("bit_flip", BitFlip)]
    assert BitFlip(bit=0).name == "bit_flip"


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
            "bit_field is one of ('sign', 'exponent', 'mantissa', 'any'); received 'exponents'",
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
