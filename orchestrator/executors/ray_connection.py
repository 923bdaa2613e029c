"""Starting Ray on this machine, or joining a cluster: who may talk to it, and what it prints.

Ray's servers listen on every interface and run whatever they are sent. So the mode of
authentication is set on every path, never left to what an earlier command has set:

- A Ray that is started here takes only calls that carry a token, a random one that lives in this
  process's environment and in those of its children; nothing is written. Its sockets lie in a
  folder of its own, which no other user may enter.
- A cluster that is joined is joined with the token that the user's environment or ``~/.ray`` holds,
  and without authentication where there is none.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from injecttf2.device import cores
from injecttf2.errors import CampaignError
from orchestrator.errors import StoppedError
from orchestrator.executors.ray_folder import RAY, WITHOUT_RAY, hold, private_folder, remove
from orchestrator.signals import stop_signals
from results.shown import shown_address, without_secrets

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # uv would build each worker's environment anew
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

logger = logging.getLogger(__name__)

METRICS = "RAY_enable_metrics_collection"
MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"

ADDRESS = "--address"
"""The option of the address."""

KNOCK_SECONDS = 5.0
"""Time that a cluster has to take up a connection."""

REPLY_SECONDS = 10.0
"""Time that what listens there has to say something: a reply over a slow network takes one."""

GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How HTTP/2 begins (RFC 9113, 3.4): the preface, and a frame of settings without any."""

SETTINGS = 4
"""The type of a frame of settings: the first that a server sends."""

LOOK_SECONDS = 5.0
"""Between two looks whether Ray is there."""

LOOKS = 3
"""Looks in a row that must fail before Ray counts as gone: a head that is busy may miss one."""

AGAIN_SECONDS = 1.0
"""Before a look that failed is repeated."""


class Connection:
    """A connection to Ray; the environment is as it was before once it is closed.

    Args:
        address: Of an existing cluster; None starts Ray on this machine.
        place: What gives the address.
        cpus: Logical CPUs of a Ray that is started here; no fewer than there are.
        metrics_port: Where a Ray that is started here serves Prometheus; None for nowhere.

    Attributes:
        ray: The module, connected.

    Raises:
        CampaignError: No cluster answers, it refuses, or metrics cannot be served.
        StoppedError: Ray cannot start on this machine.
    """

    def __init__(
        self,
        address: str | None,
        *,
        place: str = ADDRESS,
        cpus: int = 0,
        metrics_port: int | None = None,
    ) -> None:
        self._before = dict(os.environ)
        self._folder: Path | None = None
        self._held: int | None = None
        self._next_look = 0.0
        try:
            if address:
                self.ray = _join(address, place)
            else:
                self._folder = private_folder(os.environ)
                self._held = hold(self._folder)
                self.ray = _start(max(cores(), cpus), metrics_port, self._folder)
        except BaseException:
            self._end()
            raise

    def check(self) -> None:
        """Look whether Ray's head and this machine's part of it are still there.

        Ray itself tries for a minute and then ends this process, and what it has not published.

        Raises:
            StoppedError: They are not, ``LOOKS`` times in a row.
        """
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_SECONDS
        for _ in range(LOOKS - 1):
            if self._look() is None:
                return
            time.sleep(AGAIN_SECONDS)
        if (error := self._look()) is not None:
            address = self.ray.get_runtime_context().gcs_address
            raise StoppedError(f"Ray is gone: {address} does not answer: {error}") from error

    def _look(self) -> OSError | None:
        """Return why they do not answer, None if they do."""
        node = self.ray._private.worker.global_worker.node
        host, _, port = self.ray.get_runtime_context().gcs_address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()
            with socket.socket(socket.AF_UNIX) as raylet:
                raylet.connect(node.raylet_socket_name)
        except OSError as error:
            return error
        return None

    def close(self) -> None:
        """Leave Ray; one that was started here ends."""
        self._end()

    def _end(self) -> None:
        if "ray" in sys.modules:
            import ray

            ray.shutdown()
        if self._folder is not None:
            remove(self._folder)
        if self._held is not None:
            os.close(self._held)
            self._held = None
        for name in (*QUIET, MODE, TOKEN, METRICS):
            os.environ.pop(name, None)
            if name in self._before:
                os.environ[name] = self._before[name]


def authentication(environment: Mapping[str, str], home: Path) -> str:
    """Return the mode in which a cluster is joined: the user's, or by whether there is a token.

    Args:
        environment: The user's.
        home: Folder in which Ray keeps its default token.
    """
    if environment.get(MODE):
        return environment[MODE]
    known = environment.get(TOKEN) or environment.get(TOKEN_PATH)
    return "token" if known or (home / ".ray" / "auth_token").exists() else "disabled"


def reread_environment() -> None:
    """Have Ray take mode and token as they are now; it reads them once, when it is imported."""
    import ray

    ray._raylet.Config.initialize("")
    ray._raylet.AuthenticationTokenLoader.instance().reset_cache()


