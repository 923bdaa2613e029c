"""Campaigns from Python: what the command line does, for scripts and notebooks."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from injecttf2.config.plain_values import plain_values
from injecttf2.errors import CampaignError
from injecttf2.levels import LEVELS, Level
from orchestrator.campaign.campaign import Campaign, load_campaign
from orchestrator.cli.console import messages, told_logs
from orchestrator.errors import StoppedError
from orchestrator.executors.run_options import RunOptions
from orchestrator.session.launch import launch
from orchestrator.session.listeners import Listener
from results import Run, open_run


def run(
    campaign: Campaign | str | Path | Mapping[str, Any],
    output: str | Path | None = None,
    *,
    executor: str = "auto",
    workers: int | None = None,
    cpus_per_worker: int = 1,
    gpus_per_worker: float | None = None,
    cpu_workers: int = 0,
    any_numerics: bool = False,
    address: str | None = None,
    levels: Sequence[Level] | None = None,
    retry_failed: bool = False,
    patience: float | None = None,
    listeners: Sequence[str | Listener] = (),
    quiet: bool = False,
) -> Run:
    """Run a campaign, or what is left of it, and return its results.

    Args:
        campaign: The campaign, from ``load_campaign`` or made here with the keys of the file;
            file paths are relative to the current folder then. Or its file, or those keys.
        output: The run directory, local or ``s3://``, ``gs://``, ``abfs://``; default
            ``runs/NAME``.
        executor: ``ray``, ``inline`` for this process, or ``auto``: Ray where its workers, one a
            core, are done sooner with their start, or where what is given here asks for it.
        workers: Workers to start; None for as many as fit.
        cpus_per_worker: CPUs of a worker.
        gpus_per_worker: GPUs of a worker, may be a fraction; None for one where there are any.
        cpu_workers: Workers without a GPU beside those with one.
        any_numerics: Whether to take workers that round otherwise than the others.
        address: Of an existing Ray cluster; None starts Ray on this machine.
        levels: Levels that may be used, ``drop`` and ``difference``, none of which changes an
            outcome; None takes the campaign's, an empty list is level ``dense``.
        retry_failed: Whether to try trials again that were given up on.
        patience: Seconds without any worker after which the run stops; None for 300, on a cluster
            1800.
        listeners: What follows the run: objects of ``Listener``, installed packages' names
            for one, or ``package.module:Class``.
        quiet: Whether to show no progress.

    Returns:
        The results; trials that were given up on are in its ``failures()``.

    Raises:
        UserError: The campaign, its model, its data or a listener is wrong.
        ResultsError: The run directory is another campaign's, in use, or cannot be written.
        ValueError: An argument is not one of those named.
        StoppedError: Not all is done: no worker could be had, or it was interrupted. The same call
            goes on.

    Examples:
        >>> from injecttf2 import Campaign, run
        >>> campaign = Campaign(
        ...     model="builtin:digits_cnn",
        ...     dataset={"source": "digits", "samples": 50},
        ...     grid={"layers": "dense", "bits": [23, 30], "probabilities": 1.0},
        ...     repetitions=2,
        ... )
        >>> small = run(campaign, "runs/small", executor="inline", quiet=True)
        >>> small.trials(["layer", "bit", "repetition", "injected"])
           layer  bit  repetition  injected
        0  dense   23           0        50
        1  dense   23           1        50
        2  dense   30           0        50
        3  dense   30           1        50
    """
    campaign = _campaign(campaign)
    workers, cpus_per_worker = plain_values([workers, cpus_per_worker])
    gpus_per_worker, chosen, patience = plain_values([gpus_per_worker, levels, patience])
    levels = cast("Sequence[Level] | None", [chosen] if isinstance(chosen, str) else chosen)
    counts = {"workers": 1 if workers is None else workers, "cpus_per_worker": cpus_per_worker}
    listeners = [listeners] if isinstance(listeners, str | Listener) else listeners
    _check(executor, levels, counts, listeners)
    options = RunOptions(
        str(output) if output is not None else f"runs/{campaign.name}",
        executor=executor,
        workers=workers,
        cpus=cpus_per_worker,
        gpus=gpus_per_worker,
        cpu_workers=cpu_workers,
        any_numerics=any_numerics,
        address=address,
        levels=None if levels is None else tuple(levels),
        retry_failed=retry_failed,
        patience=patience,
    )
    # A notebook would show a console of rich's whatever its file is.
    console = Console(file=io.StringIO(), force_jupyter=False) if quiet else messages()
    with nullcontext() if quiet else told_logs():
        summary = launch(campaign.located(), options, console, listeners)
    if summary.stopped is not None:
        raise StoppedError(
            f"{summary.done:,} of {summary.trials:,} trials are done: {summary.stopped}"
        )
    return open_run(options.output)


def _campaign(given: Any) -> Campaign:
    """Return the campaign that is given, by its file or by its keys.

    Raises:
        CampaignError: It is something else, or wrong.
    """
    if isinstance(given, Campaign):
        return given
    if isinstance(given, str | Path):
        return load_campaign(given)
    if isinstance(given, Mapping):
        return Campaign.model_validate(given)
    raise CampaignError(
        f"received {given!r}, expected a Campaign, the path of a campaign file, or a mapping with "
        "its keys",
        place="campaign",
    )


def _check(
    executor: str,
    levels: Sequence[str] | None,
    counts: Mapping[str, object],
    listeners: Sequence[object],
) -> None:
    """See that arguments are what the command line would take.

    Raises:
        ValueError: One is not.
    """
    if executor not in ("auto", "ray", "inline"):
        raise ValueError(f"executor is {executor!r}, expected 'auto', 'ray' or 'inline'")
    for level in levels or ():
        if level not in LEVELS:
            raise ValueError(f"levels names {level!r}, expected some of {', '.join(LEVELS)}")
    if others := [one for one in listeners if not isinstance(one, str | Listener)]:
        raise ValueError(f"listeners holds {others[0]!r}, expected names or objects of Listener")
    for name, count in counts.items():
        if type(count) is not int or count < 1:
            raise ValueError(
                f"{name} is {count!r}, expected 1 or more{', or None' * (name == 'workers')}"
            )
