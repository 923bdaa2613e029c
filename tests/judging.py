"""The oracle of judges: plain loops over NumPy numbers, sharing no code with them.

Everything is computed from Python floats, which are float64. Comparisons of outputs with each
other are exact in any dtype, so that only thresholds have to be rounded to the dtype first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

TOLERANCE = 2.0**-16


def ranked(row: Sequence[float]) -> list[int]:
    """Classes, the largest output first, of equal ones the lowest class."""
    return sorted(range(len(row)), key=lambda index: (-row[index], index))


def flat(output: Any) -> list[float]:
    return [float(value) for value in np.asarray(output).reshape(-1)]


def outcome(faulty: Any, golden: Any, *, differs: bool) -> str:
    faulty, golden = flat(faulty), flat(golden)
    if not all(math.isfinite(value) for value in faulty):
        return "due"
    if differs:
        return "sdc"
    limit = TOLERANCE * max(abs(value) for value in golden)
    if all(abs(one - other) <= limit for one, other in zip(faulty, golden, strict=True)):
        return "masked"
    return "benign"


def top1_differs(faulty: Any, golden: Any) -> bool:
    return ranked(flat(faulty))[0] != ranked(flat(golden))[0]


def topk_differs(faulty: Any, golden: Any, k: int) -> bool:
    return set(ranked(flat(faulty))[:k]) != set(ranked(flat(golden))[:k])


def topk_score(output: Any, label: int, k: int) -> float:
    return 1.0 if label in ranked(flat(output))[:k] else 0.0


def answers(output: Any, limit: float) -> list[int]:
    return [1 if value > limit else 0 for value in flat(output)]


def threshold_score(output: Any, label: Any, limit: float) -> float:
    return 1.0 if answers(output, limit) == [int(flag) for flag in flat(label)] else 0.0


def positions(output: Any, limit: float) -> list[int]:
    """The class at each position, in row-major order."""
    channels = np.asarray(output).shape[-1]
    values = flat(output)
    rows = [values[start : start + channels] for start in range(0, len(values), channels)]
    return [answers(row, limit)[0] if channels == 1 else ranked(row)[0] for row in rows]


def positions_differ(faulty: Any, golden: Any, *, limit: float, tolerance: float) -> bool:
    pairs = list(zip(positions(faulty, limit), positions(golden, limit), strict=True))
    return sum(one != other for one, other in pairs) / len(pairs) > tolerance


def positions_score(output: Any, label: Any, *, limit: float, ignore: int | None) -> float:
    pairs = zip(positions(output, limit), flat(label), strict=True)
    counting = [(decided, wanted) for decided, wanted in pairs if wanted != ignore]
    if not counting:
        return 1.0
    return sum(decided == wanted for decided, wanted in counting) / len(counting)


def beyond(output: Any, expected: Any, absolute: float, relative: float) -> bool:
    pairs = zip(flat(output), flat(expected), strict=True)
    return any(abs(value - wanted) > absolute + relative * abs(wanted) for value, wanted in pairs)


def probabilities(output: Any, *, logits: bool) -> list[float]:
    row = flat(output)
    if len(row) == 1:
        row = [0.0 if logits else 1 - row[0], row[0]]
    if not logits:
        return row
    shifted = [math.exp(value - max(row)) for value in row]
    return [value / sum(shifted) for value in shifted]


def moved(faulty: Any, golden: Any, *, percent: float, logits: bool) -> bool:
    now, before = (max(probabilities(one, logits=logits)) for one in (faulty, golden))
    return abs(now - before) > percent / 100 * abs(before)


def mean_error(output: Any, label: Any, power: int) -> float:
    pairs = list(zip(flat(output), flat(label), strict=True))
    return sum(abs(value - wanted) ** power for value, wanted in pairs) / len(pairs)
