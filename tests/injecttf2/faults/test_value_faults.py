"""Faults that write values, and what the layer's dtype makes of them."""

from __future__ import annotations

import math
import pickle
import re
from typing import Any

import numpy as np
import pytest
from scipy import stats

from injecttf2 import bits
from injecttf2.faults.fault_model import Fault, FaultedElements
from injecttf2.faults.value_faults import Constant, RandomBits, RandomValue, Scale, Zero

FLOATS = tuple(bits.LAYOUTS)


def corrupted(fault: Fault, values: Any, dtype: str, draws: Any = None) -> np.ndarray:
    """Return what becomes of values, with given or drawn numbers."""
    old = np.asarray(values, bits.numpy_dtype(dtype))
    if draws is None:
        draws = np.random.Generator(np.random.Philox(key=1)).random((len(old), fault.draws))
    hits = FaultedElements(dtype, np.full(len(old), -1), np.asarray(draws), old)
    return fault.changes(hits).apply(old)


@pytest.mark.parametrize("fault", [Zero(), Constant(1), RandomBits(), Scale(2)])
def test_a_site_of_a_value_is_a_whole_word_without_a_bit(fault: Fault) -> None:
    choice = fault.choice("float32")
    assert (choice.candidates, choice.one_bit, choice.sites) == (None, False, 1)
    assert (fault.bit, fault.bit_field, fault.field("float32")) == (None, None, None)


@pytest.mark.parametrize("dtype", bits.DTYPES)
def test_zero_clears_every_bit(dtype: str) -> None:
    old = np.asarray([5, 1, 0], bits.numpy_dtype(dtype))
    assert corrupted(Zero(), old, dtype).tobytes() == bytes(old.nbytes)


@pytest.mark.parametrize(
    ("dtype", "value", "word"),
    [
        ("float32", 1.0, 0x3F80_0000),
        ("float32", -0.0, 0x8000_0000),
        ("float32", 0.1, 0x3DCC_CCCD),
        ("float32", math.inf, 0x7F80_0000),
        ("float32", "-inf", 0xFF80_0000),
        ("float32", math.nan, 0x7FC0_0000),
        ("float32", -math.nan, 0x7FC0_0000),
        ("bfloat16", "nan", 0x7FC0),
        ("bfloat16", 3, 0x4040),
        ("float16", 65504, 0x7BFF),
        ("float64", "1e-3", 0x3F50_624D_D2F1_A9FC),
        ("int8", -1, 0xFF),
        ("uint8", 255.0, 0xFF),
        ("int64", 2**63 - 1, 2**63 - 1),
        ("uint64", 2**64 - 1, 2**64 - 1),
    ],
)
def test_a_constant_has_the_word_of_its_dtype(dtype: str, value: Any, word: int) -> None:
    fault = Constant(value)
    fault.check(dtype)
    assert bits.encode(corrupted(fault, [1, 0], dtype)).tolist() == [word, word]


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("int8", 128, "a whole number from -128 to 127; received 128.0"),
        ("uint8", -1, "a whole number from 0 to 255; received -1.0"),
        ("int32", 0.5, f"a whole number from {-(2**31)} to {2**31 - 1}; received 0.5"),
        ("int32", "nan", f"a whole number from {-(2**31)} to {2**31 - 1}; received nan"),
        ("float16", 70000, "a number that float16 can hold, or inf; received 70000.0"),
        ("float32", -1e39, "a number that float32 can hold, or inf; received -1e+39"),
    ],
)
def test_a_constant_that_does_not_fit_is_refused_at_the_time_of_planning(
    dtype: str, value: Any, expected: str
) -> None:
    message = f"^the value of a constant does not fit {dtype}, expected {re.escape(expected)}$"
    with pytest.raises(ValueError, match=message):
        Constant(value).check(dtype)


def test_equal_constants_are_equal_and_others_are_not() -> None:
    same = [Constant(1), Constant(1.0), Constant("1")]  # type: ignore[arg-type]
    assert len(set(same)) == 1
    assert (
        Constant(math.nan)
        == Constant(float("nan"))
        == pickle.loads(  # noqa: S301
            pickle.dumps(Constant(math.nan))
        )
    )
    assert Constant(0.0) != Constant(-0.0)
    assert Constant(2**63 - 1) != Constant(2.0**63)


