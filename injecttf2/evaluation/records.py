"""What evaluating trials brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from injecttf2.judging.outcomes import OutcomeCounts


@dataclass(frozen=True, eq=False)
class Injections:
    """One row for each injected site and sample, in the order of trials, samples ascending.

    Args:
        trial: int64 [rows], index into the trials that were evaluated.
        layer: int64 [rows], which of the scope's layers it is in.
        variable: Names of weight variables [rows]; None for outputs.
        sample: int64 [rows].
        element: int64 [rows], into the layer's flattened output of one sample, or the variable.
        bit: int64 [rows], -1 where the fault has none.
        original: float64 [rows], the value without the fault.
        corrupted: float64 [rows], the value with all faults of its word.
        outcome: uint8 [rows], codes of ``outcomes.OUTCOMES``.
        golden_class: int32 [rows], -1 where samples have no class.
        faulty_class: int32 [rows], -1 where the outcome is ``due``, or samples have no class.
    """

    trial: npt.NDArray[np.int64]
    layer: npt.NDArray[np.int64]
    variable: npt.NDArray[Any] | None
    sample: npt.NDArray[np.int64]
    element: npt.NDArray[np.int64]
    bit: npt.NDArray[np.int64]
    original: npt.NDArray[np.float64]
    corrupted: npt.NDArray[np.float64]
    outcome: npt.NDArray[np.uint8]
    golden_class: npt.NDArray[np.int32]
    faulty_class: npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What some trials of one scope did.

    Args:
        tallies: Counts per trial.
        sites: int64 [trials], how many sites each had.
        injections: The sites, where they were asked for.
        detected: int64 [trials], how many of the ``due`` samples a protection stopped.
    """

    tallies: OutcomeCounts
    sites: npt.NDArray[np.int64]
    injections: Injections | None
    detected: npt.NDArray[np.int64]


def joined(parts: Sequence[Evaluation]) -> Evaluation:
    """Return evaluations of consecutive trials as one."""
    if len(parts) == 1:
        return parts[0]
    tallies = OutcomeCounts(
        **{
            field.name: np.concatenate([getattr(part.tallies, field.name) for part in parts])
            for field in fields(OutcomeCounts)
        }
    )
    sites = np.concatenate([part.sites for part in parts])
    detected = np.concatenate([part.detected for part in parts])
    recorded = [part.injections for part in parts if part.injections is not None]
    if not recorded:
        return Evaluation(tallies, sites, None, detected)
    columns: dict[str, Any] = {
        field.name: None
        if getattr(recorded[0], field.name) is None
        else np.concatenate([getattr(part, field.name) for part in recorded])
        for field in fields(Injections)
    }
    offsets = np.cumsum([0] + [len(part.tallies) for part in parts[:-1]])
    columns["trial"] = np.concatenate(
        [part.trial + offset for part, offset in zip(recorded, offsets, strict=True)]
    )
    return Evaluation(tallies, sites, Injections(**columns), detected)
