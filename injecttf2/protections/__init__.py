"""Protections of a model against faults, and what they make of the same faults."""

from injecttf2.protections.protection import Fates, Protection, WordSites
from injecttf2.protections.redundancy import Ecc, Tmr

__all__ = ["Ecc", "Fates", "Protection", "Tmr", "WordSites"]
