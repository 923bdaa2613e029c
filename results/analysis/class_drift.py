"""Which classes faulty predictions move to, from the recorded injections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from results.analysis.rate_estimates import trial_weights
from results.analysis.summary import without_protection
from results.analysis.trial_source import TrialSource, sites_of_cells
from results.errors import ResultsError

if TYPE_CHECKING:
    import pandas as pd


def class_drift(run: TrialSource) -> pd.DataFrame:
    """Return how often each class was taken for which; see ``Run.class_drift``."""
    rows = recorded(run)
    if rows["golden_class"].isna().all():
        raise ResultsError(
            "the recorded injections have no classes, expected those of a model that classifies",
            place=run.path,
            hint="Choose a judge that tells classes, such as top1.",
        )
    # A sample with several sites has a row for each.
    sdc = rows[rows["outcome"] == "sdc"].drop_duplicates(["trial_id", "sample"])
    trials = run.trials(["trial_id", "cell_id", "sampling"])
    weights = trials[["trial_id"]].assign(weight=trial_weights(trials, sites_of_cells(run)))
    weighted = sdc.merge(weights, on="trial_id", how="left")
    pairs = weighted.groupby(["golden_class", "faulty_class"])
    drift = pairs["weight"].agg(count="size", share="sum").reset_index()
    drift["share"] /= drift.groupby("golden_class")["share"].transform("sum")
    return drift


def recorded(run: TrialSource) -> pd.DataFrame:
    """Return the recorded injections of a run, those without a protection where it has some.

    Raises:
        ResultsError: There are none, or they are of several protections.
    """
    injections = run.injections()
    trials = run.trials(["trial_id", "protection"])
    kept = without_protection(trials, run.path)
    if len(kept) < len(trials):
        injections = injections[injections["trial_id"].isin(kept["trial_id"])]
    if len(injections) == 0 and run.header.campaign.get("record") == "injections":
        raise ResultsError(
            "no injections were recorded: no finished trial has hit anything",
            place=run.path,
            hint="Take higher rates, more repetitions, or wait for more trials.",
        )
    if len(injections) == 0:
        raise ResultsError(
            "no injections were recorded, expected a row for each injected site",
            place=run.path,
            hint="Add `record: injections` to the campaign and run it into another --output.",
        )
    return injections
