"""Workers as Ray actors."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from injecttf2.datasets import Dataset
from injecttf2.errors import CampaignError, InjectTF2Error, UserError, told
from injecttf2.models.portable import PortableModel
from injecttf2.trial import CellTrials
from orchestrator.executors.executor import Executor
from orchestrator.executors.ray_connection import Connection
from orchestrator.executors.run_options import RunOptions
from orchestrator.executors.worker import Worker, WorkerSettings
from orchestrator.scheduling.events import (
    ChunkDone,
    ChunkFailed,
    WorkerEvent,
    WorkerLost,
    WorkerPlaced,
    WorkerReady,
)

FETCH_SECONDS = 60.0
"""Time that the answer to a finished call has to arrive."""

WORKER_BYTES = 2 * 2**30
"""Memory that a worker is expected to need at most; fewer workers start where it is short."""


PLACE, START = "place", "start"
"""What a call is for that does not evaluate a chunk."""


class RayWorker(Worker):
    """A worker that can tell its machine."""

    def machine(self) -> str:
        """Return the id of the Ray node that the worker runs on."""
        import ray

        node: str = ray.get_runtime_context().get_node_id()
        return node


@dataclass(frozen=True)
class _Kind:
    """Workers that are alike.

    Args:
        wanted: How many are to run.
        actor: Ray's remote class.
        settings: Reference to their settings.
    """

    wanted: int
    actor: Any
    settings: Any


class RayExecutor(Executor):
    """Ray actors, each with a model and an engine of its own.

    The model and the data are put into the object store once, from where each machine fetches them
    once. Ray's own retries stay off: what is to be done about a failure is the scheduler's to
    decide. A worker that does not fit any machine yet waits for one: a cluster that grows by
    demand sees it.

    Args:
        settings: Settings of the workers; threads and GPU follow ``options``.
        model: The model.
        dataset: The data.
        options: What to run on.
        worker: What actors are made of.

    Raises:
        CampaignError: No cluster answers at the address, or it has not what is asked for.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        model: PortableModel,
        dataset: Dataset,
        options: RunOptions,
        worker: type[RayWorker] = RayWorker,
    ) -> None:
        self._worker = worker
        # Whoever asks for more workers than there are CPUs gets them.
        asked = (options.workers or 0) + options.cpu_workers
        self._connection = Connection(
            options.address,
            place=options.named("--address"),
            cpus=asked * options.cpus,
            metrics_port=options.metrics_port,
        )
        self._ray = self._connection.ray
        try:
            available = self._ray.cluster_resources()
            gpus = _gpus_per_worker(options, available)
            count = _worker_count(options, gpus, available)
            self._kinds = [self._kind(count, settings, options.cpus, gpus)]
            if options.cpu_workers:
                self._kinds.append(self._kind(options.cpu_workers, settings, options.cpus, 0.0))
            self._model = self._ray.put(model)
            self._dataset = self._ray.put(dataset)
        except BaseException:
            self._connection.close()
            raise
        self._actors: dict[int, tuple[_Kind, Any]] = {}
        self._machines: dict[int, str] = {}
        self._any_started = False
        self._calls: dict[Any, tuple[int, int | str]] = {}

    @property
    def workers(self) -> int:
        """Workers that were asked for, or that fit."""
        return sum(kind.wanted for kind in self._kinds)

    def start_worker(self, worker: int) -> None:
        """Create an actor, of the kind that most are missing of, and have it load the model."""
        having = [kind for kind, _ in self._actors.values()]
        kind = max(self._kinds, key=lambda kind: kind.wanted - having.count(kind))
        actor = kind.actor.remote(kind.settings)
        self._actors[worker] = kind, actor
        self._calls[actor.machine.remote()] = worker, PLACE
        self._calls[actor.start.remote(self._model, self._dataset)] = worker, START

    def stop_worker(self, worker: int) -> None:
        """Kill an actor and forget the calls that it will not answer."""
        if worker not in self._actors:
            return  # it was lost in the same batch of events
        _, actor = self._actors.pop(worker)
        self._ray.kill(actor)
        self._machines.pop(worker, None)
        self._calls = {call: what for call, what in self._calls.items() if what[0] != worker}

    def submit(self, worker: int, chunk: int, runs: Sequence[CellTrials]) -> None:
        """Call the actor; its calls run one after another."""
        if worker not in self._actors:
            return  # it was lost in the same batch of events; the scheduler hears of it next
        _, actor = self._actors[worker]
        self._calls[actor.evaluate.remote(list(runs))] = worker, chunk

    def events(self, timeout: float) -> list[WorkerEvent]:
        """Wait for the first finished calls and collect all that are finished.

        Raises:
            StoppedError: Ray itself is gone.
        """
        self._connection.check()
        calls = list(self._calls)
        if not calls:
            time.sleep(timeout)  # a worker is to be started again, but not yet
            return []
        finished, _ = self._ray.wait(calls, num_returns=1, timeout=timeout)
        if finished and len(calls) > 1:
            finished, _ = self._ray.wait(calls, num_returns=len(calls), timeout=0)
        events = [self._event(call) for call in finished]
        return [event for event in events if event is not None]

    def close(self) -> None:
        """Kill the actors and leave Ray."""
        for _, actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()
        self._calls.clear()
        self._connection.close()

    def _kind(self, wanted: int, settings: WorkerSettings, cpus: int, gpus: float) -> _Kind:
        actor = self._ray.remote(
            num_cpus=cpus,
            num_gpus=gpus,
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": _worker_environment(cpus, gpus)},
        )(self._worker)
        return _Kind(wanted, actor, self._ray.put(replace(settings, threads=cpus, gpu=gpus > 0)))

    def _event(self, call: Any) -> WorkerEvent | None:
        if call not in self._calls:
            return None  # its worker was lost in the same batch of events
        worker, what = self._calls.pop(call)
        try:
            result = self._ray.get(call, timeout=FETCH_SECONDS)
        except self._ray.exceptions.RayTaskError as error:
            return self._raised(worker, what, error.cause, str(error))
        except self._ray.exceptions.UnserializableException as error:
            return self._raised(worker, what, error, str(error))
        except self._ray.exceptions.RayError as error:
            return self._lost(worker, error)
        if what == PLACE:
            self._machines[worker] = result
            return WorkerPlaced(worker)
        if what == START:
            self._any_started = True
            return WorkerReady(worker, result.device, result)
        return ChunkDone(worker, int(what), result.seconds, result)

    def _raised(
        self, worker: int, what: int | str, cause: Exception, traceback: str
    ) -> WorkerEvent:
        """Return the event of a call that raised an exception; the worker goes on if it can.

        In place of an exception that cannot be pickled, or not be made again from what was pickled,
        comes one of Ray's; the traceback ends with what it was.
        """
        message = told(cause)
        if isinstance(cause, self._ray.exceptions.RayError):
            message = traceback.strip().splitlines()[-1]
        if not isinstance(what, str):
            hopeless = isinstance(cause, UserError)
            return ChunkFailed(worker, what, message, traceback, hopeless)
        if isinstance(cause, InjectTF2Error) and not self._any_started:
            raise cause from None  # the model or the data, not the machine
        self.stop_worker(worker)
        return WorkerLost(worker, message)

    def _lost(self, worker: int, error: Exception) -> WorkerEvent:
        """Return that a worker is gone, and whether its machine is to blame.

        A process that ends while its machine goes on is always reported as dead; whatever else
        comes, a closed connection or an answer that is lost, comes from the machine.
        """
        died = isinstance(error, self._ray.exceptions.ActorDiedError)
        killed = isinstance(error, self._ray.exceptions.OutOfMemoryError)
        machine_gone = died and not self._is_up(self._machines.get(worker))
        blameless = machine_gone or not (died or killed)
        message = f"{type(error).__name__}: {_reason(error)}"
        self.stop_worker(worker)
        return WorkerLost(worker, message, blameless=blameless)

    def _is_up(self, machine: str | None) -> bool:
        """Tell whether a machine is part of the cluster, or not known."""
        nodes = self._ray.nodes()
        return machine is None or any(n["NodeID"] == machine and n["Alive"] for n in nodes)


