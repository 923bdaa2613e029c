"""Every file name of a run directory, relative to it. No other module spells one.

    campaign.json                            what was asked for, and from what
    lock                                     held by the process that writes
    lock/1f2e3d4c5b6a7988.json               the same on object storage: a writer's claim
    trials/part-000001-1f2e3d4c-DIGEST.parquet      published rows; the same sequence number and
    injections/part-000001-1f2e3d4c-DIGEST.parquet  token name the parts that were flushed together
    failures/20261123T063000.123456Z-1f2e3d4c.json  trials that were given up on together
    events/20261123T063000.123456Z-1f2e3d4c.jsonl   what a writer did: one file a writer
    heartbeat.json                           what the writer does now
    compacting.json                          parts that are being merged into one
    report.html                              made from all of these; may be deleted

A name with a leading dot is not part of the results: pyarrow, pandas and DuckDB pass over it.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

CAMPAIGN = "campaign.json"
LOCK = "lock"
TRIALS = "trials"
INJECTIONS = "injections"
FAILURES = "failures"
EVENTS = "events"
HEARTBEAT = "heartbeat.json"
COMPACTING = "compacting.json"
REPORT = "report.html"

_TOP = {CAMPAIGN, LOCK, TRIALS, INJECTIONS, FAILURES, EVENTS, HEARTBEAT, COMPACTING, REPORT}
_PART = re.compile(r"\.?part-(\d{6,})-[0-9a-f]{8}(-[0-9a-f]{32})?\.parquet(\.torn)?")
_DIGEST = re.compile(r"part-.+-([0-9a-f]{32})\.parquet")
_FAILURES = re.compile(r"(\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8}|\d+)\.json")
_CLAIM = re.compile(r"lock/[0-9a-f]{16}\.json")
_ASIDE = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


def part(folder: str, sequence: int, token: str, digest: str) -> str:
    """Return the name of a part.

    Args:
        folder: ``TRIALS`` or ``INJECTIONS``.
        sequence: Its sequence number.
        token: 8 random hexadecimal digits.
        digest: The 32 hexadecimal digits of ``digest_of`` its contents.
    """
    return f"{folder}/part-{sequence:06d}-{token}-{digest}.parquet"


def digest_of(contents: bytes) -> str:
    """Return what a part's name says of its contents: their blake2b digest of 128 bits, in hex."""
    return hashlib.blake2b(contents, digest_size=16).hexdigest()


def told_digest(name: str) -> str | None:
    """Return the digest that the name of a part tells; None if it tells none.

    Parts had none in their names before version 0.3.
    """
    match = _DIGEST.fullmatch(name.rpartition("/")[2])
    return match[1] if match else None


def flushed_with(name: str) -> str:
    """Return what the parts that were flushed together have in common: number and token."""
    digest = told_digest(name)
    stem = name.rpartition("/")[2].removesuffix(".parquet")
    return stem.removesuffix(f"-{digest}") if digest else stem


def failures(at: datetime, token: str) -> str:
    """Return the name of a file that tells why trials were given up on; ``at`` is in UTC."""
    return f"{FAILURES}/{at:%Y%m%dT%H%M%S.%f}Z-{token}.json"


def events(begin: datetime, token: str) -> str:
    """Return the name of a writer's event log; such names sort by ``begin``, a time in UTC."""
    return f"{EVENTS}/{begin:%Y%m%dT%H%M%S.%f}Z-{token}.jsonl"


def aside(name: str, token: str) -> str:
    """Return the name under which the file ``name`` is written before it is published."""
    return _hidden(name, f".{token}.tmp")


def torn(name: str) -> str:
    """Return the name under which a file that cannot be read is kept."""
    return _hidden(name, ".torn")


def claim(token: str) -> str:
    """Return the name of a writer's claim; ``token`` is 16 random hexadecimal digits."""
    return f"{LOCK}/{token}.json"


def is_claim(name: str) -> bool:
    """Tell whether ``name`` is that of a writer's claim."""
    return _CLAIM.fullmatch(name) is not None


def is_part(file: str) -> bool:
    """Tell whether ``file``, a name within its folder, is a published part."""
    return file.startswith("part-") and file.endswith(".parquet")


def is_failures(file: str) -> bool:
    """Tell whether ``file``, a name within its folder, records failures.

    Earlier versions wrote a file for each trial, named after it.
    """
    return _FAILURES.fullmatch(file) is not None


def is_events(file: str) -> bool:
    """Tell whether ``file``, a name within its folder, is an event log."""
    return not file.startswith(".") and file.endswith(".jsonl")


def is_top(file: str) -> bool:
    """Tell whether ``file``, a name in the run directory itself, is one that a run leaves there."""
    return file in _TOP or file == torn(CAMPAIGN) or is_aside(file)


def is_aside(file: str) -> bool:
    """Tell whether ``file``, a name within its folder, was left by a writer that was killed."""
    return _ASIDE.fullmatch(file) is not None


def next_sequence(files: Iterable[str]) -> int:
    """Return a sequence number above those of all parts in ``files``, torn ones included."""
    matches = (_PART.fullmatch(file) for file in files)
    return 1 + max((int(match[1]) for match in matches if match), default=0)


def _hidden(name: str, suffix: str) -> str:
    folder, _, file = name.rpartition("/")
    return f"{folder}/.{file}{suffix}" if folder else f".{file}{suffix}"
