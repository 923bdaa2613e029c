"""Fault models: what happens to the sites that are hit.

One of your own is a class with ``corrupt``, named by ``@fault("name")``; see ``custom``.
"""

from injecttf2.faults.bit_faults import BitFlip, StuckAt
from injecttf2.faults.fault_model import Fault
from injecttf2.faults.mixture import Mixture
from injecttf2.faults.registry import fault
from injecttf2.faults.value_faults import (
    Constant,
    RandomBits,
    RandomValue,
    Scale,
    ValueFault,
    Zero,
)

__all__ = [
    "BitFlip",
    "Constant",
    "Fault",
    "Mixture",
    "RandomBits",
    "RandomValue",
    "Scale",
    "StuckAt",
    "ValueFault",
    "Zero",
    "fault",
]
