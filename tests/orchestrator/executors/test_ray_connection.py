"""Whether Ray is still there: one connection that fails is no proof."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.errors import StoppedError
from orchestrator.executors.ray_connection import Connection, _quiet_ray


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A connection to servers that take up connections, as Ray's head and raylet do."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as raylet:
        path = str(Path(folder) / "raylet")  # the path of a socket must be short
        raylet.bind(path)
        raylet.listen()
        with socket.create_server(("127.0.0.1", 0)) as head:
            worker = SimpleNamespace(node=SimpleNamespace(raylet_socket_name=path))
            context = SimpleNamespace(gcs_address=f"127.0.0.1:{head.getsockname()[1]}")
            made = Connection.__new__(Connection)
            made._next_look = 0.0
            made.ray = SimpleNamespace(
                _private=SimpleNamespace(worker=SimpleNamespace(global_worker=worker)),
                get_runtime_context=lambda: context,
            )
            yield made


@pytest.mark.parametrize("failing", [0, 1, 2, 3])
def test_ray_is_gone_after_three_looks_in_a_row(
    failing: int, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = socket.create_connection
    looks: list[int] = []

    def busy(*args: Any, **options: Any) -> socket.socket:
        looks.append(1)
        if len(looks) <= failing:
            raise TimeoutError("timed out")
        return connect(*args, **options)

    waits: list[float] = []
    monkeypatch.setattr(socket, "create_connection", busy)
    monkeypatch.setattr("time.sleep", waits.append)
    if failing < 3:
        connection.check()
    else:
        with pytest.raises(StoppedError, match=r"Ray is gone: 127.0.0.1:\d+ does not answer: time"):
            connection.check()
    assert len(looks) == min(failing + 1, 3)
    assert waits == [1.0] * (len(looks) - 1)
    connection.check()
    assert len(looks) == min(failing + 1, 3)  # the next look is not due yet


def test_a_cluster_is_told_the_command_line_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import ray

    monkeypatch.setattr(ray._private.utils, "get_entrypoint_name", None)
    monkeypatch.setattr(ray._private.worker, "print_to_stdstream", None)
    command = ["python", "run", "--output", "s3://key:hidden@bucket/run?region=hidden"]
    monkeypatch.setattr(sys, "orig_argv", command)
    _quiet_ray()
    assert ray._private.utils.get_entrypoint_name() == "python run --output s3://bucket/run"
