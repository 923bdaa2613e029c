"""Workers as Ray actors. The only module that imports Ray.

Ray's servers listen on every interface and run whatever they are sent, so a Ray that is started
here takes only calls that carry a token, a random one that lives in this process's environment and
in those of its children. A cluster that is joined by address keeps the mode that its user has set.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from injecttf2.datasets import Dataset
from injecttf2.errors import CampaignError, InjectTF2Error
from injecttf2.models import Portable
from injecttf2.trials import Repetitions
from orchestrator.executors import Done, Executor, Failed, Lost, Reply, Started
from orchestrator.worker import Worker, WorkerSettings

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # uv would build each worker's environment anew
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

KNOCK_SECONDS = 5.0
"""Time that a cluster has to take up a connection."""

WORKER_BYTES = 2 * 2**30
"""Memory that a worker is expected to need at most; fewer workers start where it is short."""


@dataclass(frozen=True)
class Resources:
    """What to run on.

    Args:
        workers: Workers to start; None for as many as fit.
        cpus: CPUs a worker.
        gpus: GPUs a worker, may be a fraction; None for one where there are any, else none.
        address: Of an existing cluster; None starts Ray on this machine.
    """

    workers: int | None = None
    cpus: int = 1
    gpus: float | None = None
    address: str | None = None


class RayExecutor(Executor):
    """Ray actors, each with a model and an engine of its own.

    The model and the data are put into the object store once. Ray's own retries stay off: what is
    to be done about a failure is the scheduler's to decide.

    Args:
        settings: Settings of the workers; threads and GPU follow ``resources``.
        model: The model.
        dataset: The data.
        resources: What to run on.

    Raises:
        CampaignError: No cluster answers at the address, or it has not what is asked for.
    """

    def __init__(
        self, settings: WorkerSettings, model: Portable, dataset: Dataset, resources: Resources
    ) -> None:
        self._ray = _connect(resources)
        try:
            available = self._ray.cluster_resources()
            self._gpus = _gpus_per_worker(resources, available)
            self._workers = _worker_count(resources, self._gpus, available)
            self._actor_type = self._ray.remote(
                num_cpus=resources.cpus,
                num_gpus=self._gpus,
                max_restarts=0,
                max_task_retries=0,
                runtime_env={"env_vars": _worker_environment(resources.cpus, self._gpus)},
            )(Worker)
            self._settings = self._ray.put(
                replace(settings, threads=resources.cpus, gpu=self._gpus > 0)
            )
            self._model = self._ray.put(model)
            self._dataset = self._ray.put(dataset)
        except BaseException:
            self._ray.shutdown()
            raise
        self._actors: dict[int, Any] = {}
        self._calls: dict[Any, tuple[int, int | None]] = {}

    @property
    def workers(self) -> int:
        """Workers that were asked for, or that fit."""
        return self._workers

    def start_worker(self, worker: int) -> None:
        """Create an actor and have it load the model."""
        actor = self._actor_type.remote(self._settings)
        self._actors[worker] = actor
        self._calls[actor.start.remote(self._model, self._dataset)] = worker, None

    def submit(self, worker: int, chunk: int, runs: Sequence[Repetitions]) -> None:
        """Call the actor; its calls run one after another."""
        if worker not in self._actors:
            return  # it was lost in the same batch of replies; the scheduler hears of it next
        self._calls[self._actors[worker].evaluate.remote(list(runs))] = worker, chunk

    def replies(self, timeout: float) -> list[Reply]:
        """Wait for the first finished calls and collect all that are finished."""
        if not self._calls:
            return []
        finished, _ = self._ray.wait(list(self._calls), num_returns=1, timeout=timeout)
        if finished and len(self._calls) > 1:
            finished, _ = self._ray.wait(list(self._calls), num_returns=len(self._calls), timeout=0)
        replies = [self._reply(call) for call in finished if call in self._calls]
        return [reply for reply in replies if reply is not None]

    def close(self) -> None:
        """Kill the actors and leave Ray."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()
        self._calls.clear()
        self._ray.shutdown()

    def _reply(self, call: Any) -> Reply | None:
        worker, chunk = self._calls.pop(call)
        errors = self._ray.exceptions
        try:
            result = self._ray.get(call)
        except errors.RayTaskError as error:
            cause = error.cause
            message = f"{type(cause).__name__}: {cause}"
            ours = isinstance(cause, InjectTF2Error)
            if chunk is not None:
                return Failed(worker, chunk, message, str(error), hopeless=ours)
            if ours:
                raise cause from None
            return self._lose(worker, message)
        except errors.RayError as error:
            return self._lose(worker, f"{type(error).__name__}: {_first_sentence(error)}")
        return Started(worker, result) if chunk is None else Done(worker, chunk, result)

    def _lose(self, worker: int, message: str) -> Reply:
        """Forget a worker and the calls that it will not answer."""
        self._ray.kill(self._actors.pop(worker))
        self._calls = {call: what for call, what in self._calls.items() if what[0] != worker}
        return Lost(worker, message)


