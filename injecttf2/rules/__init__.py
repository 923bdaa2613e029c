"""How each kind of layer passes a difference on: level ``difference``, layer by layer.

Each module holds the rules of one family of layers; ``registry`` says what a rule is.
"""

from injecttf2.rules import elementwise, linear, merging, pooling, shaping
from injecttf2.rules.registry import EXACT, RULES, Rule, output_window, rule

__all__ = [
    "EXACT",
    "RULES",
    "Rule",
    "elementwise",
    "linear",
    "merging",
    "output_window",
    "pooling",
    "rule",
    "shaping",
]
