"""Cells, trials and their identity.

A cell is one point of the grid, a trial one repetition of it. A trial's id is a digest of
everything that decides its result, so the same trial has the same id in every plan and in every
results row, and its id is also the key of its random draws (see ``sampling.sites``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from injecttf2.faults.fault_model import Fault
from injecttf2.protections import Protection
from injecttf2.sampling.rates import Rate

IDENTITY_VERSION = 1
"""Raised whenever the meaning of a trial changes, so that old and new rows never mix."""


@dataclass(frozen=True)
class Identity:
    """What all trials of a campaign share and what their results depend on.

    Args:
        model: Digest of the model's graph and weights, hexadecimal.
        data: Digest of the prepared inputs and labels, hexadecimal.
        seed: The campaign's seed.
        version: The meaning of a trial, ``IDENTITY_VERSION``.
        judge: What is asked of outputs, as ``Assessment.identity`` says it; empty for top-1.
        code: Digest of the user's own code of the model and of what is asked; empty for none.
    """

    model: str
    data: str
    seed: int
    version: int = IDENTITY_VERSION
    judge: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, as they stand in ``campaign.json``."""
        return {
            "version": self.version,
            "model": self.model,
            "data": self.data,
            "seed": self.seed,
            **self.judge,
            **({"code": self.code} if self.code else {}),
        }


OUTPUTS, WEIGHTS = TARGETS = ("outputs", "weights")
"""What a fault can be in: a layer's activations, or its variables."""

TOGETHER = " + "
"""What stands between the addresses of layers that are hit in the same trial."""


@dataclass(frozen=True)
class Scope:
    """What trials that are evaluated together corrupt.

    Args:
        layers: Addresses of the layers that are hit in the same trial, in the order of the model.
        target: ``outputs``, the layers' activations, or ``weights``.
        protection: What protects the model from it; None for nothing.
    """

    layers: tuple[str, ...]
    target: str = OUTPUTS
    protection: Protection | None = None

    @classmethod
    def of(cls, label: str, target: str = OUTPUTS) -> Scope:
        """Return the scope that a results row names so."""
        return cls(tuple(label.split(TOGETHER)), target)

    @property
    def label(self) -> str:
        """The layers as a results row names them."""
        return TOGETHER.join(self.layers)


@dataclass(frozen=True)
class Cell:
    """One point of the grid.

    Args:
        scope: What is corrupted.
        fault: What happens to the chosen elements.
        rate: How many sites a trial has, of layers that are hit together each; or the sites.
        variable: The weight variable; None for ``outputs``, and for all variables together.
        paired: Whether its trials share their draws with those of cells that differ in the fault or
            in the value of a probability; see :func:`pair_keys`.
    """

    scope: Scope
    fault: Fault
    rate: Rate
    variable: str | None = None
    paired: bool = False

    @property
    def layer(self) -> str:
        """The layers as a results row names them."""
        return self.scope.label

    @property
    def target(self) -> str:
        """``outputs``, the layers' activations, or their ``weights``."""
        return self.scope.target

    def to_dict(self) -> dict[str, Any]:
        """Return what decides the meaning of the cell, as plain values."""
        content: dict[str, Any] = {
            "layer": self.layer,
            "target": self.target,
            "fault": self.fault.name,
            "bit": self.fault.bit,
            "bit_field": self.fault.bit_field,
            self.rate.name: self.rate.value,
        }
        if parameters := self.fault.parameters():
            content["parameters"] = parameters
        if self.variable is not None:
            content["variable"] = self.variable
        if self.paired:
            content["paired"] = True
        if self.scope.protection is not None:
            content["protection"] = self.scope.protection.to_dict()
        return content

    @property
    def unprotected(self) -> Cell:
        """The same without a protection."""
        return replace(self, scope=replace(self.scope, protection=None))


