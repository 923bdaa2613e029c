"""A run's outcomes held beside those that others published for the same faults."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from results.analysis.paired import paired_differences
from results.analysis.summary import CRITICAL
from results.analysis.trial_source import TrialSource
from results.errors import ResultsError
from results.statistics.clusters import cluster_wilson

if TYPE_CHECKING:
    import pandas as pd

FROM_SHARE = 0.01
"""Published share of critical predictions from which faults are correlated: below it a share is a
few images of thousands."""

_COUNTED = ("critical", "masked", "non_critical")
_NEEDED = ["layer", "bit", "listed_as", "trial_id", "injected", *CRITICAL]


def fault_label(layer: str, index: str, bit: int) -> str:
    """Return what a list of SFI calls a fault: ``conv1 (3, 0, 2, 1) 15``."""
    return f"{layer} ({', '.join(re.findall('[0-9]+', index))}) {bit}"


@dataclass(frozen=True, eq=False)
class PublishedComparison:
    """Critical predictions of a run beside the published ones.

    Critical is a changed argmax, NaN and Inf included: ``sdc + due_changed`` of a run. Both rates
    are means over faults. ``rate``, ``low`` and ``high`` are the run's, with the interval of
    ``cluster_wilson``, in which the fault is the unit; ``published`` is the published mean;
    ``difference`` is the run's less the published, with ``difference_low`` and
    ``difference_high``, Student's t over the faults, as ``paired_differences`` gives it: NaN where
    fewer than ``paired.MIN_PAIRS`` faults are critical for any image. These intervals are about
    faults; that a run has other images, or fewer, is not in them.

    Args:
        faults: One row a fault of both, in the order of the file: ``fault`` (what the list calls
            it), ``layer``, ``bit``, ``trial_id``, ``injected``, ``rate``, ``images``,
            ``published``, ``difference``.
        by_bit: One row a bit, the most significant first: ``bit``, ``faults`` and the rates.
        by_layer: One row a layer, in the order of the file.
        total: One row, all faults.
        correlation: Pearson's, between the rates of the faults of which at least ``FROM_SHARE`` is
            published; NaN for fewer than two.
        correlated: How many faults these are.
        only_published: How many faults of the file the run does not have.
        only_run: How many listed faults of the run the file does not have.
    """

    faults: pd.DataFrame
    by_bit: pd.DataFrame
    by_layer: pd.DataFrame
    total: pd.DataFrame
    correlation: float
    correlated: int
    only_published: int
    only_run: int

    def __str__(self) -> str:
        """Return the tables by bit and layer in per cent, and what they are of."""
        tables = "\n\n".join(_shown(table) for table in (self.by_bit, self.by_layer, self.total))
        left = [
            f"faults only in the {where}: {count:,}"
            for count, where in (
                (self.only_published, "file"),
                (self.only_run, "run"),
            )
            if count
        ]
        return (
            f"Critical predictions (sdc + due_changed) in %, and the published.\n\n{tables}\n\n"
            f"correlation over the {self.correlated:,} faults of {FROM_SHARE:.0%} and more: "
            f"{self.correlation:.4f}{''.join('; ' + one for one in left)}"
        )


def compare_published(
    run: TrialSource, file: str | Path, confidence: float = 0.95
) -> PublishedComparison:
    """Return a run of a fault list beside the outcomes that were published with it.

    Args:
        run: A run whose campaign has the list as its ``sites``.
        file: CSV with the faults and, for each, the predictions that were ``critical``, and all:
            ``n_injections``, or ``masked`` and ``non_critical`` beside. The faults are told as in
            the list: by ``Layer``, ``TensorIndex`` and ``Bit`` as SFI does, or by ``trial`` (the
            row's number without it), ``layer`` and ``bit``.
        confidence: Two-sided confidence level of the intervals.

    Raises:
        ResultsError: The file cannot be read or lacks a column, no fault of it is in the run, or a
            fault of the same name has another layer or bit there.
        ValueError: ``confidence`` is out of range.
    """
    published = _read(Path(file))
    trials = run.trials(_NEEDED)
    listed = trials[trials["listed_as"].notna()].astype({"listed_as": str, "layer": str})
    both = published.merge(listed, left_on="fault", right_on="listed_as", suffixes=("_told", ""))
    if both.empty:
        raise ResultsError(
            f"none of the {len(published):,} faults is among the {len(listed):,} of the run that "
            "come from a fault list",
            place=str(file),
            hint="the campaign has to have this list as its `sites`",
        )
    _check_same(both, file)
    faults = both.assign(
        hits=both[list(CRITICAL)].sum(axis=1), published=both["critical"] / both["images"]
    )
    faults["rate"] = faults["hits"] / faults["injected"]
    faults["difference"] = faults["rate"] - faults["published"]
    named = ["fault", "layer", "bit", "trial_id", "injected", "rate", "images", "published"]
    many = faults[faults["published"] >= FROM_SHARE]
    by_bit = _rated(faults, "bit", confidence)
    return PublishedComparison(
        faults=faults[[*named, "difference"]],
        by_bit=by_bit.sort_values("bit", ascending=False, ignore_index=True),
        by_layer=_rated(faults, "layer", confidence),
        total=_rated(faults.assign(all="all"), "all", confidence),
        correlation=float(many["rate"].corr(many["published"])),
        correlated=len(many),
        only_published=len(published) - len(both),
        only_run=len(listed) - len(both),
    )


def _read(file: Path) -> pd.DataFrame:
    """Read ``fault``, ``layer_told``, ``bit_told``, ``critical`` and ``images`` of each fault.

    Layers are None for a list of SFI, which has other names for them.
    """
    import pandas as pd

    try:
        given = pd.read_csv(
            file, sep=None, engine="python", encoding="utf-8-sig", skipinitialspace=True
        )
    except (OSError, ValueError, csv.Error) as error:  # ValueError: also of the encoding
        raise ResultsError(f"the file cannot be read: {error}", place=str(file)) from error
    given.columns = given.columns.str.strip().str.lower()
    is_sfi = "tensorindex" in given.columns
    told = ["layer", "tensorindex", "bit"] if is_sfi else ["layer", "bit"]
    counted = ["n_injections"] if "n_injections" in given.columns else list(_COUNTED[1:])
    missing = [name for name in [*told, "critical", *counted] if name not in given.columns]
    if missing:
        raise ResultsError(
            f"the file has the columns {', '.join(given.columns)}, and not {', '.join(missing)}",
            place=str(file),
            hint="expected the faults, by Layer, TensorIndex and Bit or by layer, bit and trial, "
            "and critical with n_injections, or with masked and non_critical",
        )
    labels: Any = given["trial"] if "trial" in given.columns else given.index
    if is_sfi:
        labels = [fault_label(*row) for row in zip(*(given[name] for name in told), strict=True)]
    images = given[counted].sum(axis=1) + (0 if len(counted) == 1 else given["critical"])
    found = pd.DataFrame(
        {
            "fault": [str(label) for label in labels],
            "layer_told": None if is_sfi else given["layer"],
            "bit_told": given["bit"],
            "critical": given["critical"],
            "images": images,
        }
    )
    return found.drop_duplicates("fault", ignore_index=True)


def _check_same(both: pd.DataFrame, file: str | Path) -> None:
    """See that faults of the same name are the same, where names are numbers."""
    wrong = both["bit_told"] != both["bit"].astype(np.float64)
    wrong |= both["layer_told"].notna() & (both["layer_told"] != both["layer"])
    if wrong.any():
        row = both[wrong].iloc[0]
        raise ResultsError(
            f"the fault {row['fault']} is in {row['layer_told']!r}, bit {row['bit_told']}, and in "
            f"{row['layer']!r}, bit {row['bit']}, of the run",
            place=str(file),
            hint="the campaign has to have this list as its `sites`",
        )


def _rated(faults: pd.DataFrame, by: str, confidence: float) -> pd.DataFrame:
    """Return the rates of groups of faults, a mean over the faults of each."""
    import pandas as pd

    rows = []
    for name, mine in faults.groupby(by, sort=False, observed=True):
        hits, published = (mine[name].to_numpy(np.float64) for name in ("hits", "critical"))
        injected, images = (mine[name].to_numpy(np.float64) for name in ("injected", "images"))
        low, high = cluster_wilson(
            len(mine), injected.sum(), hits.sum(), (hits**2).sum(), confidence
        )
        told, _, is_enough = paired_differences(
            (published[np.newaxis], hits[np.newaxis]),
            (images[np.newaxis], injected[np.newaxis]),
            confidence,
        )
        below, above = (told[end][0] if is_enough[0] else np.nan for end in ("low", "high"))
        rows.append(
            {
                by: name,
                "faults": len(mine),
                "rate": told["rate_b"][0],
                "low": float(low),
                "high": float(high),
                "published": told["rate_a"][0],
                "difference": told["difference"][0],
                "difference_low": below,
                "difference_high": above,
            }
        )
    return pd.DataFrame(rows)


def _shown(table: pd.DataFrame) -> str:
    rates = ["rate", "low", "high", "published", "difference", "difference_low", "difference_high"]
    shown = table.assign(**{name: 100 * table[name] for name in rates})
    return shown.to_string(index=False, float_format="{:.4f}".format, na_rep="-")
