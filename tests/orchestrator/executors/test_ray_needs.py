"""What is said where a Ray cannot start on this machine, or where what is joined is none."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from injecttf2.errors import CampaignError
from orchestrator.errors import StoppedError
from orchestrator.executors import ray_connection, ray_needs
from orchestrator.executors.ray_connection import Connection
from tests.orchestrator.conftest import Nodes

CHECK = """
import resource, sys
from orchestrator.errors import StoppedError
from orchestrator.executors.ray_needs import check_needs
try:
    check_needs()
except StoppedError as error:
    print(error)
"""

INLINE = "  or run with --executor inline, which needs no Ray\n"


def missing(*before: str) -> str:
    """Return what a process finds missing, started by a command."""
    done = subprocess.run(
        [*before, sys.executable, "-c", CHECK], capture_output=True, text=True, check=True
    )
    return done.stdout


ROOT = os.getuid() == 0 and not subprocess.run(["unshare", "--net", "--mount", "true"]).returncode

root = pytest.mark.skipif(not ROOT, reason="a namespace of its own is not allowed here")


def test_this_machine_lacks_nothing() -> None:
    assert missing() == ""


@root
def test_a_loopback_interface_that_is_down_is_named() -> None:
    assert missing("unshare", "--net") == (
        "Ray cannot start on this machine: it cannot reach itself at 127.0.0.1: Network is "
        f"unreachable\n  bring the loopback interface up (`ip link set lo up`)\n{INLINE}"
    )


@root
def test_shared_memory_that_cannot_be_written_to_is_named() -> None:
    mount = "mount --bind /dev/shm /dev/shm && mount -o remount,ro,bind /dev/shm"
    assert missing("unshare", "--mount", "sh", "-c", f'{mount} && "$@"', "sh") == (
        "Ray cannot start on this machine: /dev/shm cannot be written to: Read-only file system\n"
        f"  mount it so that this user can (a container: --shm-size)\n{INLINE}"
    )


def test_little_address_space_is_named() -> None:
    said = missing("sh", "-c", 'ulimit -v 3000000; exec "$@"', "sh")
    assert said.startswith(
        "Ray cannot start on this machine: a process may have 3.1 GB of address space, and needs "
    )
    assert said.endswith(f"\n  raise the limit (`ulimit -v unlimited`)\n{INLINE}")


def test_an_address_of_another_machine_that_this_ones_name_stands_for_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ray.util.get_node_ip_address", lambda: "192.0.2.1")  # RFC 5737
    with pytest.raises(StoppedError, match=r"reach itself at 192.0.2.1: .*\n  see what the mach"):
        ray_needs.check_needs()


@pytest.fixture(params=["is silent", "hangs up", "answers in HTTP/1.1"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of a server that is no Ray."""
    replies = {"hangs up": b"", "answers in HTTP/1.1": b"HTTP/1.1 400 Bad Request\r\n\r\n"}
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def serve() -> None:
            door = server.accept()[0]
            kept.append(door)
            if request.param in replies:
                door.recv(100)
                door.sendall(replies[request.param])
                door.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()
        for door in kept:
            door.close()


def test_a_port_that_is_no_ray_is_refused_at_once(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_connection, "REPLY_SECONDS", 0.5)
    began = time.monotonic()
    with pytest.raises(CampaignError) as caught:
        Connection(f"127.0.0.1:{port}")
    assert time.monotonic() - began < 10  # Ray's own client takes 40 s
    assert str(caught.value) == (
        f"--address: no Ray cluster answers at '127.0.0.1:{port}': something else than a head "
        "node of Ray listens there\n  expected HOST:PORT of a running head node, or auto on a "
        "machine of the cluster"
    )


def test_a_head_node_is_known_by_its_greeting(nodes: Nodes) -> None:
    host, _, port = nodes.address.rpartition(":")
    with socket.create_connection((host, int(port))) as door:
        assert ray_connection._greets(door)


def test_the_secret_of_an_address_is_not_told() -> None:
    with pytest.raises(CampaignError) as caught:
        Connection("ray://user:hidden@head:10001")
    assert "no Ray cluster answers at 'ray://head:10001': this is not HOST:PORT" in str(
        caught.value
    )