@pytest.mark.parametrize(
    ("value", "written"),
    [(math.nan, "nan"), (-math.inf, "-inf"), (1, 1.0), (2**63 - 1, 2**63 - 1)],
)
def test_a_constant_is_written_down_and_read_back(value: Any, written: Any) -> None:
    parameters = Constant(value).parameters()
    assert parameters == {"value": written}
    assert Constant(**parameters) == Constant(value)


@pytest.mark.parametrize(
    ("dtype", "draws", "word"),
    [
        ("uint8", [0.5, 0.0], 0x80),
        ("uint16", [0.75, 0.0], 0xC000),
        ("float32", [2.0**-32, 0.9], 1),
        ("uint64", [2.0**-32, 0.5], 0x8000_0000_0000_0001),
        ("int64", [1 - 2.0**-53, 1 - 2.0**-53], 0xFFFF_FFFF_FFFF_FFFF),
    ],
)
def test_random_bits_are_those_of_the_numbers(dtype: str, draws: list[float], word: int) -> None:
    assert bits.encode(corrupted(RandomBits(), [0], dtype, [draws])).tolist() == [word]


@pytest.mark.parametrize("dtype", ["int8", "float16", "float32", "float64"])
def test_every_random_bit_is_set_in_half_of_all_cases(dtype: str) -> None:
    words = bits.encode(corrupted(RandomBits(), np.ones(20_000), dtype))
    width = bits.layout(dtype).width
    set_ = [np.count_nonzero(words & bits.masks(np.asarray(bit), dtype)) for bit in range(width)]
    chances = [stats.binomtest(count, 20_000, 0.5).pvalue for count in set_]
    assert min(chances) > 0.01 / width


def test_a_random_word_may_be_the_old_one() -> None:
    same = np.count_nonzero(corrupted(RandomBits(), np.full(25_600, 77), "uint8") == 77)
    assert stats.binomtest(int(same), 25_600, 1 / 256).pvalue > 0.01


def test_uniform_values_lie_between_low_and_high() -> None:
    fault = RandomValue("uniform", low=-2, high=3)
    assert corrupted(fault, [9.0] * 3, "float64", [[0.0], [0.5], [0.75]]).tolist() == [
        -2,
        0.5,
        1.75,
    ]
    values = corrupted(fault, np.zeros(20_000), "float32")
    assert stats.kstest(values, stats.uniform(-2, 5).cdf).pvalue > 0.01


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_uniform_whole_numbers_are_equally_likely(dtype: str) -> None:
    fault = RandomValue("uniform", low=5, high=11)
    fault.check(dtype)
    values, counts = np.unique(corrupted(fault, np.zeros(6000), dtype), return_counts=True)
    assert values.tolist() == [5, 6, 7, 8, 9, 10]
    assert stats.chisquare(counts).pvalue > 0.01


def test_the_whole_range_of_a_type_can_be_drawn() -> None:
    fault = RandomValue("uniform", low=0, high=256)
    fault.check("uint8")
    assert corrupted(fault, [7, 7], "uint8", [[0.0], [1 - 2.0**-53]]).tolist() == [0, 255]


def test_normal_values_are_quantiles_of_their_numbers() -> None:
    fault = RandomValue("normal", mean=10, std=2)
    draws = [[0.5], [0.8413447460685429], [0.0], [1 - 2.0**-53]]
    values = corrupted(fault, [0.0] * 4, "float64", draws)
    assert values == pytest.approx([10, 12, 10 - 2 * 8.292361, 10 + 2 * 8.209536])
    many = corrupted(fault, np.zeros(20_000), "float32")
    assert stats.kstest(many, stats.norm(10, 2).cdf).pvalue > 0.01


def test_normal_whole_numbers_are_rounded_and_end_with_the_type() -> None:
    fault = RandomValue("normal", mean=100, std=20)
    draws = [[0.5], [0.51], [1 - 2.0**-53], [0.0]]
    assert corrupted(fault, [0] * 4, "int8", draws).tolist() == [100, 101, 127, -66]


