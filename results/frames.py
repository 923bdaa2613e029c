"""From Arrow tables to pandas frames that are the same however the rows came to be written."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

IN_A_LAYER = (
    "target",
    "variable",
    "fault",
    "parameters",
    "bit_field",
    "bit",
    "probability",
    "count",
    "ber",
    "protection",
)
"""Columns that tell the cells of a layer apart, in grid order."""

TRIAL_ORDER = ("layer_index", *IN_A_LAYER, "repetition", "trial_id")
"""The columns that trials are sorted by: cells in grid order, their repetitions together."""

INJECTION_ORDER = ("trial_id", "sample", "layer", "variable", "element", "bit")
"""The columns that injections are sorted by."""

MOST_TOLD = 50
"""Names that a message lists; trials have fewer columns."""


def trials_frame(table: pa.Table) -> pd.DataFrame:
    """Return trials with one row an id, sorted by ``TRIAL_ORDER``, index 0 and up.

    Args:
        table: Trials; it has at least ``layer`` and the columns of ``TRIAL_ORDER``.
    """
    frame = to_frame(table)
    first = first_occurrences(frame["trial_id"].to_numpy())
    if len(first) < len(frame):
        frame = frame.iloc[first]
    in_model_order = (
        frame[["layer", "layer_index"]].drop_duplicates().sort_values(["layer_index", "layer"])
    )
    categories = in_model_order["layer"].drop_duplicates().tolist()
    frame["layer"] = frame["layer"].cat.set_categories(categories)
    return frame.sort_values(list(TRIAL_ORDER), ignore_index=True)


def injections_frame(table: pa.Table) -> pd.DataFrame:
    """Return injections without repeated rows, sorted by ``INJECTION_ORDER``, index 0 and up."""
    frame = to_frame(table).drop_duplicates()
    return frame.sort_values(list(INJECTION_ORDER), ignore_index=True)


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Return ``table`` as a frame with the dtypes that its schema calls for.

    Nullable integers become pandas' nullable integers, strings categories in alphabetical order,
    whatever the order in which they were written.
    """
    import pandas as pd

    nullable = {
        pa.int16(): pd.Int16Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.uint64(): pd.UInt64Dtype(),
    }
    table = table.unify_dictionaries()
    columns = {}
    for field in table.schema:
        mapper = nullable.get if field.nullable else None
        column = table.select([field.name]).to_pandas(types_mapper=mapper)[field.name]
        if pa.types.is_dictionary(field.type):
            column = column.cat.set_categories(sorted(column.cat.categories))
            column = column.cat.remove_unused_categories()
        columns[field.name] = column
    return pd.DataFrame(columns)


def first_occurrences(ids: npt.NDArray[np.uint64]) -> npt.NDArray[np.intp]:
    """Return the positions, ascending, at which each of ``ids``, uint64 [n], appears first."""
    _, first = np.unique(ids, return_index=True)
    return np.sort(first)


def differing(frame: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Return those of ``columns`` that have more than one value; null is one."""
    return [name for name in columns if frame[name].nunique(dropna=False) > 1]


def check_columns(names: Sequence[str], valid: Sequence[str], argument: str) -> None:
    """Check that every name is valid.

    Raises:
        ValueError: One is not; the message says which are, the nearest first. Of very many it says
            those that are near.
    """
    for name in names:
        if name not in valid:
            near = get_close_matches(str(name), valid)
            told = near if near and len(valid) > MOST_TOLD else dict.fromkeys([*near, *valid])
            raise ValueError(f"{argument} names {name!r}, expected one of: {', '.join(told)}.")
