"""Which process this is, so that another on the same machine can tell that it has died."""

from __future__ import annotations

import os
from pathlib import Path


def this_instance() -> str:
    """Return what no other process has: the boot, the pid namespace, the pid and its start."""
    return f"{_machine()} {os.getpid()} {_start(os.getpid())}"


def is_dead(instance: str) -> bool:
    """Tell whether the process with that ``this_instance`` is known to have died.

    Of a process on another machine, or in another container, nothing is known.
    """
    machine, _, process = instance.rpartition(" ")[0].rpartition(" ")
    if not machine or machine != _machine() or not process.isdigit():
        return False
    return instance != f"{machine} {process} {_start(int(process))}"


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def _start(pid: int) -> str:
    """Return when the process began, in ticks since the boot; "" if there is none or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]
