"""Fault lists: files that name every site, read into trials."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from injecttf2.errors import CampaignError
from injecttf2.fault_model import Fault
from injecttf2.faults import BitFlip, StuckAt
from injecttf2.graph import Graph, LayerInfo
from injecttf2.listed import Listed, SetValue
from injecttf2.sites import NO_BIT, Sites, WeightSites
from injecttf2.suggest import nearest
from injecttf2.trials import OUTPUTS, WEIGHTS, Cell, Scope
from injecttf2.weights import weights_in, weights_of

COLUMNS = {
    "trial": "what belongs to one trial has the same value; without it every row is a trial",
    "layer": "address of the layer; required",
    "variable": "name of the weight variable; null for outputs",
    "sample": "position in the data set, from 0; null for weights",
    "element": "flat position in the layer's output of one sample, or in the variable; required",
    "bit": "bit from the least significant",
    "fault": "what happens to the bit: bit_flip (default), stuck_at_0 or stuck_at_1",
    "value": "the value that the element gets, where no bit is given",
}
"""The columns of a fault list."""

BIT_FAULTS = ("bit_flip", "stuck_at_0", "stuck_at_1")

FORM = f"columns {', '.join(COLUMNS)}, of which layer, element and either bit or value are required"


class SiteList:
    """A fault list, checked against a model.

    Args:
        file: The file.
        graph: The model.
        samples: Samples in its data set.

    Raises:
        CampaignError: It cannot be read, or names what there is not.
    """

    def __init__(self, file: Path, graph: Graph, samples: int) -> None:
        self._file = file
        self._graph = graph
        self._samples = samples
        self._infos = {info.layer: info for info in graph.layers}
        self._order = {layer: index for index, layer in enumerate(self._infos)}
        self._rows = self._checked(_read(file))

    def trials(self) -> dict[Scope, list[Cell]]:
        """Return a cell for each trial, by what they corrupt; equal ones once."""
        found: dict[Scope, list[Cell]] = {}
        for cell in dict.fromkeys(self._cells()):
            found.setdefault(cell.scope, []).append(cell)
        return found

    def _cells(self) -> Iterator[Cell]:
        for _, rows in self._rows.groupby("trial", sort=False):
            layers = sorted(rows["layer"].unique(), key=self._order.__getitem__)
            target = WEIGHTS if rows["variable"].notna().any() else OUTPUTS
            if target == WEIGHTS and rows["variable"].isna().any():
                raise self._error(rows, "a trial has sites in outputs and in weights; expected one")
            fault = self._fault(rows)
            rate = self._weights(rows, layers) if target == WEIGHTS else self._outputs(rows, layers)
            yield Cell(Scope(tuple(layers), target).layer, fault, rate, target)

    def _fault(self, rows: pd.DataFrame) -> Fault:
        """Return the fault of a trial."""
        kinds = rows["fault"].unique()
        if len(kinds) != 1:
            raise self._error(rows, f"a trial has the faults {', '.join(kinds)}; expected one")
        (kind,) = kinds
        if kind == SetValue.name:
            return SetValue()
        found = rows["bit"].unique()
        where: dict[str, Any] = {"bit": int(found[0])} if len(found) == 1 else {"bit_field": "any"}
        return BitFlip(**where) if kind == "bit_flip" else StuckAt(**where, value=int(kind[-1]))

    def _outputs(self, rows: pd.DataFrame, layers: Sequence[str]) -> Listed:
        parts = []
        for layer in layers:
            mine = rows[rows["layer"] == layer].sort_values(["sample", "element", "bit"])
            parts.append(
                Sites(
                    sample=mine["sample"].to_numpy(np.int64),
                    element=mine["element"].to_numpy(np.int64),
                    bit=mine["bit"].to_numpy(np.int64),
                    draws=_draws(mine),
                )
            )
        return Listed(_digest(rows), tuple(parts))

    def _weights(self, rows: pd.DataFrame, layers: Sequence[str]) -> Listed:
        known = [id(weight.variable) for weight in weights_in(self._graph, layers)]
        numbers = {
            (layer, weight.name): known.index(id(weight.variable))
            for layer in layers
            for weight in weights_of(self._graph, layer)
        }
        number = [numbers[key] for key in zip(rows["layer"], rows["variable"], strict=True)]
        mine = rows.assign(number=number).sort_values(["number", "element", "bit"])
        sites = WeightSites(
            variable=mine["number"].to_numpy(np.int64),
            element=mine["element"].to_numpy(np.int64),
            bit=mine["bit"].to_numpy(np.int64),
            draws=_draws(mine),
        )
        return Listed(_digest(rows), weights=sites)

    def _checked(self, table: pa.Table) -> pd.DataFrame:
        """Return the rows with every column, once it is known that they name what there is."""
        rows = self._typed(table)
        for layer, mine in rows.groupby("layer", sort=False):
            info = self._infos.get(str(layer))
            if info is None:
                what = f"the model has no layer {layer!r}{nearest(str(layer), self._infos)}"
                raise self._error(mine, what)
            weights = mine["variable"].notna()
            self._check_outputs(mine[~weights], info)
            self._check_weights(mine[weights], info)
        return rows

    def _typed(self, table: pa.Table) -> pd.DataFrame:
        """Return all columns, each with its type."""
        names = table.column_names
        unknown = [name for name in names if name not in COLUMNS]
        if unknown or not {"layer", "element"} <= {*names} or not {"bit", "value"} & {*names}:
            wrong = f"; {unknown[0]!r} is none{nearest(unknown[0], COLUMNS)}" if unknown else ""
            raise CampaignError(
                f"the fault list has the columns {', '.join(names)}{wrong}",
                place=str(self._file),
                hint=f"expected {FORM}",
            )
        if not len(table):
            raise CampaignError("the fault list is empty", place=str(self._file))
        rows: pd.DataFrame = table.to_pandas()
        for name in COLUMNS:
            if name not in rows:
                rows[name] = np.arange(len(rows)) if name == "trial" else None
        rows["layer"] = rows["layer"].astype(str)
        for name in ("sample", "element", "bit"):
            rows[name] = self._whole(rows, name)
        by_bit = rows["bit"] != NO_BIT
        rows["value"] = pd.to_numeric(rows["value"], errors="coerce").astype(np.float64)
        rows["fault"] = rows["fault"].astype(object).where(rows["fault"].notna(), "bit_flip")
        rows.loc[~by_bit, "fault"] = SetValue.name
        wrong_fault = by_bit & ~rows["fault"].isin(BIT_FAULTS)
        if wrong_fault.any():
            bad = rows[wrong_fault]
            raise self._error(
                bad,
                f"received the fault {bad['fault'].iloc[0]!r}; expected {', '.join(BIT_FAULTS)}",
            )
        return rows

    def _whole(self, rows: pd.DataFrame, name: str) -> npt.NDArray[np.int64]:
        """Return a column of whole numbers from 0; -1 where there is none."""
        numbers = pd.to_numeric(rows[name], errors="coerce")
        given = rows[name].notna().to_numpy()
        values = numbers.fillna(NO_BIT).to_numpy(np.float64)
        wrong = given & ((values < 0) | (values != np.floor(values)))
        if name == "element":
            wrong |= ~given
        if wrong.any():
            bad = rows[wrong]
            raise self._error(
                bad, f"received the {name} {bad[name].iloc[0]!r}; expected a whole number from 0"
            )
        return values.astype(np.int64)

    def _check_outputs(self, rows: pd.DataFrame, info: LayerInfo) -> None:
        if not len(rows):
            return
        if info.reason is not None:
            raise self._error(rows, f"the layer {info.layer!r} cannot be injected: {info.reason}")
        self._check_range(rows, "sample", self._samples)
        self._check_words(rows, info.elements or 1, info.dtype)

    def _check_weights(self, rows: pd.DataFrame, info: LayerInfo) -> None:
        weights = {weight.name: weight for weight in weights_of(self._graph, info.layer)}
        for name, mine in rows.groupby("variable", sort=False):
            if name not in weights:
                what = f"the layer {info.layer!r} has no variable {name!r}"
                raise self._error(mine, what + nearest(str(name), weights))
            self._check_words(mine, weights[str(name)].elements, weights[str(name)].dtype)

    def _check_words(self, rows: pd.DataFrame, elements: int, dtype: str) -> None:
        self._check_range(rows, "element", elements)
        for bit in rows["bit"].unique():
            if bit != NO_BIT:
                try:
                    BitFlip(bit=int(bit)).check(dtype)
                except ValueError as error:
                    raise self._error(rows[rows["bit"] == bit], str(error)) from None

    def _check_range(self, rows: pd.DataFrame, name: str, below: int) -> None:
        wrong = (rows[name] < 0) | (rows[name] >= below)
        if wrong.any():
            bad = rows[wrong]
            raise self._error(
                bad, f"received the {name} {bad[name].iloc[0]}; expected 0 to {below - 1}"
            )

    def _error(self, rows: pd.DataFrame, message: str) -> CampaignError:
        return CampaignError(message, place=f"{self._file}: row {int(rows.index[0]) + 1}")


def _read(file: Path) -> pa.Table:
    try:
        if file.suffix == ".parquet":
            return pyarrow.parquet.read_table(file)
        if file.suffix == ".csv":
            nulls = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
            return pyarrow.csv.read_csv(file, convert_options=nulls)
    except (OSError, pa.ArrowException) as error:
        raise CampaignError(
            f"the fault list cannot be read: {str(error).splitlines()[0]}", place=str(file)
        ) from error
    raise CampaignError("a fault list is a .parquet or .csv file", place=str(file))


def _draws(rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return what a fault takes in place of uniform numbers: the values, if there are any."""
    if rows["fault"].iloc[0] != SetValue.name:
        return np.empty((len(rows), 0))
    return rows["value"].to_numpy(np.float64)[:, np.newaxis]


def _digest(rows: pd.DataFrame) -> str:
    """Return the digest of the sites of a trial, whatever their order in the file."""
    names = ["layer", "variable", "sample", "element", "bit", "fault", "value"]
    content = rows[names].sort_values(names[:5]).to_csv(index=False, lineterminator="\n")
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()
