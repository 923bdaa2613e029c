"""A worker: the model and the engine in a process, evaluating chunks of trials."""

from __future__ import annotations

import datetime
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from injecttf2 import device
from injecttf2.datasets import Dataset
from injecttf2.engine import GOLDEN_BYTES, Engine
from injecttf2.errors import EngineError, InjectTF2Error, ModelError, todo, told
from injecttf2.evaluation.golden_cache import CacheUse
from injecttf2.evaluation.numerics import kernels_digest, numerics
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.judging import Assessment
from injecttf2.judging.registry import AssessmentSpec
from injecttf2.levels import LEVELS
from injecttf2.models.digest import model_digest
from injecttf2.models.portable import PortableModel
from injecttf2.trial import CellTrials, Identity
from orchestrator.executors import result_rows


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker needs to know beside the model and the data.

    Args:
        identity: What the ids of trials are made from.
        record: Whether to return a row for each injected site.
        threads: Operations, and batches, that may run at a time.
        gpu: Whether to use a GPU where there is one.
        memory: Bytes of golden activations to keep on the device.
        levels: Levels of ``levels.LEVELS`` that may be used.
        assessment: What is asked of outputs; None for top-1 alone.
        output: Key or address of the output that is judged, where the model has several.
    """

    identity: Identity
    record: bool = False
    threads: int = 1
    gpu: bool = True
    memory: int = GOLDEN_BYTES
    levels: tuple[str, ...] = LEVELS
    assessment: AssessmentSpec | None = None
    output: str | None = None


@dataclass(frozen=True)
class Ready:
    """A worker's first words.

    Args:
        name: Host and process id.
        device: What trials run on.
        golden: Metrics of the golden run, equal on every worker.
        numerics: The class of numerics; see ``injecttf2.evaluation.numerics``.
    """

    name: str
    device: str
    golden: dict[str, Any]
    numerics: dict[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class ChunkResult:
    """The rows of a chunk.

    Args:
        trials: One row for each trial.
        injections: One row for each site, where they are recorded.
        injected: Samples that were injected, in all trials together.
        reevaluated: Those of them that a faster level left to level ``dense``.
        seconds: Time of the evaluation.
        preparation: Time before it to prepare the layer, above all when it is another than before.
        golden_use: How often golden data were in place for it or had to be computed.
    """

    trials: pa.Table
    injections: pa.Table | None
    injected: int
    reevaluated: int
    seconds: float
    preparation: float
    golden_use: CacheUse


class Worker:
    """Evaluates chunks with a model of its own; nothing is loaded before :meth:`start`."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._assessment = Assessment()
        self._name = f"{socket.gethostname()}:{os.getpid()}"

    def start(self, model: PortableModel, dataset: Dataset) -> Ready:
        """Load TensorFlow and the model, and do the golden run.

        Raises:
            EngineError: The model built here is another than the one that the plan was made for.
            UserError: The model or the data cannot be used.
            Exception: Elsewhere, or later, the worker may start; see :func:`is_transient`.
        """
        try:
            return self._start(model, dataset)
        except InjectTF2Error:
            raise
        except Exception as error:
            if is_transient(error):
                raise
            raise ModelError(
                f"the model cannot be run on the data: {told(error)}",
                place=model.name,
                hint=todo(error),
            ) from error

    def _start(self, model: PortableModel, dataset: Dataset) -> Ready:
        settings = self._settings
        used = device.configure(threads=settings.threads, gpu=settings.gpu)
        if settings.assessment is not None:
            self._assessment = settings.assessment.build()
            if self._assessment.identity() != settings.identity.judge:
                raise EngineError(
                    f"the judge, a metric or a criterion is another on the worker {self._name} "
                    "than in the driver; let its module, not a program that imports it, set the "
                    "values that it uses"
                )
        built = model.build()  # last of what loads code of the user's: it sets Keras up
        graph = ModelGraph.of(built, dataset.inputs, output=settings.output)
        if model_digest(built, graph) != settings.identity.model:
            raise EngineError(
                f"the worker {self._name} built another model than the driver from "
                f"{model.name!r}; a function must return the same layers every time"
            )
        self._engine = Engine(
            graph,
            dataset,
            memory=settings.memory,
            levels=settings.levels,
            assessment=self._assessment,
        )
        golden = self._engine.golden
        return Ready(
            self._name,
            used,
            {
                "accuracy": golden.accuracy,
                "correct": golden.correct,
                "samples": len(dataset),
                "decisions": golden.decisions,
                "chance": golden.chance,
                "at_chance": golden.at_chance,
                "device": used,
            },
            numerics(used, kernels_digest(), golden),
        )

    def evaluate(self, runs: Sequence[CellTrials]) -> ChunkResult:
        """Evaluate the trials of one layer."""
        identity, engine = self._settings.identity, self._engine
        trials = [trial for run in runs for trial in run.trials(identity)]
        use = replace(engine.golden_use)
        start = time.perf_counter()
        prepared = engine.prepare(trials[0].cell.scope)
        reevaluated = prepared.reevaluated
        begin = time.perf_counter()
        evaluation = prepared.evaluate(trials, record=self._settings.record)
        seconds = time.perf_counter() - begin
        table = result_rows.trials_table(
            trials,
            evaluation,
            measured=result_rows.Measured(
                layers=prepared.infos,
                dtypes=prepared.dtypes,
                identity=identity,
                samples=len(engine.dataset),
                golden_accuracy=engine.golden.accuracy,
                columns=self._assessment.columns,
            ),
            source=result_rows.Source(self._name, seconds, datetime.datetime.now(datetime.UTC)),
        )
        injections = None
        if evaluation.injections is not None:
            layers = prepared.scope.layers
            injections = result_rows.injections_table(trials, evaluation.injections, layers=layers)
        injected = int(evaluation.tallies.injected.sum())
        reevaluated = prepared.reevaluated - reevaluated
        use = CacheUse(engine.golden_use.hits - use.hits, engine.golden_use.computed - use.computed)
        return ChunkResult(
            table,
            injections,
            injected=injected,
            reevaluated=reevaluated,
            seconds=seconds,
            preparation=begin - start,
            golden_use=use,
        )


def is_transient(error: Exception) -> bool:
    """Return whether a machine or a device is short of something or broken, whatever the model."""
    import tensorflow as tf

    errors = tf.errors.ResourceExhaustedError, tf.errors.InternalError, tf.errors.UnavailableError
    return isinstance(error, (MemoryError, OSError, *errors))
