"""Faults of all kinds."""

from __future__ import annotations

from injecttf2.faults.bit_faults import BitFlip, StuckAt
from injecttf2.faults.fault_model import Fault
from injecttf2.faults.mixture import Mixture
from injecttf2.faults.value_faults import Constant, RandomBits, RandomValue, Scale, Zero

FAULTS: tuple[Fault, ...] = (
    BitFlip(bit=0),
    BitFlip(bit=14),
    BitFlip(bit=30),
    *(BitFlip(bit_field=field) for field in ("any", "sign", "exponent", "mantissa")),
    BitFlip(bit_field="any", burst=3),
    StuckAt(bit_field="exponent", value=1),
    StuckAt(bit=3, value=0),
    Zero(),
    Constant(1.5),
    RandomBits(),
    RandomValue("uniform", low=-2, high=2),
    RandomValue("normal", mean=0.0, std=3.0),
    Scale(-20.0),
    Mixture(((3, BitFlip(bit_field="any")), (1, Zero()))),
)

REFUSED: dict[str, tuple[Fault, ...]] = {
    "float16": (BitFlip(bit=30),),
    "bfloat16": (BitFlip(bit=30),),
    "int8": (
        BitFlip(bit=14),
        BitFlip(bit=30),
        BitFlip(bit_field="exponent"),
        BitFlip(bit_field="mantissa"),
        StuckAt(bit_field="exponent", value=1),
        Constant(1.5),
    ),
}
"""Those of them that do not fit some dtypes."""