def _connect(resources: Resources) -> Any:
    """Join the cluster at the address, or start Ray on this machine, closed and quiet."""
    os.environ.update(QUIET)
    return _join(resources.address) if resources.address else _start(resources)


def _start(resources: Resources) -> Any:
    """Start Ray on this machine; only who has the token can talk to it."""
    os.environ["RAY_AUTH_MODE"] = "token"
    # Ray reads the token once in a process, so a second run there must find the first one's.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    import ray

    # Whoever asks for more workers than there are CPUs gets them.
    cpus = max(_cpus(), (resources.workers or 0) * resources.cpus)
    with _signals_later():
        ray.init(
            "local",
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
    return ray


def _join(address: str) -> Any:
    """Join a cluster; the user's environment says how it authenticates.

    Raises:
        CampaignError: No cluster answers.
    """
    _knock(address)
    import ray

    try:
        with _signals_later():
            ray.init(address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, OSError, ValueError, RuntimeError) as error:
        raise _no_cluster(address, error) from error
    return ray


@contextmanager
def _signals_later() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back: Ray crashes when it is interrupted while it starts."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread handles signals
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def _knock(address: str) -> None:
    """Check that something listens at HOST:PORT; Ray itself would try for many minutes.

    Raises:
        CampaignError: Nothing does, or the address has another form.
    """
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or "/" in host:
        raise _no_cluster(address, ValueError("this is not HOST:PORT"))
    try:
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> CampaignError:
    return CampaignError(
        f"no Ray cluster answers at {address!r}: {_first_sentence(error)}",
        place="--address",
        hint="expected HOST:PORT of a running head node, or auto on a machine of the cluster",
    )


def _cpus() -> int:
    """Return the processors that this process may use."""
    return len(os.sched_getaffinity(0))


def _gpus_per_worker(resources: Resources, available: Mapping[str, float]) -> float:
    if resources.gpus is not None:
        return resources.gpus
    return 1.0 if available.get("GPU", 0) >= 1 else 0.0


def _worker_count(resources: Resources, gpus: float, available: Mapping[str, float]) -> int:
    """Return how many workers were asked for, or fit by CPUs, GPUs and memory.

    Raises:
        CampaignError: Not even one fits.
    """
    fitting = int(available.get("CPU", 0) / resources.cpus)
    if gpus:
        fitting = min(fitting, int(available.get("GPU", 0) / gpus))
    if fitting < 1:
        has = ", ".join(f"{available.get(name, 0):g} {name}" for name in ("CPU", "GPU"))
        raise CampaignError(
            f"a worker needs {resources.cpus} CPU and {gpus:g} GPU; Ray has {has}",
            place="--cpus-per-worker, --gpus-per-worker",
            hint="ask for less a worker, or join a larger cluster with --address",
        )
    if resources.workers is not None:
        return resources.workers
    by_memory = int(available.get("memory", 0) + available.get("object_store_memory", 0))
    return max(1, min(fitting, by_memory // WORKER_BYTES))


def _worker_environment(cpus: int, gpus: float) -> dict[str, str]:
    environment = {
        "OMP_NUM_THREADS": str(cpus),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # A fresh gigabyte costs seconds in page faults of 4 KiB; with huge pages a tenth of that.
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        "MALLOC_ARENA_MAX": "2",  # each arena keeps what its threads have freed
    }
    if not gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return environment


def _first_sentence(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
