"""What the places, faults and rates of a run are called in figures and in the report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from results.run_folder.schema import RATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

PLACE = ("layer", "target", "variable", "fault", "parameters", "protection")
"""Columns that tell where trials inject, which fault and under what, but not bit and rate."""

UNPROTECTED = "no protection"
"""What stands for no protection beside the names of others."""

_USUAL = {"target": "outputs", "fault": "bit_flip"}


def fault_label(fault: str, parameters: object) -> str:
    """Return a fault with its parameters: ``stuck_at value=0``.

    Args:
        fault: Name of the fault model.
        parameters: The column ``parameters``: JSON, or a null. The digests among them are left
            out, which no user has given.
    """
    given = json.loads(parameters) if isinstance(parameters, str) else {}
    words = (f"{name}={value}" for name, value in given.items() if not name.startswith("@"))
    return " ".join([fault, *words])


def place_labels(
    frame: pd.DataFrame, columns: Sequence[str] = PLACE, *, usual: bool = False
) -> list[str]:
    """Return, for every row, what is injected: its layer, and what else is not the usual.

    Args:
        frame: Rows with the columns ``columns``.
        columns: Some of ``PLACE``, ``layer`` among them or not. ``fault`` and ``parameters`` are
            told together.
        usual: Whether the usual is told too.

    Returns:
        Such as ``conv2d``, ``dense weights kernel`` or ``dense stuck_at value=0``.
    """
    rows = frame[list(columns)].astype(object)
    labels = {}
    for row in dict.fromkeys(rows.itertuples(index=False, name=None)):
        told = dict(zip(columns, row, strict=True))
        parameters = told.pop("parameters", None)
        if isinstance(told.get("fault"), str):
            told["fault"] = fault_label(told["fault"], parameters)
        labels[row] = " ".join(
            value
            for name, value in told.items()
            if isinstance(value, str) and (usual or value != _USUAL.get(name))
        )
    return [labels[row] for row in rows.itertuples(index=False, name=None)]


def rate_labels(frame: pd.DataFrame) -> list[str]:
    """Return, for every row, its rate in words: ``p = 0.1``, ``3 sites``, ``BER 1e-06``.

    Where there is none, the sites were chosen otherwise, as the column ``sampling`` tells.

    Args:
        frame: Rows with columns of ``RATES`` and ``sampling``, those that differ.
    """
    none = frame.assign(**{name: float("nan") for name in RATES}, sampling="")
    columns = [frame.get(name, none[name]).astype("float64") for name in RATES]
    sampling = frame.get("sampling", none["sampling"])
    return [
        _rate_label(probability, count, ber, how)
        for probability, count, ber, how in zip(*columns, sampling, strict=True)
    ]


def _rate_label(probability: float, count: float, ber: float, sampling: str) -> str:
    if probability == probability:  # not NaN
        return f"p = {probability:g}"
    if count == count:
        return "1 site" if count == 1 else f"{count:,.0f} sites"
    return f"BER {ber:g}" if ber == ber else f"{sampling} sites"
