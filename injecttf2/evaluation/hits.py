"""The sites of several trials, brought into the form that samples are evaluated in.

Sites are drawn trial by trial. A **hit** is one sample of one trial with all of its sites; hits of
different trials share batches. The sites of a hit that fall on one word become one change of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from injecttf2.evaluation.faults import Words
from injecttf2.faults import masks
from injecttf2.faults.fault_model import Fault, FaultedElements
from injecttf2.faults.listed import FromFaultList
from injecttf2.faults.masks import WordMasks
from injecttf2.protections import Protection, WordSites
from injecttf2.sampling import sites
from injecttf2.sampling.rates import DrawnRate
from injecttf2.sampling.sites import Sites, word_starts
from injecttf2.trial import OUTPUTS, Trial

Index = npt.NDArray[np.int64]

Values = Callable[[Index, Index], npt.NDArray[Any]]
"""Returns the values [sites] at some hits and elements, both int64 [sites]."""


@dataclass(frozen=True, eq=False)
class LayerHits:
    """The sites of some trials in one layer's outputs, in the order of trials, then of ``Sites``.

    Args:
        dtype: Of the layer's outputs.
        hit: int64 [sites], ascending: which of the hits each belongs to.
        element: int64 [sites].
        bit: int64 [sites], -1 where the fault has none.
        faults: Faults of consecutive trials, each with the end of its sites.
        draws: For each of these faults float64 [its sites, draws].
        corrected: bool [sites], those without effect; None where nothing corrects any.
    """

    dtype: str
    hit: Index
    element: Index
    bit: Index
    faults: tuple[tuple[Fault, int], ...]
    draws: tuple[npt.NDArray[np.float64], ...]
    corrected: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.hit)

    @property
    def needs_values(self) -> bool:
        """Whether the changes depend on the values that are hit."""
        return any(fault.needs_values for fault, _ in self.faults)

    def changes(self, values: npt.NDArray[Any] | None) -> WordMasks:
        """Return what happens at each site, from the values there where they are needed."""
        parts, start = [], 0
        for (fault, stop), draws in zip(self.faults, self.draws, strict=True):
            given = values[start:stop] if values is not None and fault.needs_values else None
            parts.append(
                fault.changes(FaultedElements(self.dtype, self.bit[start:stop], draws, given))
            )
            start = stop
        changes = parts[0] if len(parts) == 1 else masks.joined(parts)
        if self.corrected is None or not self.corrected.any():
            return changes
        return changes.but(self.corrected)

    def take(self, chosen: Index, place: Index) -> LayerHits:
        """Return some sites, ascending, whose hits are renumbered by ``place``."""
        stops = np.searchsorted(chosen, [stop for _, stop in self.faults])
        starts = [0, *(stop for _, stop in self.faults)]
        return LayerHits(
            self.dtype,
            place[self.hit[chosen]],
            self.element[chosen],
            self.bit[chosen],
            tuple((fault, int(stop)) for (fault, _), stop in zip(self.faults, stops, strict=True)),
            tuple(
                draws[chosen[first:last] - start]
                for draws, first, last, start in zip(
                    self.draws, [0, *stops[:-1]], stops, starts, strict=False
                )
            ),
            None if self.corrected is None else self.corrected[chosen],
        )


@dataclass(frozen=True, eq=False)
class Hits:
    """The hits of some trials, ascending by trial, then sample.

    Args:
        trial: int64 [hits], index into the trials.
        sample: int64 [hits], into the data set.
        layers: The sites in each layer that is hit.
        sites: int64 [trials], how many sites each trial has.
        detected: bool [hits], those that a protection stops; None where none can.
    """

    trial: Index
    sample: Index
    layers: tuple[LayerHits, ...]
    sites: Index
    detected: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.trial)

    def take(self, chosen: Index) -> Hits:
        """Return some of the hits, ascending; the numbers of sites stay those of all."""
        if len(chosen) == len(self):
            return self
        place = np.full(len(self), -1, np.int64)
        place[chosen] = np.arange(len(chosen))
        layers = tuple(one.take(np.flatnonzero(place[one.hit] >= 0), place) for one in self.layers)
        detected = None if self.detected is None else self.detected[chosen]
        return Hits(self.trial[chosen], self.sample[chosen], layers, self.sites, detected)

    def under(self, protection: Protection, layers: Sequence[str]) -> Hits:
        """Return the same under a protection.

        Args:
            protection: The protection.
            layers: Addresses of the layers.
        """
        detected = np.zeros(len(self), np.bool_)
        found = []
        for address, one in zip(layers, self.layers, strict=True):
            place = WordSites((address,), OUTPUTS, one.dtype, one.hit, one.element, one.bit)
            fates = protection.fates(place)
            if fates is not None:
                detected[one.hit[fates.detected]] = True
                one = replace(one, corrected=fates.corrected)
            found.append(one)
        return replace(self, layers=tuple(found), detected=detected)

    @property
    def alive(self) -> Index:
        """Those hits of which it is not known from the sites what becomes of them, ascending."""
        if self.detected is None:
            return np.arange(len(self))
        left = np.zeros(len(self), np.bool_)
        for one in self.layers:
            left[one.hit if one.corrected is None else one.hit[~one.corrected]] = True
        return np.flatnonzero(left & ~self.detected)


@dataclass(frozen=True, eq=False)
class Changed:
    """What happens at the sites of one layer.

    Args:
        words: The words that change, each once.
        of_site: int64 [sites], which of the words each site is in.
    """

    words: Words
    of_site: Index


def change(layer: LayerHits, values: npt.NDArray[Any] | None) -> Changed:
    """Return the words of a layer that change at some sites.

    Args:
        layer: The sites.
        values: [sites], the values there; None where no fault needs them.
    """
    starts = word_starts(layer.hit, layer.element)
    merged = masks.merged(layer.changes(values), starts)
    words = Words(
        layer.hit[starts].astype(np.int32), layer.element[starts].astype(np.int32), merged
    )
    of_site = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(layer)))
    return Changed(words, of_site)


def unchanged(layer: LayerHits) -> Changed:
    """Return the words of a layer at some sites, to be left as they are."""
    starts = word_starts(layer.hit, layer.element)
    words = Words(
        layer.hit[starts].astype(np.int32),
        layer.element[starts].astype(np.int32),
        masks.nothing(len(starts), layer.dtype),
    )
    return Changed(words, np.repeat(np.arange(len(starts)), np.diff(starts, append=len(layer))))


def draw_hits(trials: Sequence[Trial], layers: Sequence[tuple[int, str]], *, samples: int) -> Hits:
    """Draw the sites of some trials in outputs.

    Where several layers are hit together, each draws its own sites: the first with the trial's id
    as key, each further one with the counter of the generator moved on, see ``sites.stream``.

    Args:
        trials: Trials of the same layers.
        layers: Elements and dtype of each layer's output of one sample.
        samples: Samples in the data set.

    Raises:
        ValueError: A fault or a rate does not fit a layer.
    """
    drawn = [
        [_sites(trial, layer, stream, samples) for trial in trials]
        for stream, layer in enumerate(layers)
    ]
    keys = [_keys(parts, samples) for parts in drawn]
    hits = _hits(keys)
    faults = [trial.cell.fault for trial in trials]
    return Hits(
        trial=hits // samples,
        sample=hits % samples,
        layers=tuple(
            _layer_sites(parts, faults, dtype, _places(key, hits))
            for parts, key, (_, dtype) in zip(drawn, keys, layers, strict=True)
        ),
        sites=np.sum([[len(part) for part in parts] for parts in drawn], axis=0),
    )


def _sites(trial: Trial, layer: tuple[int, str], stream: int, samples: int) -> Sites:
    """Return the sites of a trial in one of its layers: as they are listed, or drawn."""
    rate, (elements, dtype) = trial.cell.rate, layer
    if isinstance(rate, FromFaultList):
        return rate.outputs[stream]
    choice = trial.cell.fault.choice(dtype)
    size = {"samples": samples, "elements": elements}
    if isinstance(rate, DrawnRate):
        return sites.draw_outputs(trial.key, rate, choice, **size, stream=stream)
    return sites.place_in_outputs(trial.repetition, choice, **size)


def _keys(parts: Sequence[Sites], samples: int) -> Index:
    """Return a number for the trial and sample of each site, int64 [sites], ascending."""
    sizes = [len(part) for part in parts]
    trial = np.repeat(np.arange(len(parts)), sizes)
    keys: Index = trial * samples + np.concatenate([part.sample for part in parts])
    return keys


def _hits(keys: Sequence[Index]) -> Index:
    """Return the different numbers among some that ascend, int64 [hits], ascending."""
    if len(keys) == 1:
        (only,) = keys
        new = np.diff(only, prepend=-1) > 0
        return only if new.all() else only[new]
    return np.unique(np.concatenate(keys))


def _places(keys: Index, hits: Index) -> Index:
    """Return which of the hits each key is."""
    return np.arange(len(keys)) if keys is hits else np.searchsorted(hits, keys)


def _layer_sites(
    parts: Sequence[Sites], faults: Sequence[Fault], dtype: str, hit: Index
) -> LayerHits:
    runs: list[tuple[Fault, int]] = []
    draws: list[list[npt.NDArray[np.float64]]] = []
    stop = 0
    for fault, part in zip(faults, parts, strict=True):
        stop += len(part)
        if runs and runs[-1][0] is fault:
            runs[-1] = (fault, stop)
            draws[-1].append(part.draws)
        else:
            runs.append((fault, stop))
            draws.append([part.draws])
    return LayerHits(
        dtype,
        hit,
        np.concatenate([part.element for part in parts]),
        np.concatenate([part.bit for part in parts]),
        tuple(runs),
        tuple(one[0] if len(one) == 1 else np.concatenate(one) for one in draws),
    )
