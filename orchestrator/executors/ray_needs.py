"""What a Ray on this machine cannot do without, looked at before it is started.

Ray itself tries for minutes, or aborts the process, and does not say what is missing.
"""

from __future__ import annotations

import resource
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import ray

from orchestrator.errors import StoppedError
from orchestrator.executors.ray_folder import WITHOUT_RAY

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a file without a name is made there
"""Where Ray keeps its objects; a system may have none."""

BESIDE_OBJECTS = 3 * 2**30
"""Bytes of address space that a process needs beside Ray's objects: for Python and TensorFlow."""

LOOPBACK = "127.0.0.1"

TALK_SECONDS = 5.0
"""Time that this machine has to take up a connection of its own."""


def check_needs() -> None:
    """See that a Ray can start on this machine.

    Raises:
        StoppedError: It cannot; all that is missing, and what to do.
    """
    if missing := [*_addresses(), *_shared_memory(), *_address_space()]:
        raise StoppedError(
            f"Ray cannot start on this machine: {'; '.join(missing)}\n  or {WITHOUT_RAY}"
        )


def _addresses() -> Iterator[str]:
    """Yield which of its own addresses this machine cannot reach, and what to do."""
    if reason := _unreachable(LOOPBACK):
        yield f"{reason}\n  bring the loopback interface up (`ip link set lo up`)"
    elif reason := _unreachable(ray.util.get_node_ip_address()):
        yield f"{reason}\n  see what the machine's name stands for in /etc/hosts, and its firewall"


def _unreachable(host: str) -> str | None:
    """Return why this machine cannot reach an address of its own; None if it can."""
    try:
        with socket.create_server((host, 0)) as server:
            socket.create_connection(server.getsockname(), timeout=TALK_SECONDS).close()
    except OSError as error:
        return f"it cannot reach itself at {host}: {error.strerror or error}"
    return None


def _shared_memory() -> Iterator[str]:
    """Yield why no file can be made in shared memory."""
    if not Path(SHARED_MEMORY).is_dir():
        return
    try:
        with tempfile.TemporaryFile(dir=SHARED_MEMORY):
            return
    except OSError as error:
        yield (
            f"{SHARED_MEMORY} cannot be written to: {error.strerror}\n"
            f"  mount it so that this user can (a container: --shm-size)"
        )


def _address_space() -> Iterator[str]:
    """Yield how much less address space a process may have than Ray's objects need in it."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return
    memory = ray._private.utils.estimate_available_memory()
    need = ray._private.utils.resolve_object_store_memory(memory) + BESIDE_OBJECTS
    if limit < need:
        yield (
            f"a process may have {limit / 1e9:.1f} GB of address space, and needs "
            f"{need / 1e9:.1f} GB, since it sees all of Ray's objects\n"
            "  raise the limit (`ulimit -v unlimited`)"
        )