def _start(cpus: int, metrics_port: int | None, folder: Path) -> Any:
    """Start Ray on this machine; only who has the token can talk to it.

    Raises:
        StoppedError: It cannot start.
    """
    if metrics_port is not None and importlib.util.find_spec("opencensus") is None:
        raise CampaignError(
            "metrics need Ray's agent, which is not installed",
            place="--metrics-port",
            hint="pip install 'injecttf2[cluster]'",
        )
    os.environ.update(QUIET)
    os.environ[METRICS] = "0" if metrics_port is None else "1"
    os.environ[MODE] = "token"
    os.environ[TOKEN] = secrets.token_hex(32)
    ray = _quiet_ray()
    from orchestrator.executors.ray_needs import check_needs

    check_needs()
    try:
        with _signals_later():
            ray.init(
                "local",
                num_cpus=cpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                _metrics_export_port=metrics_port,
                job_config=_job(ray),
                _temp_dir=str(folder / RAY),
            )
    except Exception as error:
        raise StoppedError(
            f"Ray cannot start on this machine: {first_sentence(error)}\n"
            "  see that there is memory, and that /dev/shm can be written to and has room, "
            f"or {WITHOUT_RAY}"
        ) from error
    return ray


def _join(address: str, place: str) -> Any:
    """Join a cluster.

    Raises:
        CampaignError: No cluster answers, or it refuses.
    """
    knock(address, place)
    os.environ.update(QUIET)
    os.environ[MODE] = authentication(os.environ, Path.home())
    ray = _quiet_ray()
    try:
        if address != "auto":
            ray._raylet.GcsClient(address)  # it says at once what `init` says after many tries
        with _signals_later():
            ray.init(address, job_config=_job(ray), log_to_driver=False, logging_level="ERROR")
    except ray.exceptions.AuthenticationError as error:
        raise CampaignError(
            f"the cluster at {shown_address(address)!r} takes calls with its token only",
            place=place,
            hint=f"set {MODE}=token, and {TOKEN} or {TOKEN_PATH} to the cluster's token",
        ) from error
    except (ray.exceptions.RpcError, OSError, ValueError, RuntimeError) as error:
        raise _no_cluster(address, place, error) from error
    return ray


def _job(ray: Any) -> Any:
    """Return Ray's description of a job whose workers import nothing from the driver's folders.

    Ray puts the current folder, and that of the driver's script, in front of their path, where a
    file of any name stands in for a module. What a campaign names travels with its trials. Only
    for a job that brings a folder of its own does Ray leave both out; no option says so.
    """
    job = ray.job_config.JobConfig()
    job._runtime_env_has_working_dir = lambda: True
    return job


def _quiet_ray() -> Any:
    """Return the module; what it prints about lost workers goes to the log.

    It would go to the standard output, which belongs to ``--json``, and no option of Ray's keeps
    it from there. Nor is there one for the command line, which Ray tells whoever sees the cluster.
    """
    import ray

    reread_environment()
    command = without_secrets(" ".join(sys.orig_argv))
    ray._private.utils.get_entrypoint_name = lambda: command
    ray._private.worker.print_to_stdstream = lambda data, **_: logger.debug("%s", data["lines"])
    return ray


@contextmanager
def _signals_later() -> Iterator[None]:
    """Hold signals to stop back: Ray crashes when it is interrupted while it starts.

    Ray takes SIGTERM over while it starts, and exits on it with a code of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread handles signals
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in stop_signals()
    }
    try:
        yield
    except SystemExit:
        came.append(signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def knock(address: str, place: str = ADDRESS) -> None:
    """Check that something like Ray listens at HOST:PORT; Ray itself would try for many minutes.

    Args:
        address: The address; nothing is known of ``auto``.
        place: What gives it.

    Raises:
        CampaignError: Nothing does, or something else, or the address has another form.
    """
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or "/" in host:
        raise _no_cluster(address, place, ValueError("this is not HOST:PORT"))
    try:
        with socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS) as door:
            if os.environ.get("RAY_USE_TLS", "0") not in ("0", "") or _greets(door):
                return
    except (OSError, OverflowError, UnicodeError) as error:
        raise _no_cluster(address, place, error) from error
    other = ValueError("something else than a head node of Ray listens there")
    raise _no_cluster(address, place, other)


def _greets(door: socket.socket) -> bool:
    """Tell whether what listens speaks HTTP/2, as Ray's head does."""
    door.settimeout(REPLY_SECONDS)
    frame = b""
    try:
        door.sendall(GREETING)
        while len(frame) <= 3 and (more := door.recv(9)):
            frame += more
    except OSError:  # it has closed the connection, or says nothing
        return False
    return frame[3:4] == bytes((SETTINGS,))


def _no_cluster(address: str, place: str, error: Exception) -> CampaignError:
    return CampaignError(
        f"no Ray cluster answers at {shown_address(address)!r}: {first_sentence(error)}",
        place=place,
        hint="expected HOST:PORT of a running head node, or auto on a machine of the cluster",
    )


def first_sentence(error: BaseException) -> str:
    """Return the first line of what an error says, or its type."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
