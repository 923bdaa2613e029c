"""Words, fields and flips, against Python's ``struct`` as the oracle."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from injecttf2 import bits

DTYPES = ("float16", "bfloat16", "float32", "float64")

SPECIAL_32 = (
    0x0000_0000,  # 0.0
    0x8000_0000,  # -0.0
    0x0000_0001,  # the smallest subnormal
    0x807F_FFFF,  # the largest subnormal, negative
    0x0080_0000,  # the smallest normal
    0x7F7F_FFFF,  # the largest finite number
    0x7F80_0000,  # infinity
    0xFF80_0000,  # -infinity
    0x7FC0_0000,  # the quiet NaN
    0x7F80_0001,  # a signalling NaN
    0xFFC1_2345,  # a NaN with a payload and a sign
    0xFFFF_FFFF,
)
SPECIAL_64 = (
    0x0000_0000_0000_0000,
    0x8000_0000_0000_0000,
    0x0000_0000_0000_0001,
    0x800F_FFFF_FFFF_FFFF,
    0x0010_0000_0000_0000,
    0x7FEF_FFFF_FFFF_FFFF,
    0x7FF0_0000_0000_0000,
    0xFFF0_0000_0000_0000,
    0x7FF8_0000_0000_0000,
    0x7FF0_0000_0000_0001,
    0xFFF8_0123_4567_89AB,
    0xFFFF_FFFF_FFFF_FFFF,
)


def of_words(words: Any, dtype: str) -> np.ndarray:
    layout = bits.LAYOUTS[dtype]
    return np.asarray(words, layout.word).view(bits.numpy_dtype(dtype))


def unpacked(words: list[int], dtype: str) -> list[float]:
    """What the words mean, by way of their bytes."""
    if dtype == "bfloat16":  # the upper half of a float32
        words, dtype = [word << 16 for word in words], "float32"
    formats = {"float16": ("e", "H"), "float32": ("f", "I"), "float64": ("d", "Q")}
    floating, unsigned = formats[dtype]
    packed = struct.pack(f"<{len(words)}{unsigned}", *words)
    return list(struct.unpack(f"<{len(words)}{floating}", packed))


@pytest.mark.parametrize("bit", range(16))
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_flip_of_every_16_bit_word_is_an_xor_of_its_bytes(dtype: str, bit: int) -> None:
    flipped = bits.flip(of_words(np.arange(2**16), dtype), np.asarray(bit))
    expected = [word ^ (1 << bit) for word in range(2**16)]
    assert flipped.dtype == bits.numpy_dtype(dtype)
    assert flipped.tobytes() == struct.pack(f"<{2**16}H", *expected)
    with np.errstate(invalid="ignore"):  # casting quiets signalling NaN
        values = flipped.astype(np.float64)
    assert np.array_equal(values, unpacked(expected, dtype), equal_nan=True)


def words_of(special: tuple[int, ...], width: int) -> st.SearchStrategy[int]:
    return st.sampled_from(special) | st.integers(0, 2**width - 1)


@settings(deadline=None)
@given(word=words_of(SPECIAL_32, 32), bit=st.integers(0, 31))
@example(word=0x7F80_0001, bit=22)
@example(word=0x8000_0000, bit=31)
def test_a_flip_of_a_float32_is_an_xor_of_its_bytes(word: int, bit: int) -> None:
    flipped = bits.flip(of_words([word], "float32"), np.asarray([bit]))
    assert flipped.tobytes() == struct.pack("<I", word ^ (1 << bit))


@settings(deadline=None)
@given(word=words_of(SPECIAL_64, 64), bit=st.integers(0, 63))
@example(word=0x7FF0_0000_0000_0001, bit=51)
@example(word=0x8000_0000_0000_0000, bit=63)
def test_a_flip_of_a_float64_is_an_xor_of_its_bytes(word: int, bit: int) -> None:
    flipped = bits.flip(of_words([word], "float64"), np.asarray([bit]))
    assert flipped.tobytes() == struct.pack("<Q", word ^ (1 << bit))


@settings(deadline=None)
@given(value=st.floats(width=32), bit=st.integers(0, 31))
def test_a_flipped_value_is_the_one_that_struct_unpacks(value: float, bit: int) -> None:
    (word,) = struct.unpack("<I", struct.pack("<f", value))
    flipped = bits.flip(np.asarray([value], np.float32), np.asarray([bit]))
    with np.errstate(invalid="ignore"):
        got = flipped.astype(np.float64)
    assert np.array_equal(got, unpacked([word ^ (1 << bit)], "float32"), equal_nan=True)


@settings(deadline=None)
@given(dtype=st.sampled_from(DTYPES), data=st.data())
def test_flipping_the_same_bit_twice_restores_the_word(dtype: str, data: st.DataObject) -> None:
    width = bits.LAYOUTS[dtype].width
    words = data.draw(st.lists(st.integers(0, 2**width - 1), min_size=1, max_size=5))
    places = data.draw(
        st.lists(st.integers(0, width - 1), min_size=len(words), max_size=len(words))
    )
    values = of_words(words, dtype)
    twice = bits.flip(bits.flip(values, np.asarray(places)), np.asarray(places))
    assert twice.tobytes() == values.tobytes()


@settings(deadline=None)
@given(value=st.floats(width=32, allow_nan=False))
@example(value=0.0)
@example(value=-0.0)
def test_flipping_bit_31_negates_a_float32(value: float) -> None:
    flipped = bits.flip(np.asarray([value], np.float32), np.asarray([31]))
    assert flipped.tobytes() == struct.pack("<f", -value)


@pytest.mark.parametrize(
    ("dtype", "value", "bit", "expected"),
    [
        ("float32", 1.0, 30, np.inf),
        ("float32", 1.0, 23, 0.5),
        ("float32", 1.0, 22, 1.5),
        ("float32", 1.0, 0, 1.0 + 2.0**-23),
        ("float32", 0.0, 0, 2.0**-149),
        ("float32", 0.0, 30, 2.0),
        ("float32", 1.5, 31, -1.5),
        ("float64", 1.0, 62, np.inf),
        ("float64", 1.0, 52, 0.5),
        ("float64", 1.0, 0, 1.0 + 2.0**-52),
        ("float16", 1.0, 14, np.inf),
        ("float16", 1.0, 10, 0.5),
        ("float16", 1.0, 9, 1.5),
        ("bfloat16", 1.0, 14, np.inf),
        ("bfloat16", 1.0, 7, 0.5),
        ("bfloat16", 1.0, 6, 1.5),
    ],
)
def test_known_flips_have_known_values(dtype: str, value: float, bit: int, expected: float) -> None:
    values = np.asarray([value], bits.numpy_dtype(dtype))
    assert bits.flip(values, np.asarray([bit])).astype(np.float64).tolist() == [expected]


def test_bits_broadcast_against_values() -> None:
    values = np.ones((2, 3), np.float32)
    flipped = bits.flip(values, np.asarray([31, 23, 22]))
    assert flipped.tolist() == [[-1.0, 0.5, 1.5], [-1.0, 0.5, 1.5]]
    assert bits.flip(values, np.asarray([[31], [22]])).tolist() == [[-1.0] * 3, [1.5] * 3]
    assert values.tolist() == [[1.0] * 3] * 2  # a flip leaves its input alone


@pytest.mark.parametrize(
    ("dtype", "sign", "exponent", "mantissa"),
    [
        ("float16", range(15, 16), range(10, 15), range(10)),
        ("bfloat16", range(15, 16), range(7, 15), range(7)),
        ("float32", range(31, 32), range(23, 31), range(23)),
        ("float64", range(63, 64), range(52, 63), range(52)),
    ],
)
def test_fields_partition_the_word(
    dtype: str, sign: range, exponent: range, mantissa: range
) -> None:
    assert bits.field_bits(dtype, "sign") == sign
    assert bits.field_bits(dtype, "exponent") == exponent
    assert bits.field_bits(dtype, "mantissa") == mantissa
    whole = bits.field_bits(dtype, "any")
    assert [*mantissa, *exponent, *sign] == list(whole) == list(range(bits.LAYOUTS[dtype].width))
    for field in ("sign", "exponent", "mantissa"):
        for bit in bits.field_bits(dtype, field):
            assert bits.field_of(dtype, bit) == field


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_the_layout_is_that_of_the_numpy_type(dtype: str) -> None:
    layout, info = bits.LAYOUTS[dtype], np.finfo(dtype)
    assert (layout.width, layout.exponent, layout.mantissa) == (info.bits, info.nexp, info.nmant)
    assert layout.word == np.dtype(f"uint{info.bits}")


@pytest.mark.parametrize("bit", [-1, 32, 1000])
def test_a_bit_outside_the_word_has_no_field(bit: int) -> None:
    with pytest.raises(ValueError, match=rf"^float32 has bits 0 to 31; received bit {bit}$"):
        bits.field_of("float32", bit)


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_mask_has_one_bit_set(dtype: str) -> None:
    layout = bits.LAYOUTS[dtype]
    masks = bits.masks(np.arange(layout.width), dtype)
    assert masks.dtype == layout.word
    assert masks.tolist() == [2**bit for bit in range(layout.width)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_decoding_the_words_gives_the_values_back(dtype: str) -> None:
    values = np.asarray([[0.5, -0.0, np.inf], [np.nan, 1.0, -3.0]], bits.numpy_dtype(dtype))
    words = bits.encode(values)
    assert (words.shape, words.dtype) == ((2, 3), bits.LAYOUTS[dtype].word)
    assert np.shares_memory(words, values)
    decoded = bits.decode(words, dtype)
    assert decoded.dtype == values.dtype
    assert decoded.tobytes() == values.tobytes()


def test_the_words_of_one_are_the_published_ones() -> None:
    words = {
        dtype: hex(bits.encode(np.ones(1, bits.numpy_dtype(dtype))).item()) for dtype in DTYPES
    }
    assert words == {
        "float16": "0x3c00",
        "bfloat16": "0x3f80",
        "float32": "0x3f800000",
        "float64": "0x3ff0000000000000",
    }


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_numpy_dtype_carries_the_keras_name(dtype: str) -> None:
    assert bits.numpy_dtype(dtype).name == dtype


INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def test_floats_and_integers_have_words() -> None:
    assert (*DTYPES, *INTEGERS) == bits.DTYPES


@pytest.mark.parametrize("dtype", INTEGERS)
def test_the_layout_of_an_integer_is_that_of_the_numpy_type(dtype: str) -> None:
    layout, info = bits.layout(dtype), np.iinfo(dtype)
    assert (layout.width, layout.word) == (info.bits, np.dtype(f"uint{info.bits}"))
    assert layout.signed == (info.min < 0)
    assert (layout.exponent, layout.mantissa) == (0, 0)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64"])
def test_the_sign_of_an_integer_is_its_highest_bit(dtype: str) -> None:
    width = np.iinfo(dtype).bits
    assert bits.field_bits(dtype, "sign") == range(width - 1, width)
    fields = [bits.field_of(dtype, bit) for bit in range(width)]
    assert fields == ["any"] * (width - 1) + ["sign"]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_an_unsigned_integer_has_no_field_but_the_whole_word(dtype: str) -> None:
    width = np.iinfo(dtype).bits
    assert bits.field_bits(dtype, "any") == range(width)
    assert {bits.field_of(dtype, bit) for bit in range(width)} == {"any"}
    message = rf"^{dtype} has the fields any; received 'sign'$"
    with pytest.raises(ValueError, match=message):
        bits.field_bits(dtype, "sign")


@pytest.mark.parametrize("field", ["exponent", "mantissa"])
def test_an_integer_has_no_exponent_and_no_mantissa(field: str) -> None:
    with pytest.raises(ValueError, match=rf"^int32 has the fields sign, any; received '{field}'$"):
        bits.field_bits("int32", field)


def test_a_bit_outside_an_integer_has_no_field() -> None:
    with pytest.raises(ValueError, match=r"^uint8 has bits 0 to 7; received bit 8$"):
        bits.field_of("uint8", 8)


@pytest.mark.parametrize("dtype", ["bool", "complex64", "float8_e4m3fn"])
def test_other_dtypes_have_no_words(dtype: str) -> None:
    message = rf"^{dtype} has no words to inject into; expected float16, .*, uint64$"
    with pytest.raises(ValueError, match=message):
        bits.layout(dtype)


@pytest.mark.parametrize(
    ("dtype", "value", "bit", "expected"),
    [
        ("int8", 5, 7, -123),
        ("int8", -1, 7, 127),
        ("int8", 0, 0, 1),
        ("uint8", 5, 7, 133),
        ("int16", 1, 15, -32767),
        ("int32", 0, 31, -(2**31)),
        ("uint32", 0, 31, 2**31),
        ("int64", -1, 63, 2**63 - 1),
        ("uint64", 0, 63, 2**63),
    ],
)
def test_known_flips_of_integers_have_known_values(
    dtype: str, value: int, bit: int, expected: int
) -> None:
    assert bits.flip(np.asarray([value], dtype), np.asarray([bit])).tolist() == [expected]


@settings(deadline=None)
@given(dtype=st.sampled_from(INTEGERS), data=st.data())
def test_an_integer_flip_is_its_own_inverse(dtype: str, data: st.DataObject) -> None:
    info = np.iinfo(dtype)
    value = data.draw(st.integers(int(info.min), int(info.max)))
    bit = data.draw(st.integers(0, info.bits - 1))
    once = bits.flip(np.asarray([value], dtype), np.asarray([bit]))
    assert (once.item() ^ value) % 2**info.bits == 2**bit
    assert bits.flip(once, np.asarray([bit])).tolist() == [value]
