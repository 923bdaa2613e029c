"""How to run a campaign, from the command line or Python down to the executor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from injecttf2.levels import Level
from results.analysis.criticality import METRIC


@dataclass(frozen=True)
class RunOptions:
    """How to run a campaign; nothing here changes a result.

    Args:
        output: The run directory.
        executor: ``ray``, ``inline`` for this process, or ``auto`` for what is sooner done.
        workers: Workers to start; None for as many as fit.
        cpus: CPUs a worker.
        gpus: GPUs a worker, may be a fraction; None for one where there are any.
        cpu_workers: Workers without a GPU beside those with one.
        any_numerics: Whether to take workers of any class of numerics.
        address: Of an existing Ray cluster; None starts Ray on this machine.
        levels: Levels of ``levels.LEVELS`` that may be used; None takes the campaign's.
        retry_failed: Whether to try trials again that were given up on.
        patience: Seconds without any worker after which the run stops; None for
            ``launch.PATIENCE``, or ``launch.CLUSTER_PATIENCE`` on a cluster.
        metrics_port: Where to serve metrics for Prometheus, for a Ray on this machine.
        metric: What the answer is going to be ranked by.
        variables: Of the options that the environment gives, the variables, such as
            ``{"--address": "RAY_ADDRESS"}``; messages name these.
    """

    output: str
    executor: str = "auto"
    workers: int | None = None
    cpus: int = 1
    gpus: float | None = None
    cpu_workers: int = 0
    any_numerics: bool = False
    address: str | None = None
    levels: tuple[Level, ...] | None = None
    retry_failed: bool = False
    patience: float | None = None
    metrics_port: int | None = None
    metric: str = METRIC
    variables: Mapping[str, str] = field(default_factory=dict, compare=False)

    def named(self, option: str) -> str:
        """Return what gives an option: itself, or a variable."""
        return self.variables.get(option, option)

    def ray_options(self) -> list[str]:
        """Return the options given that only Ray has, as they were given."""
        values = {
            "--workers": self.workers,
            "--gpus-per-worker": self.gpus,
            "--cpu-workers": self.cpu_workers or None,
            "--patience": self.patience,
            "--address": self.address,
            "--metrics-port": self.metrics_port,
            "--cpus-per-worker": None if self.cpus == 1 else self.cpus,
        }
        return [self.named(name) for name, value in values.items() if value is not None]
