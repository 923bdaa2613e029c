"""A run's outcomes held beside those that others published for the same faults."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from results.analysis.paired import paired_differences
from results.analysis.summary import CRITICAL, without_protection
from results.analysis.trial_source import TrialSource
from results.delimited import column_name, read_delimited, row_place
from results.errors import ResultsError
from results.statistics.clusters import cluster_wilson

if TYPE_CHECKING:
    import pandas as pd

FROM_SHARE = 0.01
"""Published share of critical predictions from which faults are correlated: below it a share is a
few images of thousands."""

PLACE = ("layer", "variable", "sample", "element", "bit")
"""Columns of a fault list that tell a fault without a name."""

_NAMES = (
    *PLACE,
    *("trial", "tensorindex"),
    *("n_injections", "masked", "non_critical", "critical"),
)
_NEEDED = ["layer", "bit", "listed_as", "protection", "trial_id", "injected", *CRITICAL]


def fault_label(layer: str, index: str, bit: int) -> str:
    """Return what a list of SFI calls a fault: ``conv1 (3, 0, 2, 1) 15``."""
    return f"{layer.strip()} ({', '.join(re.findall('[0-9]+', index))}) {bit}"


def place_labels(rows: pd.DataFrame) -> list[str]:
    """Return what the faults of rows are called that have no name: ``conv1 kernel 339 15``.

    Args:
        rows: The columns ``PLACE``, as far as the list has them; null or -1 is nothing.
    """
    words = [rows[name].tolist() for name in PLACE if name in rows]
    return [
        " ".join(str(word) for word in row if word == word and word not in (None, -1))
        for row in zip(*words, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class PublishedComparison:
    """Critical predictions of a run beside the published ones; ``compare`` makes it.

    Critical is a changed argmax, NaN and Inf included: ``sdc + due_changed`` of a run. Both rates
    are means over faults. ``rate``, ``low`` and ``high`` are the run's, with the interval of
    ``cluster_wilson``, in which the fault is the unit; ``published`` is the published mean;
    ``difference`` is the run's less the published, with ``difference_low`` and
    ``difference_high``, Student's t over the faults: NaN where fewer than 10 faults are critical
    for any image. These intervals are about faults; that a run has other images, or fewer, is not
    in them. Printed, it is the tables by bit and by layer, in per cent.

    Args:
        faults: One row a fault of both, in the order of the file: ``fault`` (what the list calls
            it), ``layer``, ``bit``, ``trial_id``, ``injected``, ``rate``, ``images``,
            ``published``, ``difference``.
        by_bit: One row a bit, the most significant first: ``bit``, ``faults`` and the rates.
        by_layer: One row a layer, in the order of the file.
        total: One row, all faults.
        correlation: Pearson's, between the rates of the faults whose published share is 1 % or
            more; NaN for fewer than two.
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
            the list: by ``Layer``, ``TensorIndex`` and ``Bit`` as SFI does, or by ``layer``,
            ``bit`` and ``trial``, without which by ``variable`` and ``element`` too.
        confidence: Two-sided confidence level of the intervals.

    Raises:
        ResultsError: The file cannot be read or lacks a column, no fault of it is in the run, or a
            fault of the same name has another layer or bit there.
        ValueError: ``confidence`` is out of range.
    """
    published = _read(Path(file))
    trials = without_protection(run.trials(_NEEDED), run.path)
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
    import pyarrow as pa

    try:
        read = read_delimited(file, _NAMES)
    except (OSError, UnicodeError, pa.ArrowException) as error:
        what = str(error).splitlines()[0]
        raise ResultsError(f"the file cannot be read: {what}", place=str(file)) from error
    names = [column_name(head) for head in read.cells.column_names]
    given = pd.DataFrame(
        {
            name: column.to_pandas().str.strip()
            for name, column in zip(names, read.cells.columns, strict=True)
            if name in _NAMES
        }
    )
    given = given[given.notna().any(axis=1)]
    is_sfi = "tensorindex" in given
    told = ["layer", "tensorindex", "bit"] if is_sfi else ["layer", "bit"]
    told += [] if is_sfi or "trial" in given else ["element"]
    counted = ["n_injections"] if "n_injections" in given else ["masked", "non_critical"]
    missing = [name for name in (*told, "critical", *counted) if name not in given]
    if missing:
        raise ResultsError(
            f"the file has the columns {', '.join(names)}, and not {', '.join(missing)}",
            place=str(file),
            hint="expected the faults, by Layer, TensorIndex and Bit, or by layer, bit and trial "
            "or element; and critical with n_injections, or with masked and non_critical",
        )
    for name in (*told, *(["trial"] if "trial" in given else [])):
        _refuse(given[name].isna(), file, f"received no {name}; expected one in every row")
    whole = ["bit", "critical", *counted]
    whole += [name for name in ("sample", "element") if name in given and name in told]
    numbers = {name: _whole_numbers(given[name], file) for name in whole}
    images = sum(numbers[name] for name in counted)
    images = images if len(counted) == 1 else images + numbers["critical"]
    found = pd.DataFrame(
        {
            "fault": _labels(given.assign(**numbers), is_sfi=is_sfi),
            "layer_told": None if is_sfi else given["layer"],
            "bit_told": numbers["bit"],
            "critical": numbers["critical"],
            "images": images,
        },
        index=given.index,
    )
    over = (found["critical"] > found["images"]) | (found["images"] == 0)
    _refuse(over, file, "received more critical predictions than there are, or no prediction")
    found = found.drop_duplicates()
    again = found["fault"].duplicated()
    _refuse(again, file, "the fault is there before, with other outcomes")
    return found.reset_index(drop=True)


def _labels(given: pd.DataFrame, *, is_sfi: bool) -> list[str]:
    """Return what the list calls each fault, as a run of it has it in ``listed_as``."""
    if is_sfi:
        columns = (given[name] for name in ("layer", "tensorindex", "bit"))
        return [fault_label(*row) for row in zip(*columns, strict=True)]
    if "trial" in given:
        return given["trial"].tolist()
    return place_labels(given)


def _whole_numbers(texts: pd.Series[Any], file: Path) -> pd.Series[int]:
    """Return a column of whole numbers from 0, each of which has to be there."""
    import pandas as pd

    numbers = pd.to_numeric(texts, errors="coerce")
    wrong = ~(numbers >= 0) | (numbers != numbers.round()) | (numbers >= 2**53)
    _refuse(wrong, file, f"the {texts.name} is no whole number from 0")
    return numbers.astype(np.int64)


def _refuse(wrong: pd.Series[bool], file: Path, message: str) -> None:
    """Refuse the first of the rows that are wrong."""
    if wrong.any():
        row = int(wrong.index[int(wrong.to_numpy(np.bool_).argmax())])
        raise ResultsError(message, place=row_place(file, row))


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
