"""What redundant bits and copies make of sites."""

from __future__ import annotations

import numpy as np
import pytest

from injecttf2.faults.bit_faults import BitFlip, StuckAt
from injecttf2.faults.value_faults import Zero
from injecttf2.protections import Ecc, Protection, Tmr, WordSites


def sites(
    *rows: tuple[int, int, int], target: str = "outputs", dtype: str = "float32"
) -> WordSites:
    """Sites in ``conv``: owner, element and bit of each."""
    columns = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    return WordSites(("conv",), "outputs", dtype, *columns)


def told(protection: Protection, where: WordSites) -> str:
    """What becomes of each site: corrected, detected, or as it is."""
    fates = protection.fates(where)
    assert fates is not None
    assert not (fates.corrected & fates.detected).any()
    return "".join(
        "c" if corrected else "d" if detected else "-"
        for corrected, detected in zip(fates.corrected, fates.detected, strict=True)
    )


def test_single_faults_of_a_word_are_outvoted() -> None:
    where = sites((0, 3, 5), (0, 4, 1), (0, 4, 9), (1, 4, 1), (2, 4, 30), (2, 4, 31), (2, 5, 0))
    assert told(Tmr(("conv",)), where) == "c--c--c"


def test_a_fault_without_a_bit_is_one_of_its_word() -> None:
    assert told(Tmr(("conv",)), sites((0, 3, -1), (1, 3, -1))) == "cc"


def test_layers_that_are_not_copied_are_as_they_were() -> None:
    assert Tmr(("dense",)).fates(sites((0, 3, 5))) is None
    assert Ecc("outputs", layers=("dense",)).fates(sites((0, 3, 5))) is None
    assert Ecc("weights").fates(sites((0, 3, 5))) is None


def test_one_flip_is_corrected_two_are_detected_three_pass() -> None:
    where = sites((0, 1, 0), (0, 2, 3), (0, 2, 4), (1, 2, 0), (1, 2, 1), (1, 2, 31), (2, 2, 9))
    assert told(Ecc("outputs"), where) == "cdd---c"


@pytest.mark.parametrize(
    ("word", "dtype", "expected"),
    [
        (64, "float32", "ddc"),  # elements 0 and 1 together
        (32, "float32", "ccc"),
        (32, "float16", "ddc"),
        (8, "float32", "ccc"),
        (128, "float32", "---"),
    ],
)
def test_a_word_of_the_code_holds_elements_or_a_part_of_one(
    word: int, dtype: str, expected: str
) -> None:
    where = sites((0, 0, 3), (0, 1, 4), (0, 2, 8), dtype=dtype)
    assert told(Ecc("outputs", word=word), where) == expected


def test_parts_of_an_element_have_check_bits_of_their_own() -> None:
    where = sites((0, 0, 3), (0, 0, 4), (0, 0, 8), (0, 0, 31))
    assert told(Ecc("outputs", word=8), where) == "ddcc"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"target": "inputs"}, "target is 'inputs', expected weights or outputs"),
        ({"target": "weights", "word": 24}, "word is 24, expected a power of two"),
        ({"target": "weights", "corrects": 3}, "corrects is 3 and detects 2, expected 0 <= "),
        ({"target": "weights", "detects": 33}, "corrects is 1 and detects 33"),
    ],
)
def test_codes_that_there_cannot_be_are_refused(
    parameters: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Ecc(**parameters)  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", [Zero(), StuckAt(value=1, bit=3)])
def test_flips_that_depend_on_values_are_not_counted(fault: object) -> None:
    Ecc("outputs").check(BitFlip(bit=3))
    with pytest.raises(ValueError, match="ecc counts flipped bits, and a site of a fault"):
        Ecc("outputs").check(fault)  # type: ignore[arg-type]


def test_equal_protections_are_one() -> None:
    assert Ecc("weights") == Ecc("weights", word=32)
    assert len({Ecc("weights"), Ecc("weights", word=32), Ecc("outputs"), Tmr(("a",))}) == 3
    assert Tmr(("a", "b")).label == "tmr layers=a,b"
    assert Ecc("weights").label == "ecc target=weights"
