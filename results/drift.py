"""Which classes faulty predictions move to, from the recorded injections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from results.errors import ResultsError

if TYPE_CHECKING:
    import pandas as pd

    from results.answers import Answers


def class_drift(run: Answers) -> pd.DataFrame:
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
    keys = ["golden_class", "faulty_class"]
    drift = sdc.groupby(keys).size().rename("count").reset_index()
    share = drift["count"] / drift.groupby("golden_class")["count"].transform("sum")
    return drift.assign(share=share.astype("float64"))


def recorded(run: Answers) -> pd.DataFrame:
    """Return the recorded injections of a run.

    Raises:
        ResultsError: There are none.
    """
    injections = run.injections()
    if len(injections) == 0:
        raise ResultsError(
            "no injections were recorded, expected a row for each injected site",
            place=run.path,
            hint="Add `record: injections` to the campaign and run it into another --output.",
        )
    return injections
