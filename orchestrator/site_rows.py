"""Fault lists as they lie in files: read, typed and checked against a model, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from injecttf2.bits import INTEGER_LAYOUTS
from injecttf2.errors import CampaignError
from injecttf2.faults import BitFlip
from injecttf2.graph import Graph
from injecttf2.listed import SetValue
from injecttf2.sites import NO_BIT, word_starts
from injecttf2.suggest import nearest
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

TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary, pa.types.is_null)
NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, *TEXTS)
TYPES = {name: TEXTS if name in {"layer", "variable", "fault"} else NUMBERS for name in COLUMNS}
"""The types of Arrow that a column may have; numbers may be written as texts."""
EXPECTED = {TEXTS: "texts", NUMBERS: "numbers"}

FORM = f"columns {', '.join(COLUMNS)}, of which layer, element and either bit or value are required"

BIT_FAULTS = ("bit_flip", "stuck_at_0", "stuck_at_1")
KINDS = (*BIT_FAULTS, SetValue.name)
"""What may happen at a site; the column ``kind`` of checked rows is the position in this."""

NONE = -1
"""Stands where a whole number is missing."""

LARGEST = 2**53
"""Whole numbers below it are the same as float64, which is how a column with nulls is read."""


class SiteRows:
    """The rows of a fault list, checked against a model.

    Args:
        file: The file.
        graph: The model.
        samples: Samples in its data set.

    Attributes:
        table: One row a site, ordered by its columns: ``trial`` (number by first appearance),
            ``layer`` (position in ``graph.layers``), ``variable`` (position in the layer's
            ``weights_in``; -1 for outputs), ``sample`` (-1 for weights), ``element``, ``bit`` (-1
            for none), ``kind`` (position in ``KINDS``), all int64, and ``value``, float64. The
            index is the row's position in the file.

    Raises:
        CampaignError: It cannot be read, or names what there is not.
    """

    def __init__(self, file: Path, graph: Graph, samples: int) -> None:
        self._file = file
        self._graph = graph
        self._samples = samples
        given = self._columns(_read(file))
        self.table = pd.DataFrame(index=given.index)
        self.table["trial"] = self._trials(given)
        self.table["layer"] = self._layers(given)
        self.table["variable"] = NONE
        for name in ("sample", "element", "bit"):
            self.table[name] = self._whole(given, name)
        self._add_faults(given)
        for number, mine in given.groupby(self.table["layer"].to_numpy(), sort=False):
            self._check_layer(int(str(number)), mine)
        keys = ["trial", "layer", "variable", "sample", "element", "bit"]
        self.table = self.table.sort_values(keys, kind="stable")
        self._check_once(keys)

    def error(self, row: int, message: str, *, hint: str | None = None) -> CampaignError:
        """Return an error about a row, by its position in the file."""
        return CampaignError(message, place=f"{self._file}: row {row + 1}", hint=hint)

    def _refuse(self, wrong: Any, given: pd.DataFrame, message: str, **values: str) -> None:
        """Refuse the first of the rows that are wrong, bool [rows], if there is one.

        Args:
            wrong: Which rows are wrong.
            given: The rows.
            message: What is wrong with a row, its values in braces.
            values: Columns whose values are shown, by the name in the message.
        """
        wrong = np.asarray(wrong, bool)
        if wrong.any():
            row = given.iloc[int(wrong.argmax())]
            shown = {name: repr(_plain(row[column])) for name, column in values.items()}
            raise self.error(int(str(row.name)), message.format(**shown))

    def _check_columns(self, table: pa.Table) -> None:
        """See that the columns are those of a fault list, with types that fit, and not empty."""
        names = table.column_names
        unknown = [name for name in names if name not in COLUMNS]
        twice = [name for name in names if names.count(name) > 1]
        wrong = None
        if unknown:
            wrong = f"; {unknown[0]!r} is none{nearest(unknown[0], COLUMNS)}"
        elif twice:
            wrong = f"; {twice[0]!r} is given twice"
        elif not {"layer", "element"} <= {*names} or not {"bit", "value"} & {*names}:
            wrong = ""
        if wrong is not None:
            raise CampaignError(
                f"the fault list has the columns {', '.join(names)}{wrong}",
                place=str(self._file),
                hint=f"expected {FORM}",
            )
        if not len(table):
            raise CampaignError(
                "the fault list has no rows; expected one a site",
                place=str(self._file),
                hint="add sites, or leave `sites` out of the campaign",
            )
        for field in table.schema:
            if not any(is_type(field.type) for is_type in TYPES[field.name]):
                raise CampaignError(
                    f"the column {field.name} of the fault list has the type {field.type}",
                    place=str(self._file),
                    hint=f"expected {EXPECTED[TYPES[field.name]]}",
                )

    def _columns(self, table: pa.Table) -> pd.DataFrame:
        """Return all columns, those that are not given null."""
        self._check_columns(table)
        names = table.column_names
        no_value = table["value"].is_null() if "value" in names else None
        rows: pd.DataFrame = table.to_pandas()
        for name in COLUMNS:
            if name not in rows:
                rows[name] = None
        # In a data frame a value that is NaN looks like one that is not given.
        rows["no_value"] = True if no_value is None else no_value.to_numpy()
        if "trial" not in names:
            rows["trial"] = np.arange(len(rows))
        return rows

    def _trials(self, given: pd.DataFrame) -> npt.NDArray[np.int64]:
        number, _ = pd.factorize(given["trial"])
        self._refuse(number < 0, given, "received no trial; expected one in every row, or in none")
        return np.asarray(number, np.int64)

    def _layers(self, given: pd.DataFrame) -> npt.NDArray[np.int64]:
        self._refuse(given["layer"].isna(), given, "received no layer; expected its address")
        known = [info.layer for info in self._graph.layers]
        code, names = pd.factorize(given["layer"])
        position = {name: index for index, name in enumerate(known)}
        numbers = np.array([position.get(str(name), NONE) for name in names], np.int64)
        for name, number in zip(names, numbers.tolist(), strict=True):
            if number == NONE:
                row = int((given["layer"] == name).to_numpy().argmax())
                raise self.error(
                    row,
                    f"the model has no layer {_plain(name)!r}{nearest(str(name), known)}",
                    hint="`injecttf2 layers MODEL` lists what can be injected",
                )
        return numbers[code]

    def _whole(self, given: pd.DataFrame, name: str) -> npt.NDArray[np.int64]:
        """Return a column of whole numbers from 0; -1 where there is none."""
        is_given = given[name].notna().to_numpy()
        numbers = pd.to_numeric(given[name], errors="coerce")
        values = np.where(is_given, numbers.to_numpy(np.float64, na_value=np.nan), NONE)
        wrong = is_given & ~((values >= 0) & (values < LARGEST) & (values == np.floor(values)))
        self._refuse(
            wrong, given, f"received the {name} {{number}}; expected a whole number from 0",
            number=name,
        )  # fmt: skip
        if name == "element":
            self._refuse(~is_given, given, "received no element; expected a whole number from 0")
        return values.astype(np.int64)

    def _add_faults(self, given: pd.DataFrame) -> None:
        """Add what happens at each site, and the values."""
        by_bit = self.table["bit"].to_numpy() != NONE
        by_value = ~given["no_value"].to_numpy(bool)
        self._refuse(
            by_bit & by_value, given, "received the bit {bit} and the value {value}; expected one",
            bit="bit", value="value",
        )  # fmt: skip
        self._refuse(~by_bit & ~by_value, given, "received no bit and no value; expected one")
        named = given["fault"].notna().to_numpy()
        self._refuse(
            named & by_value, given,
            "received the fault {fault} and a value; expected a bit, or no fault", fault="fault",
        )  # fmt: skip
        self._refuse(
            named & ~given["fault"].isin(BIT_FAULTS).to_numpy(), given,
            f"received the fault {{fault}}; expected {', '.join(BIT_FAULTS)}", fault="fault",
        )  # fmt: skip
        kind = np.where(by_bit, 0, KINDS.index(SetValue.name))
        for number, name in enumerate(BIT_FAULTS):
            kind[(given["fault"] == name).to_numpy(bool, na_value=False)] = number
        self.table["kind"] = kind
        values = pd.to_numeric(given["value"], errors="coerce").to_numpy(np.float64)
        text = given["value"].map(lambda value: isinstance(value, str) and not _is_number(value))
        self._refuse(
            by_value & text.to_numpy(bool), given,
            "received the value {value}; expected a number, nan or inf", value="value",
        )  # fmt: skip
        self.table["value"] = values

    def _check_layer(self, number: int, given: pd.DataFrame) -> None:
        """Check the rows of one layer, and number their variables."""
        info = self._graph.layers[number]
        weights = given["variable"].notna()
        outputs = given[~weights]
        if len(outputs):
            if info.reason is not None:
                message = f"the layer {info.layer!r} cannot be injected: {info.reason}"
                raise self.error(int(str(outputs.index[0])), message)
            missing = outputs["sample"].isna()
            self._refuse(missing, outputs, "received no sample; sites in outputs need one")
            self._check_range(outputs, "sample", self._samples)
            self._check_words(outputs, info.elements or 1, info.dtype)
        given = given[weights]
        self._refuse(
            given["sample"].notna(), given,
            "received the sample {sample} for a weight; expected none, as all samples are hit",
            sample="sample",
        )  # fmt: skip
        places = {
            id(one.variable): index
            for index, one in enumerate(weights_in(self._graph, [info.layer]))
        }
        known = {one.name: one for one in weights_of(self._graph, info.layer)}
        for name, mine in given.groupby("variable", sort=False):
            self._check_variable(info.layer, str(name), mine, known)
            weight = known[str(name)]
            self._check_words(mine, weight.elements, weight.dtype)
            self.table.loc[mine.index, "variable"] = places[id(weight.variable)]

    def _check_variable(
        self, layer: str, name: str, given: pd.DataFrame, known: Mapping[str, Any]
    ) -> None:
        if name not in known:
            raise self.error(
                int(str(given.index[0])),
                f"the layer {layer!r} has no variable {name!r}{nearest(name, known)}",
                hint=f"it has {', '.join(known) or 'none'}",
            )

    def _check_words(self, given: pd.DataFrame, elements: int, dtype: str) -> None:
        self._check_range(given, "element", elements)
        if dtype in INTEGER_LAYOUTS:
            values = self.table.loc[given.index]
            nan = (values["bit"] == NO_BIT) & values["value"].isna()
            self._refuse(nan, given, f"received the value nan; {dtype} has none")
        found = self.table.loc[given.index, "bit"]
        for bit in sorted(found.unique()):
            if bit != NO_BIT:
                try:
                    BitFlip(bit=int(bit)).check(dtype)
                except ValueError as error:
                    row = int(str(found.index[int((found == bit).to_numpy().argmax())]))
                    raise self.error(row, str(error)) from None

    def _check_range(self, given: pd.DataFrame, name: str, below: int) -> None:
        numbers = self.table.loc[given.index, name].to_numpy()
        wrong = numbers >= below
        if wrong.any():
            row, number = int(str(given.index[int(wrong.argmax())])), numbers[wrong][0]
            raise self.error(row, f"received the {name} {number}; expected 0 to {below - 1}")

    def _check_once(self, keys: list[str]) -> None:
        """See that no trial has a site twice: two flips of it would be none."""
        columns = [self.table[key].to_numpy() for key in keys]
        again = np.ones(len(self.table), bool)
        again[word_starts(*columns)] = False
        if again.any():
            rows = self.table.index.to_numpy()
            place = int(again.argmax())
            raise self.error(
                int(rows[place]),
                f"the same site as in row {int(rows[place - 1]) + 1}; "
                "expected each site once in a trial",
            )


def _read(file: Path) -> pa.Table:
    suffix = file.suffix.lower()
    try:
        if suffix == ".parquet":
            return pyarrow.parquet.read_table(file)
        if suffix == ".csv":
            # Only what is empty is missing; a value may be nan.
            how = pyarrow.csv.ConvertOptions(
                strings_can_be_null=True,
                null_values=[""],
                column_types=dict.fromkeys(("layer", "variable", "fault", "value"), pa.string()),
            )
            return pyarrow.csv.read_csv(file, convert_options=how)
    except FileNotFoundError as error:
        raise CampaignError("there is no such fault list", place=str(file)) from error
    except (OSError, pa.ArrowException) as error:
        raise CampaignError(
            f"the fault list cannot be read: {str(error).splitlines()[0]}",
            place=str(file),
            hint=f"expected a .parquet or .csv file with {FORM}",
        ) from error
    raise CampaignError(
        f"a fault list is a .parquet or .csv file; received {file.name!r}", place=str(file)
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _plain(value: Any) -> Any:
    """Return a value as Python's own, which shows without the name of its type."""
    return value.item() if isinstance(value, np.generic) else value
