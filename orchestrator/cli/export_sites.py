"""Writing the recorded sites of a run as a fault list, which another campaign can inject again."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from injecttf2.errors import CampaignError
from results import open_run

SUFFIXES = (".parquet", ".csv")


def export_sites(run: str, file: Path) -> int:
    """Write the recorded sites of a run, in the columns of ``fault_list_files.COLUMNS``.

    A flip or a stuck bit is written as such, so that another model's values get the same flip;
    any other fault as the value that it led to.

    Args:
        run: The run directory.
        file: What to write, a ``.parquet`` or ``.csv`` file; it must not be there yet.

    Returns:
        How many sites were written.

    Raises:
        ResultsError: There is no such run.
        CampaignError: The run did not record its sites, or the file cannot be written.
    """
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise CampaignError(
            f"received {file.name!r}; expected the name of a .parquet or .csv file", place=str(file)
        )
    opened = open_run(run)
    sites = opened.injections()
    if sites.empty:
        raise CampaignError(
            "the run holds no injected sites",
            place=opened.path,
            hint="run its campaign with `record: injections`, into another --output",
        )
    trials = opened.trials(["trial_id", "target", "fault", "parameters", "protection"])
    trials = trials[trials["protection"].isna()]  # the others have the same faults
    if trials.empty:
        raise CampaignError(
            "all trials of the run are under a protection, which a fault list does not hold",
            place=opened.path,
            hint="run its campaign with `none` among the protections",
        )
    listed = _listed(sites.merge(trials, on="trial_id"))
    table = _table(listed)
    try:
        with file.open("xb") as new:
            if suffix == ".csv":
                pyarrow.csv.write_csv(table, new)
            else:
                pyarrow.parquet.write_table(table, new, compression="zstd")
    except FileExistsError as error:
        raise CampaignError(
            "there is a file of that name already", place=str(file), hint="give another name"
        ) from error
    except OSError as error:
        raise CampaignError(
            f"the fault list cannot be written: {error.strerror}", place=str(file)
        ) from error
    return len(listed)


def _table(listed: pd.DataFrame) -> pa.Table:
    """Return a fault list for a file, in which a value that is NaN is one, and not missing."""
    table = pa.Table.from_pandas(listed, preserve_index=False)
    place = table.column_names.index("value")
    values = pa.array(listed["value"].to_numpy(), mask=listed["bit"].notna().to_numpy())
    return table.set_column(place, "value", values)


def _listed(sites: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a fault list."""
    flips = (sites["fault"] == "bit_flip") & sites["parameters"].isna()
    stuck = {
        f"stuck_at_{value}": (sites["fault"] == "stuck_at")
        & (sites["parameters"].astype(object) == f'{{"value":{value}}}')
        for value in (0, 1)
    }
    fault = pd.Series(pd.NA, sites.index, dtype="str").mask(flips, "bit_flip")
    for name, chosen in stuck.items():
        fault = fault.mask(chosen, name)
    by_bit = fault.notna() & sites["bit"].notna()
    weights = sites["target"] == "weights"
    listed = pd.DataFrame(
        {
            "trial": sites["trial_id"],
            "layer": sites["layer"].astype("str"),
            "variable": sites["variable"].astype("str"),
            "sample": sites["sample"].astype("Int64").mask(weights),
            "element": sites["element"],
            "bit": sites["bit"].mask(~by_bit),
            "fault": fault.mask(~by_bit),
            "value": sites["corrupted"].mask(by_bit),
        }
    )
    return listed.drop_duplicates()  # a site in weights has a row for each sample
