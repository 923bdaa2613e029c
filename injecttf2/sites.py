"""Drawing the sites of a trial.

A trial's sites depend on its id and on nothing else. The generator is Philox4x64-10 (Salmon et
al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) keyed with the trial's id, and the
order of its draws is fixed: three rows of uniform numbers in [0, 1), one number a sample in each,

    row 0   the sample is hit if the number is below the probability
    row 1   the element: floor(number * elements)
    row 2   the bit: the candidate at floor(number * candidates), ascending

They are drawn for every sample, hit or not, so that a site can be recomputed from a results row.
The numbers have 53 bits, so an element's chance is off by less than elements / 2^53.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Sites:
    """The sites of one trial, at most one a sample, ascending by sample.

    Args:
        sample: int64 [n_hits], indices into the data set.
        element: int64 [n_hits], indices into the flattened output of one sample, row-major.
        bit: int64 [n_hits], counted from the least significant.
    """

    sample: npt.NDArray[np.int64]
    element: npt.NDArray[np.int64]
    bit: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sample)


def draw(
    trial_id: int, *, samples: int, elements: int, candidates: range, probability: float
) -> Sites:
    """Draw the sites of a trial.

    Args:
        trial_id: The trial's id, the generator's key.
        samples: Samples in the data set.
        elements: Elements in the layer's output of one sample.
        candidates: The bits that may be hit.
        probability: Chance that a sample is hit.
    """
    generator = np.random.Generator(np.random.Philox(key=trial_id))
    uniform = generator.random((3, samples))
    sample = np.flatnonzero(uniform[0] < probability)
    element = (uniform[1, sample] * elements).astype(np.int64)
    choice = (uniform[2, sample] * len(candidates)).astype(np.int64)
    return Sites(sample, element, candidates.start + choice * candidates.step)
