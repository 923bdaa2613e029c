"""Choosing the way behind a cut, by the work of its steps and by short measurements.

Nothing that is chosen here changes an outcome, so it may depend on the machine and on chance.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.batches import padded
from injecttf2.block import GoldenBlock
from injecttf2.datasets import Dataset
from injecttf2.graph import Graph, Step
from injecttf2.outcomes import MASKED_TOLERANCE
from injecttf2.rules import output_window
from injecttf2.shortcut import DOUBTFUL, NoRule, Path, Route, Shortcut, golden_keys, probe
from injecttf2.suffix import DenseSuffix, PackedSites, flip_elements
from injecttf2.windows import equal_bits


class Notes: ...


class Tuner:
    def __init__(self, graph, dataset, dense, *, levels, notes):
        self._graph, self._dataset, self._dense = graph, dataset, dense
        self.route = notes.route if notes else None
        self._path = Path(graph, dense.layer, self.route.sparse) if self.route else None
        self.golden_keys = golden_keys(self._path, self.route) if self.route else list(dense.cut.frontier)
        f = list(dense.cut.frontier)
        self.golden_keys = f + [k for k in self.golden_keys if k not in f]

    def shortcut(self, block, outputs):
        if self.route is None: return None
        s = Shortcut(self._path, self.route, self.golden_keys)
        s.bound = 2.0**-20
        return s
