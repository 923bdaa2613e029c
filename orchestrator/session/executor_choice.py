"""Where workers run if nobody has said it: in this process, or as Ray actors.

Rows are the same. In this process there is nothing to start; Ray brings one worker a core, other
machines and GPUs. So Ray is taken where something asks for it, or where the work is done sooner by
several workers, their start included.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.executors.run_options import RunOptions
from orchestrator.planning.backlog import Backlog
from orchestrator.planning.estimate import START_SECONDS, evaluation_seconds
from orchestrator.planning.plan import Plan

OF_A_CLUSTER = ("RAY_JOB_ID", "RAY_ADDRESS")
"""Variables that Ray sets in its jobs, or a user for it: there is a cluster."""


def asked_of_ray(options: RunOptions, environment: Mapping[str, str], gpus: int) -> str | None:
    """Return what asks for Ray, whatever the work; None if nothing does.

    Args:
        options: How to run the campaign.
        environment: Of this process.
        gpus: GPUs of this machine, of which each Ray worker takes one.
    """
    if given := options.ray_options():
        return f"{', '.join(given)} given"
    for name in OF_A_CLUSTER:
        if environment.get(name):
            return f"{name} is set; `--address auto` joins that cluster"
    return "there is a GPU" if gpus else None


def by_work(plan: Plan, backlog: Backlog, options: RunOptions, cores: int) -> tuple[str, str]:
    """Return the executor for what is left of a plan, and why.

    Work of ``t`` seconds takes ``start + t / workers`` in Ray, which is less than ``t`` from
    ``start * workers / (workers - 1)`` on.

    Args:
        plan: The plan.
        backlog: What of it is left.
        options: How to run it.
        cores: Of this machine; Ray would have a worker on each.
    """
    levels = plan.campaign.levels if options.levels is None else options.levels
    seconds = evaluation_seconds(plan, backlog, levels=bool(levels))
    work, start = f"about {max(1.0, seconds):,.0f} s of work", START_SECONDS[1]
    if cores < 2:
        return "inline", f"{work}; with one core Ray is no sooner"
    sooner = start * cores / (cores - 1)
    reason = (
        f"{work}; with {cores} workers and up to {start:.0f} s to start, Ray is sooner from about "
        f"{sooner:.0f} s on"
    )
    return "inline" if seconds < sooner else "ray", reason