def _gpus_per_worker(options: RunOptions, available: Mapping[str, float]) -> float:
    if options.gpus is not None:
        return options.gpus
    return 1.0 if available.get("GPU", 0) >= 1 else 0.0


def _worker_count(options: RunOptions, gpus: float, available: Mapping[str, float]) -> int:
    """Return how many workers were asked for, or fit by CPUs, GPUs and memory.

    A cluster that is joined may grow: who asks it for a number of workers gets them once they fit.

    Raises:
        CampaignError: Not even one fits.
    """
    if options.cpu_workers and not gpus:
        raise CampaignError(
            "the other workers have no GPU either",
            place="--cpu-workers",
            hint="say how many workers to start with --workers",
        )
    if options.address and options.workers is not None:
        return options.workers
    fitting = int(available.get("CPU", 0) / options.cpus)
    if gpus:
        fitting = min(fitting, int(available.get("GPU", 0) / gpus))
    if fitting < 1:
        has = ", ".join(f"{available.get(name, 0):g} {name}" for name in ("CPU", "GPU"))
        raise CampaignError(
            f"a worker needs {options.cpus} CPU and {gpus:g} GPU; Ray has {has}",
            place="--cpus-per-worker, --gpus-per-worker",
            hint="ask for less a worker, or join a larger cluster with --address",
        )
    if options.workers is not None:
        return options.workers
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


def _reason(error: Exception) -> str:
    """Return why an actor died in one line.

    Ray says more: which actor, and a list of guesses; or where in its constructor it failed, of
    which the last line tells what.
    """
    lines = str(error).strip().splitlines() or [""]
    telling = [line for line in lines if line.startswith("The actor is dead because")]
    return (telling or lines)[-1].partition(" Some common causes")[0].strip()