@pytest.mark.parametrize(
    ("fault", "dtype", "message"),
    [
        (
            RandomValue("uniform", low=0, high=257),
            "uint8",
            "high does not fit uint8, expected a whole number from 0 to 255; received 256.0",
        ),
        (
            RandomValue("uniform", low=0.5, high=2),
            "int8",
            "low does not fit int8, expected a whole number from -128 to 127; received 0.5",
        ),
        (
            RandomValue("uniform", low=0, high=1e6),
            "float16",
            "high does not fit float16, expected a number that float16 can hold, or inf; "
            "received 1000000.0",
        ),
        (
            RandomValue("normal", mean=300, std=1),
            "int8",
            "mean does not fit int8, expected from -128 to 127; received 300.0",
        ),
    ],
)
def test_random_values_that_do_not_fit_are_refused(
    fault: RandomValue, dtype: str, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        fault.check(dtype)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"distribution": "cauchy"},
            "distribution is uniform or normal; received 'cauchy'",
        ),
        (
            {"distribution": "uniform", "low": 1},
            "the distribution 'uniform' takes low and high; received low",
        ),
        (
            {"distribution": "normal", "low": 1, "std": 2},
            "the distribution 'normal' takes mean and std; received low and std",
        ),
        (
            {"distribution": "normal"},
            "the distribution 'normal' takes mean and std; received neither",
        ),
        (
            {"distribution": "uniform", "low": 1, "high": 1},
            "low is below high; received low=1.0, high=1.0",
        ),
        (
            {"distribution": "uniform", "low": -1.5e308, "high": 1.5e308},
            "high - low is a finite number; received low=-1.5e+308, high=1.5e+308",
        ),
        ({"distribution": "normal", "mean": 0, "std": -1}, "std is 0 or more; received -1.0"),
        (
            {"distribution": "normal", "mean": math.nan, "std": 1},
            "mean is a finite number; received .nan",
        ),
        (
            {"distribution": "uniform", "low": 0, "high": math.inf},
            "high is a finite number; received .inf",
        ),
    ],
)
def test_a_distribution_that_makes_no_sense_is_refused(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RandomValue(**arguments)


@pytest.mark.parametrize(
    ("factor", "shown"),
    [
        (math.nan, ".nan"),
        (-math.inf, "-.inf"),
        ("two", "'two'"),
        (None, "nothing"),
        (True, "true"),
    ],
)
def test_a_factor_is_a_finite_number(factor: Any, shown: str) -> None:
    message = f"^the factor of a scale is a finite number; received {re.escape(shown)}$"
    with pytest.raises(ValueError, match=message):
        Scale(factor)


@pytest.mark.parametrize(
    ("value", "shown"), [("zero", "'zero'"), (None, "nothing"), (True, "true"), ([1], "[1]")]
)
def test_a_constant_is_a_number(value: Any, shown: str) -> None:
    message = f"^the value of a constant is a number; received {re.escape(shown)}$"
    with pytest.raises(ValueError, match=message):
        Constant(value)


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_scaled_float_is_the_product(dtype: str) -> None:
    scaled = corrupted(Scale(-1.5), [2.0, -0.0, math.inf], dtype)
    assert scaled.dtype == bits.numpy_dtype(dtype)
    assert scaled.astype(np.float64).tolist() == [-3.0, 0.0, -math.inf]
    assert np.isnan(corrupted(Scale(0), [math.inf], dtype)).tolist() == [True]


@pytest.mark.parametrize(
    ("dtype", "large"), [("float16", 6e4), ("float32", 3e38), ("float64", 1e308)]
)
def test_a_float_that_becomes_too_large_is_not_clamped(dtype: str, large: float) -> None:
    assert corrupted(Scale(10), [large, -large], dtype).tolist() == [math.inf, -math.inf]


@pytest.mark.parametrize(
    ("dtype", "factor", "values", "expected"),
    [
        ("int8", 1.5, [1, 3, -1, -3, 100, -100], [2, 4, -2, -4, 127, -128]),
        ("uint8", -1, [0, 1, 255], [0, 0, 0]),
        ("int32", 2, [2**30, -(2**31)], [2**31 - 1, -(2**31)]),
        ("int64", 4, [2**62, -(2**62), 3], [2**63 - 1, -(2**63), 12]),
        ("uint64", 2, [2**63, 2**62, 1], [2**64 - 1, 2**63, 2]),
        ("int64", 1, [2**53 + 1], [2**53]),
    ],
)
def test_a_scaled_integer_is_rounded_half_to_even_and_ends_with_the_type(
    dtype: str, factor: float, values: list[int], expected: list[int]
) -> None:
    assert corrupted(Scale(factor), values, dtype).tolist() == expected


def test_only_a_scale_needs_the_values() -> None:
    faults = [Zero(), Constant(1), RandomBits(), RandomValue("normal", mean=0, std=1), Scale(2)]
    assert [fault.needs_values for fault in faults] == [False, False, False, False, True]
    hits = FaultedElements("float32", np.full(1, -1), np.asarray([[0.5]]))
    assert faults[3].changes(hits).apply(np.ones(1, np.float32)).tolist() == [0.0]
