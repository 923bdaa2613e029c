"""The oracle's faults: one word at a time, as a Python integer, by what a results row says."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

from tests.reference_sites import Spot

FORMATS = {"float16": ("<e", "<H"), "float32": ("<f", "<I"), "float64": ("<d", "<Q")}

WIDTHS = {"float16": (16, 10), "bfloat16": (16, 7), "float32": (32, 23), "float64": (64, 52)}
"""Bits of a word, and of its mantissa."""

OWN_DRAWS = {"random_bits": 2, "random_value": 1, "drift": 1}


def width_of(dtype: str) -> int:
    return WIDTHS[dtype][0] if dtype in WIDTHS else int(dtype.removeprefix("u")[3:])


def to_value(word: int, dtype: str) -> float | int:
    if dtype == "bfloat16":  # the upper half of a float32
        return to_value(word << 16, "float32")
    if dtype in FORMATS:
        floating, unsigned = FORMATS[dtype]
        (value,) = struct.unpack(floating, struct.pack(unsigned, word))
        return float(value)
    width = width_of(dtype)
    is_negative = not dtype.startswith("u") and word >> (width - 1)
    return word - (1 << width) if is_negative else word


def to_word(value: float, dtype: str) -> int:
    """The word of a number that is rounded to the dtype, half to even."""
    if dtype == "bfloat16":
        word = to_word(value, "float32")
        if math.isnan(value):
            return word >> 16
        return (word + 0x7FFF + ((word >> 16) & 1)) >> 16
    if dtype in FORMATS:
        floating, unsigned = FORMATS[dtype]
        try:
            packed = struct.pack(floating, value)
        except OverflowError:
            packed = struct.pack(floating, math.copysign(math.inf, value))
        (word,) = struct.unpack(unsigned, packed)
        return int(word)
    width = width_of(dtype)
    least = 0 if dtype.startswith("u") else -(1 << (width - 1))
    most = least + (1 << width) - 1
    whole = most if value == math.inf else least if value == -math.inf else round(value)
    return min(max(whole, least), most) & ((1 << width) - 1)


def flip(value: float, bit: int, dtype: str) -> float:
    """Flip one bit by way of the value's bytes."""
    return float(to_value(to_word(value, dtype) ^ (1 << bit), dtype))


def field_bits(fault: dict[str, Any], dtype: str) -> list[int]:
    """All bits that may be hit."""
    if fault.get("bit") is not None:
        burst = fault.get("parameters", {}).get("burst", 1)
        return [fault["bit"] + place for place in range(burst)]
    width = width_of(dtype)
    field = fault["bit_field"]
    if field == "any":
        return list(range(width))
    if field == "sign":
        return [width - 1]
    mantissa = WIDTHS[dtype][1]
    return list(range(mantissa)) if field == "mantissa" else list(range(mantissa, width - 1))


def spot_of(fault: dict[str, Any], dtype: str) -> Spot:
    """What is drawn for a site of a fault within an element."""
    parameters = fault.get("parameters", {})
    if fault["fault"] == "mixture":
        parts = parameters["faults"]
        spots = [spot_of(part, dtype) for part in parts]
        draws = max(spot.draws for spot in spots)
        if _share_a_bit(parts, spots):
            return Spot(spots[0].candidates, one_bit=True, draws=1 + draws)
        return Spot(None, one_bit=False, draws=2 + draws)
    if fault["fault"] not in ("bit_flip", "stuck_at"):
        return Spot(None, one_bit=False, draws=OWN_DRAWS.get(fault["fault"], 0))
    found = field_bits(fault, dtype)
    flips, burst = parameters.get("flips", 1), parameters.get("burst", 1)
    if flips > 1:
        return Spot(None, one_bit=False, draws=flips)
    return Spot(found[: len(found) - burst + 1], one_bit=burst == 1)


def _share_a_bit(parts: Sequence[dict[str, Any]], spots: Sequence[Spot]) -> bool:
    places = [(part.get("bit"), part.get("bit_field")) for part in parts]
    return all(spot.one_bit for spot in spots) and len(set(places)) == 1


def corrupted(
    word: int, dtype: str, fault: dict[str, Any], bit: int, draws: tuple[float, ...]
) -> int:
    """What a word becomes at a site."""
    name, parameters = fault["fault"], fault.get("parameters", {})
    if name == "mixture":
        return _mixed(word, dtype, parameters["faults"], bit, draws)
    if name in ("bit_flip", "stuck_at"):
        for hit in _bits_hit(fault, dtype, bit, draws):
            if name == "bit_flip":
                word ^= 1 << hit
            elif parameters["value"]:
                word |= 1 << hit
            else:
                word &= ~(1 << hit)
        return word
    if name == "zero":
        return 0
    if name == "random_bits":
        width = width_of(dtype)
        low = int(draws[0] * 2 ** min(width, 32))
        return low + (int(draws[1] * 2**32) << 32) if width == 64 else low
    return to_word(_value(float(to_value(word, dtype)), dtype, name, parameters, draws), dtype)


def _bits_hit(fault: dict[str, Any], dtype: str, bit: int, draws: tuple[float, ...]) -> list[int]:
    parameters = fault.get("parameters", {})
    flips = parameters.get("flips", 1)
    if flips == 1:
        return [bit + place for place in range(parameters.get("burst", 1))]
    found = field_bits(fault, dtype)
    chosen: list[int] = []
    for number, last in zip(draws, range(len(found) - flips, len(found)), strict=False):
        drawn = found[int(number * (last + 1))]
        chosen.append(found[last] if drawn in chosen else drawn)
    return chosen


def _value(
    value: float, dtype: str, name: str, parameters: dict[str, Any], draws: tuple[float, ...]
) -> float:
    if name == "constant":
        return float(parameters["value"])
    if name == "scale":
        return value * parameters["factor"]
    if name == "drift":
        return value + parameters["width"] * (draws[0] - 0.5)
    if parameters["distribution"] == "normal":
        number = max(draws[0], 2.0**-54)
        return float(parameters["mean"] + parameters["std"] * NormalDist().inv_cdf(number))
    low, high = parameters["low"], parameters["high"]
    number = low + (high - low) * draws[0]
    return float(math.floor(number)) if dtype not in WIDTHS else float(number)


def _mixed(
    word: int,
    dtype: str,
    parts: Sequence[dict[str, Any]],
    bit: int,
    draws: tuple[float, ...],
) -> int:
    spots = [spot_of(part, dtype) for part in parts]
    wanted = draws[0] * sum(part["weight"] for part in parts)
    number, passed = 0, parts[0]["weight"]
    while passed <= wanted:
        number += 1
        passed += parts[number]["weight"]
    own = 1
    if not _share_a_bit(parts, spots):
        bit, own = spots[number].bit(draws[1]), 2
    return corrupted(word, dtype, parts[number], bit, draws[own : own + spots[number].draws])