@dataclass(frozen=True)
class Trial:
    """One repetition of a cell.

    Args:
        cell: The cell.
        repetition: From 0; at the rate ``exhaustive`` the number of the place that it hits.
        id: Digest of all that decides its result.
        pair: Key of its draws if it shares them with other trials; None where its id is the key.
        bare: Id of the trial of the same faults without its protection; None where it has none.
    """

    cell: Cell
    repetition: int
    id: int
    pair: int | None = None
    bare: int | None = None

    @property
    def key(self) -> int:
        """The key of its draws."""
        return self.id if self.pair is None else self.pair


@dataclass(frozen=True)
class CellTrials:
    """A run of consecutive repetitions of one cell: how trials travel.

    Args:
        cell: The cell.
        start: First repetition, from 0.
        stop: One past the last repetition.
    """

    cell: Cell
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def trials(self, identity: Identity) -> Iterator[Trial]:
        """Yield the trials in order, each with its id."""
        repetitions = range(self.start, self.stop)
        ids = trial_ids(identity, self.cell, repetitions).tolist()
        none: list[int | None] = [None] * len(self)
        bare = pairs = none
        if self.cell.scope.protection is not None:  # the same faults as without it
            bare = pairs = trial_ids(identity, self.cell.unprotected, repetitions).tolist()
        if self.cell.paired:
            pairs = pair_keys(identity, self.cell, repetitions).tolist()
        for repetition, *known in zip(repetitions, ids, pairs, bare, strict=True):
            yield Trial(self.cell, repetition, *known)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical_json(content: Mapping[str, Any]) -> bytes:
    """Return the one JSON text of ``content``: sorted keys, no spaces, UTF-8."""
    return _ENCODER.encode(content).encode()


def digest64(text: bytes) -> int:
    """Return the 64-bit blake2b digest of ``text`` as an unsigned integer, big-endian."""
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def cell_id(identity: Identity, cell: Cell) -> int:
    """Return the 64-bit id of a cell: all that decides its trials' results but the repetition."""
    return digest64(canonical_json({**identity.to_dict(), **cell.to_dict()}))


def trial_ids(identity: Identity, cell: Cell, repetitions: Iterable[int]) -> npt.NDArray[np.uint64]:
    """Return the ids of some repetitions of a cell.

    Returns:
        uint64 [n_repetitions].
    """
    return _as_numbers(_digests({**identity.to_dict(), **cell.to_dict()}, repetitions))


def pair_keys(identity: Identity, cell: Cell, repetitions: Iterable[int]) -> npt.NDArray[np.uint64]:
    """Return the keys of the draws of paired trials.

    The key leaves out the fault, so that all bits and faults have the same sites; the value of a
    probability, so that what is hit at a low one is hit at a higher one too; and the model, so that
    two versions of a model are compared at the same sites.

    Returns:
        uint64 [n_repetitions].
    """
    content: dict[str, Any] = {
        "paired": True,
        "data": identity.data,
        "seed": identity.seed,
        "layer": cell.layer,
        "target": cell.target,
        "variable": cell.variable,
        cell.rate.name: cell.rate.shared,
    }
    return _as_numbers(_digests(content, repetitions))


def run_ids(identity: Identity, runs: Iterable[CellTrials]) -> npt.NDArray[np.uint64]:
    """Return the ids of the trials of some runs, one after another.

    Returns:
        uint64 [n], n the length of all runs together.
    """
    common = identity.to_dict()
    digests = (
        _digests({**common, **run.cell.to_dict()}, range(run.start, run.stop)) for run in runs
    )
    return _as_numbers(b"".join(digests))


def _digests(content: Mapping[str, Any], repetitions: Iterable[int]) -> bytes:
    """Return the digests of some repetitions of what ``content`` describes, 8 bytes each.

    The canonical JSON of the trials of a cell differs in one number only: what stands before it
    is digested once.
    """
    head, tail = canonical_json({**content, "repetition": 0}).split(b'"repetition":0')
    begun = hashlib.blake2b(head + b'"repetition":', digest_size=8)
    digests = bytearray()
    for repetition in repetitions:
        digest = begun.copy()
        digest.update(b"%d%b" % (repetition, tail))
        digests += digest.digest()
    return bytes(digests)


def _as_numbers(digests: bytes) -> npt.NDArray[np.uint64]:
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)
