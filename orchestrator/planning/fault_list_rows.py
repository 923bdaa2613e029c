"""Fault lists checked against a model, row by row."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from injecttf2.bits import INTEGER_LAYOUTS
from injecttf2.config.spelling import nearest
from injecttf2.faults.bit_faults import BitFlip
from injecttf2.faults.listed import SetValue
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.graph.weights import UNREAD, reason_of, unread_of, weights_in, weights_of
from injecttf2.sampling.sites import NO_BIT
from orchestrator.campaign.grid import FaultListSpec
from orchestrator.planning.fault_list_columns import MISSING, NONE
from orchestrator.planning.sfi_fault_lists import read_fault_list
from results.analysis.published_outcomes import place_labels

BIT_FAULTS = ("bit_flip", "stuck_at_0", "stuck_at_1")
KINDS = (*BIT_FAULTS, SetValue.name)
"""What may happen at a site; the column ``kind`` of checked rows is the position in this."""


class FaultListReader:
    """The rows of a fault list, checked against a model.

    Args:
        spec: The list, as the campaign names it.
        graph: The model.
        samples: Samples in its data set.

    Attributes:
        table: One row a site, ordered by its columns: ``trial`` (number by first appearance),
            ``layer`` (position in ``graph.layers``), ``variable`` (position in the layer's
            ``weights_in``; -1 for outputs), ``sample`` (-1 for weights), ``element``, ``bit`` (-1
            for none), ``kind`` (position in ``KINDS``), all int64, and ``value``, float64. The
            index is the row's position in the file.
        labels: What the list calls each trial, by its number.
        told: How the list was read, for one of another tool; else None.

    Raises:
        CampaignError: It cannot be read, or names what there is not.
    """

    def __init__(self, spec: FaultListSpec, graph: ModelGraph, samples: int) -> None:
        read = read_fault_list(spec, graph)
        given = read.rows
        self.told = read.told
        self.error = read.error
        self._place = read.place
        self._graph = graph
        self._samples = samples
        self._variables: dict[int, int] = {}
        self.table = pd.DataFrame(index=given.index)
        self.table["trial"] = self._trials(given)
        self.table["layer"] = self._layers(given)
        self.table["variable"] = NONE
        self.table["place"] = self.table["layer"]  # of a weight, the same wherever it is named
        for name in ("sample", "element", "bit"):
            self.table[name] = given[name]
        missing = given["element"] == NONE
        self._refuse(missing, given, "received no element; expected a whole number from 0")
        self._add_faults(given)
        for number, mine in given.groupby(self.table["layer"].to_numpy(), sort=False):
            self._check_layer(int(str(number)), mine)
        self._check_once()
        del self.table["place"]
        keys = ["trial", "layer", "variable", "sample", "element", "bit"]
        self.table = self.table.sort_values(keys, kind="stable")

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

    def _trials(self, given: pd.DataFrame) -> npt.NDArray[np.int64]:
        number, labels = pd.factorize(given["trial"])
        self.labels = [str(label) for label in labels]
        if pd.api.types.is_integer_dtype(given["trial"]):  # the list has none: rows are counted
            self.labels = place_labels(given)
        self._refuse(number < 0, given, "received no trial; expected one in every row, or in none")
        return np.asarray(number, np.int64)

    def _layers(self, given: pd.DataFrame) -> npt.NDArray[np.int64]:
        self._refuse(given["layer"].isna(), given, "received no layer; expected its address")
        known = [info.layer for info in self._graph.layers]
        code, names = pd.factorize(given["layer"])
        position = {name: index for index, name in enumerate(known)}
        named = [_named(name, position) for name in names.tolist()]
        numbers = np.array([position.get(name or "", NONE) for name in named], np.int64)
        for name, number in zip(names, numbers.tolist(), strict=True):
            if number == NONE:
                row = given.index[int((given["layer"] == name).to_numpy().argmax())]
                raise self.error(
                    int(row),
                    f"the model has no layer {_plain(name)!r}{nearest(str(name), known)}",
                    hint="`injecttf2 layers MODEL` lists what can be injected",
                )
        return numbers[code]

    def _add_faults(self, given: pd.DataFrame) -> None:
        """Add what happens at each site, and the values."""
        by_bit = self.table["bit"].to_numpy() != NONE
        by_value = given["has_value"].to_numpy(bool)
        fault = given["fault"].map(_named, na_action="ignore")
        self._refuse(
            by_bit & by_value, given, "received the bit {bit} and the value {value}; expected one",
            bit="bit", value="value",
        )  # fmt: skip
        self._refuse(~by_bit & ~by_value, given, "received no bit and no value; expected one")
        named = fault.notna().to_numpy()
        self._refuse(
            named & by_value, given,
            "received the fault {fault} and a value; expected a bit, or no fault", fault="fault",
        )  # fmt: skip
        self._refuse(
            named & ~fault.isin(BIT_FAULTS).to_numpy(), given,
            f"received the fault {{fault}}; expected {', '.join(BIT_FAULTS)}", fault="fault",
        )  # fmt: skip
        kind = np.where(by_bit, 0, KINDS.index(SetValue.name))
        for number, name in enumerate(BIT_FAULTS):
            kind[(fault == name).to_numpy(bool, na_value=False)] = number
        self.table["kind"] = kind
        self.table["value"] = given["value"]

    def _check_layer(self, number: int, given: pd.DataFrame) -> None:
        """Check the rows of one layer, and number their variables."""
        info = self._graph.layers[number]
        known = {one.name: one for one in weights_of(self._graph, info.layer)}
        variable = given["variable"].map(lambda name: _named(name, known), na_action="ignore")
        weights = variable.notna()
        outputs = given[~weights]
        if len(outputs):
            if info.reason is not None:
                message = f"the layer {info.layer!r} cannot be injected: {info.reason}"
                raise self.error(int(str(outputs.index[0])), message)
            missing = outputs["sample"] == NONE
            self._refuse(missing, outputs, "received no sample; sites in outputs need one")
            self._check_range(outputs, "sample", self._samples)
            self._check_words(outputs, info.elements or 1, info.dtype)
        given = given[weights]
        self._refuse(
            given["sample"] != NONE, given,
            "received the sample {sample} for a weight; expected none, as all samples are hit",
            sample="sample",
        )  # fmt: skip
        places = {
            one.variable.key: index
            for index, one in enumerate(weights_in(self._graph, [info.layer]))
        }
        for name, mine in given.groupby(variable[weights], sort=False):
            self._check_variable(info.layer, str(name), mine, known)
            weight = known[str(name)]
            self._check_words(mine, weight.elements, weight.dtype)
            key = weight.variable.key
            self.table.loc[mine.index, "variable"] = places[key]
            number = self._variables.setdefault(key, len(self._variables))
            self.table.loc[mine.index, "place"] = len(self._graph.layers) + number
        if len(given) and (reason := reason_of(self._graph, info.layer)) is not None:
            message = f"the weights of {info.layer!r} cannot be injected: {reason}"
            raise self.error(int(str(given.index[0])), message)

    def _check_variable(
        self, layer: str, name: str, given: pd.DataFrame, known: Mapping[str, Any]
    ) -> None:
        if name not in known:
            unread = [one.name for one in unread_of(self._graph, layer)]
            wrong = f"has no variable {name!r}{nearest(name, known)}"
            if name in unread:
                wrong = f"has a variable {name!r}, but {UNREAD}: a fault there changes nothing"
            raise self.error(
                int(str(given.index[0])),
                f"the layer {layer!r} {wrong}",
                hint=f"it has {', '.join(known) or 'none'}; sites in outputs have none",
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

    def _check_once(self) -> None:
        """See that no trial has a site twice: two flips of it would be none."""
        keys = ["trial", "place", "sample", "element", "bit"]
        again = self.table.duplicated(keys).to_numpy()
        if again.any():
            place = int(again.argmax())
            same = self.table[keys].eq(self.table[keys].iloc[place]).all(axis=1)
            first = int(self.table.index[int(same.to_numpy().argmax())])
            row = int(self.table.index[place])
            here, there = self._place(row), self._place(first)
            file, _, number = there.rpartition(": ")
            told = number if here.startswith(f"{file}: ") else there
            raise self.error(row, f"the same site as in {told}; expected each site once in a trial")


def _named(written: str, known: Container[str] = ()) -> str | None:
    """Return a name, without blanks and quotes around it if it is not known with them.

    None where it stands for none.
    """
    bare = written.strip().strip('"')
    if written in known or bare in known:
        return written if written in known else bare
    return None if bare.lower() in MISSING else bare


def _plain(value: Any) -> Any:
    """Return a value as Python's own, which shows without the name of its type."""
    return value.item() if isinstance(value, np.generic) else value
