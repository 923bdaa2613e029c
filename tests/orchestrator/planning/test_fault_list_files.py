"""Fault lists as pandas, R and spreadsheets write them are read exactly, or refused."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from injecttf2.errors import CampaignError
from orchestrator.planning.fault_list_files import read_sites

LIST = pd.DataFrame(
    {
        "layer": ["conv", "conv", "logits", "conv"],
        "sample": [0, 1, 2, 3],
        "element": [5, 6, 7, 8],
        "bit": [30, 31, 0, 1],
    }
)
ROWS = [("conv", 0, 5, 30), ("conv", 1, 6, 31), ("logits", 2, 7, 0), ("conv", 3, 8, 1)]
HEAD = "layer,sample,element,bit\n"


def rows(file: Path) -> list[tuple[Any, ...]]:
    found = read_sites(file).rows
    assert found["element"].dtype == np.int64
    columns = ["layer", "sample", "element", "bit"]
    return [tuple(row) for row in found[columns].astype(object).to_numpy().tolist()]


def refused(file: Path) -> str:
    with pytest.raises(CampaignError) as caught:
        read_sites(file)
    return str(caught.value).replace(f"{file.parent}/", "")


PARQUET: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "as it is": lambda frame: frame,
    "a column as the index": lambda frame: frame.set_index("layer"),
    "a column that counts as the index": lambda frame: frame.set_index("sample"),
    "two columns as the index": lambda frame: frame.set_index(["bit", "layer"]),
    "an index of texts": lambda frame: frame.set_axis(list("abcd")),
    "an index of two parts": lambda frame: frame.set_axis(
        pd.MultiIndex.from_product([[1, 2], [3, 4]])
    ),
    "an index with gaps": lambda frame: frame.set_axis([7, 3, 11, 2]),
    "categories": lambda frame: frame.astype({"layer": "category", "bit": "category"}),
    "objects": lambda frame: frame.astype({"layer": object}),
    "nullable numbers": lambda frame: frame.astype({"sample": "Int64", "bit": "UInt8"}),
    "floats": lambda frame: frame.astype({"sample": "float64", "element": "float32"}),
    "texts": lambda frame: frame.astype({"sample": str, "bit": str}),
    "decimals": lambda frame: frame.assign(element=[Decimal(f"{n}.00") for n in (5, 6, 7, 8)]),
    "capitals and blanks in the head": lambda frame: frame.rename(
        columns={"layer": " Layer", "bit": "BIT "}
    ),
}


@pytest.mark.parametrize("case", PARQUET)
def test_parquet_of_pandas(case: str, tmp_path: Path) -> None:
    PARQUET[case](LIST).to_parquet(tmp_path / "faults.parquet")
    assert rows(tmp_path / "faults.parquet") == ROWS


@pytest.mark.parametrize(
    "kind",
    [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.large_string())],
    ids=str,
)
def test_texts_of_other_kinds(kind: pa.DataType, tmp_path: Path) -> None:
    table = pa.Table.from_pandas(LIST, preserve_index=False)
    table = table.set_column(0, "layer", pa.array(LIST["layer"].tolist()).cast(kind))
    pq.write_table(table, tmp_path / "faults.parquet")
    assert rows(tmp_path / "faults.parquet") == ROWS


def test_whole_numbers_that_a_missing_one_made_floats(tmp_path: Path) -> None:
    frame = LIST.assign(sample=[0, np.nan, 2, np.nan])
    frame.to_parquet(tmp_path / "faults.parquet")
    frame.to_csv(tmp_path / "faults.csv")
    pq.write_table(  # as Polars writes it: the NaN is one, and not null
        pa.Table.from_pandas(LIST, preserve_index=False).set_column(
            1, "sample", pa.array(frame["sample"].to_numpy())
        ),
        tmp_path / "nan.parquet",
    )
    for name in ("faults.parquet", "faults.csv", "nan.parquet"):
        assert [row[1] for row in rows(tmp_path / name)] == [0, -1, 2, -1]


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize(
    ("end", "how"),
    [
        (".csv", {}),
        (".csv", {"sep": ";"}),
        (".csv", {"sep": "\t"}),
        (".csv", {"sep": "|"}),
        (".csv", {"encoding": "utf-8-sig"}),
        (".csv", {"encoding": "utf-16", "sep": "\t"}),
        (".csv", {"lineterminator": "\r\n"}),
        (".csv", {"lineterminator": "\r"}),
        (".csv", {"quoting": 1}),
        (".csv", {"na_rep": "NaN"}),
        (".CSV", {}),
        (".tsv", {"sep": "\t"}),
        (".csv.gz", {}),
        (".csv.bz2", {}),
    ],
    ids=str,
)
def test_csv_of_pandas(end: str, how: dict[str, Any], index: bool, tmp_path: Path) -> None:
    file = tmp_path / f"faults{end}"
    LIST.assign(variable=None).to_csv(file, index=index, **how)
    assert rows(file) == ROWS


TEXTS = {
    "blanks": 'layer, sample , element,bit\nconv, 0, 5, 30\n"conv", "1", 6 ,\t31\n',
    "index of an index": ",Unnamed: 0,layer,sample,element,bit\n0,0,conv,0,5,30\n1,1,conv,1,6,31\n",
    "R": '"","layer","variable","sample","element","bit"\n'
    '"1","conv",NA,0,5,30\n"2","conv",NA,1,6,31\n',
    "NumPy": "layer,sample,element,bit\nconv,0.000,5.0e+00,30\nconv,1.000,6.0e+00,31\n",
    "rows of a spreadsheet that say nothing": f"{HEAD}conv,0,5,30\n,,,\nconv,1,6,31\n, ,,\n\n \n",
    "a delimiter at every end": "layer,sample,element,bit,\nconv,0,5,30,\nconv,1,6,31,\n",
    "lines before the head": f"\n\n{HEAD}conv,0,5,30\nconv,1,6,31",
    "no-break spaces": "layer,\u00a0sample,element,bit\nconv,0,5,\u00a030\nconv,1\u00a0,6,31\n",
}


@pytest.mark.parametrize("case", TEXTS)
def test_csv_of_others(case: str, tmp_path: Path) -> None:
    (tmp_path / "faults.csv").write_text(TEXTS[case], encoding="utf-8")
    assert rows(tmp_path / "faults.csv") == ROWS[:2]


def test_a_file_is_read_for_what_it_is(tmp_path: Path) -> None:
    LIST.to_parquet(tmp_path / "faults.parquet.gzip", compression="gzip")
    LIST.to_parquet(tmp_path / "faults.csv")
    assert rows(tmp_path / "faults.parquet.gzip") == ROWS
    assert rows(tmp_path / "faults.csv") == ROWS


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path: Path) -> None:
    folder = tmp_path / "bit=3"
    folder.mkdir()
    LIST.to_parquet(folder / "faults.parquet")
    assert rows(folder / "faults.parquet") == ROWS


VALUES = {
    "decimal commas": ("layer;sample;element;value\nc;0;1;0,1\nc;0;2;-2,5e-3\nc;0;3;1,250\n", 1.25),
    "decimal dots": ("layer;sample;element;value\nc;0;1;0.1\nc;0;2;-2.5e-3\nc;0;3;1.250\n", 1.25),
    "both": ("layer;sample;element;value\nc;0;1;0,1\nc;0;2;-2.5e-3\nc;0;3;nan\n", np.nan),
    "dots": ("layer,sample,element,value\nc,0,1,0.1\nc,0,2,-.0025\nc,0,3,1.250\n", 1.25),
    "no number": ("layer,sample,element,value\nc,0,1,0.1\nc,0,2,-25e-4\nc,0,3,-inf\n", -np.inf),
}


@pytest.mark.parametrize("case", VALUES)
def test_values_are_the_nearest_numbers(case: str, tmp_path: Path) -> None:
    text, last = VALUES[case]
    (tmp_path / "faults.csv").write_text(text)
    found = read_sites(tmp_path / "faults.csv").rows
    assert repr(found["value"].tolist()) == repr([0.1, -0.0025, last])
    assert found["has_value"].tolist() == [True, True, True]


def test_values_are_missing_where_nothing_is_said(tmp_path: Path) -> None:
    text = "layer,sample,element,bit,value\nc,0,1,3,\nc,0,2,,nan\nc,0,3,3,NA\nc,0,3,3,None\n"
    (tmp_path / "faults.csv").write_text(text)
    found = read_sites(tmp_path / "faults.csv").rows
    assert found["has_value"].tolist() == [False, True, False, False]


def test_many_values_in_a_text_are_exact(tmp_path: Path) -> None:
    words = np.random.default_rng(5).integers(0, 2**64, 2000, np.uint64).view(np.float64)
    frame = pd.DataFrame({"layer": "conv", "sample": 0, "element": 1, "value": words})
    for delimiter in (",", ";"):
        frame["value"] = [repr(word) for word in words.tolist()]
        frame.to_csv(tmp_path / "faults.csv", sep=delimiter)
        found = read_sites(tmp_path / "faults.csv").rows["value"].to_numpy()
        np.testing.assert_array_equal(found, words)


LABELS = [
    np.array([2**64 - 1, 2**64 - 2, 2**64 - 1, 2**64 - 2], np.uint64),
    pd.array([2**53, 2**53 + 1, 2**53, 2**53 + 1], dtype="Int64"),
    [1.0, 2.0, 1.0, 2.0],
    ["1", "01", "1", "01"],
    ["1e5", "100000", "1e5", "100000"],
    pd.Categorical(["b", "a", "b", "a"]),
]


@pytest.mark.parametrize("trial", LABELS, ids=str)
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_trials_are_those_that_have_the_same_label(trial: Any, kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"faults.{kind}"
    frame = LIST.assign(trial=trial)
    (frame.to_csv if kind == "csv" else frame.to_parquet)(file)
    found = read_sites(file).rows["trial"].tolist()
    assert found[0] == found[2]
    assert found[1] == found[3]
    assert found[0] != found[1]


def test_parts_in_a_folder_are_one_list(tmp_path: Path) -> None:
    folder = tmp_path / "faults.parquet"
    folder.mkdir()
    LIST[:3].to_parquet(folder / "part-0.parquet")
    LIST[3:].assign(sample=[3.0]).to_csv(folder / "part-1.csv")
    (folder / "_SUCCESS").touch()
    (folder / ".part-0.parquet.crc").touch()
    read = read_sites(folder)
    assert rows(folder) == ROWS
    assert [read.place(row) for row in (0, 2, 3)] == [
        f"{folder / 'part-0.parquet'}: row 1",
        f"{folder / 'part-0.parquet'}: row 3",
        f"{folder / 'part-1.csv'}: row 1",
    ]


@pytest.mark.parametrize(
    ("choose", "row"),
    [
        (lambda frame: frame[frame["bit"] != 31], 2),
        (lambda frame: frame[2:], 1),
        (lambda frame: frame.sort_values("bit"), 1),
        (lambda frame: frame.set_index("sample"), 3),
    ],
)
def test_a_row_is_counted_in_the_file(
    choose: Callable[[pd.DataFrame], pd.DataFrame], row: int, tmp_path: Path
) -> None:
    frame = choose(LIST.assign(element=["5", "6", "seven", "8"]))
    for kind, write in {"parquet": frame.to_parquet, "csv": frame.to_csv}.items():
        write(tmp_path / f"faults.{kind}")
        said = f"faults.{kind}: row {row}: received the element 'seven'; expected a whole number"
        assert refused(tmp_path / f"faults.{kind}").startswith(said)


CELLS = {
    "2^53 as a whole number": ({"element": [5, 2**53 + 1, 7, 8]}, "row 2: received the element 90"),
    "unsigned": (
        {"element": np.array([5, 6, 2**64 - 1, 8], np.uint64)},
        "row 3: received the element 18446744073709551615; expected a whole number from 0, below",
    ),
    "2^53 as a float": (
        {"element": [5, 2.0**53, 7, 8]},
        "row 2: received the element 9007199254740992.0; expected a whole number from 0, below 2",
    ),
    "2^53 as a text": (
        {"element": ["5", "9007199254740993.0", "7", "8"]},
        "row 2: received the element 9007199254740993.0; expected a whole number from 0, below 2",
    ),
    "beyond any integer": ({"element": ["5", "1" * 30, "7", "8"]}, "row 2: received the element 1"),
    "a half": ({"sample": [0, 0.5, np.nan, 3]}, "row 2: received the sample 0.5; expected a whol"),
    "infinite": ({"sample": [0, np.inf, 1, 3]}, "row 2: received the sample inf; expected a whole"),
    "below 0": ({"bit": [3, 3, -1, 3]}, "row 3: received the bit -1; expected a whole number from"),
    "labels that floats rounded": (
        {"trial": [1.0, 2.0**53, 3, 4]},
        "row 2: received the trial 9007199254740992.0; expected whole numbers below 9007",
    ),
    "a value that a float rounds": (
        {"value": [2**53 + 1, 1, 2, 3], "bit": None},
        "row 1: received the value 9007199254740993; expected a number that is the same as float",
    ),
    "timestamps": (
        {"sample": pd.Timestamp("2026-01-01")},
        "the column sample of the fault list has the type timestamp[us]\n  expected numbers",
    ),
    "numbers for layers": (
        {"layer": [1, 2, 3, 4]},
        "the column layer of the fault list has the type int64\n  expected texts",
    ),
    "categories of numbers for layers": (
        {"layer": pd.Categorical([1, 2, 3, 4])},
        "the column layer of the fault list has the type int64\n  expected texts",
    ),
    "the same name twice": ({"Bit": 3}, "the fault list has the columns layer, sample, element, b"
     "it, Bit; 'bit' is given twice"),
}  # fmt: skip


@pytest.mark.parametrize("case", CELLS)
def test_what_a_column_cannot_hold_is_refused_with_its_row(case: str, tmp_path: Path) -> None:
    changes, said = CELLS[case]
    LIST.assign(**changes).to_parquet(tmp_path / "faults.parquet")
    assert refused(tmp_path / "faults.parquet").partition("faults.parquet: ")[2].startswith(said)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (
            LIST[LIST["bit"] < 31].rename_axis("site"),
            "'site' holds labels of rows, leave it out (index=False)",
        ),
        (LIST.reset_index(), "'index' holds labels of rows, leave it out (index=False)"),
        (
            LIST[LIST["bit"] < 31].rename_axis("trail"),
            "leave it out (index=False); did you mean 'trial'",
        ),
    ],
)
def test_labels_of_rows_that_have_a_name_are_told_for_what_they_are(
    frame: pd.DataFrame, said: str, tmp_path: Path
) -> None:
    frame.to_parquet(tmp_path / "faults.parquet")
    assert said in refused(tmp_path / "faults.parquet")


REFUSED_TEXTS: dict[str, tuple[str | bytes, str]] = {
    "decimals or thousands": (
        "layer;sample;element;value\nconv;0;1;1,250\n",
        "row 1: received the value '1,250'; expected a number that cannot be read in two ways: ",
    ),
    "decimals or thousands of a whole number": (
        "layer;sample;element;bit\nconv;0;7;3\nconv;0;1.000;3\n",
        "row 2: received the element 1.000; expected a number that cannot be read in two ways: ",
    ),
    "thousands": (f'{HEAD}conv,0,"1,000",3\n', "row 1: received the element '1,000'; expected a "),
    "thousands beside decimals": (
        "layer;sample;element;value\nconv;0;1;0.5\nconv;0;1;1,250\n",
        "row 2: received the value '1,250'; expected a number that cannot be read in two ways",
    ),
    "an underscore": (f"{HEAD}conv,0,1_0,3\n", "row 1: received the element 1_0; expected a whole"),
    "a character that looks like a digit": (
        f"{HEAD}conv,0,1\u00a00,3\n",
        "row 1: received the element '1\\xa00'; expected a whole number from 0; the no-break space",
    ),
    "too many cells": (
        f"{HEAD}\nconv,0,1,3\n  \n1,conv,0,1,3\n",
        "row 2: received 5 cells, '1,conv,0,1,3'; expected 4, as the head has\n  a cell that holds",
    ),
    "a column without a name": (
        "layer,,sample,element,bit\nconv,3,0,1,3\n",
        "the column 2 of the fault list has no name\n  expected columns trial,",
    ),
    "blanks for a delimiter": ("layer sample element bit\nconv 0 1 3\n", "the fault list has the "
     "columns layer sample element bit; 'layer sample element bit' is none"),
    "full-width commas": ("layer，sample，element，bit\n", "the fault list has the columns "  # noqa: RUF001
     "layer，sample，element，bit; 'layer，sample，element，bit' is none; the full-width comma ("),  # noqa: RUF001
    "another encoding": (
        f"{HEAD}conv\u00fc,0,1,3\n".encode("latin-1"),
        "the fault list cannot be read: In CSV column #0: ",
    ),
    "nothing": ("", "the fault list cannot be read: it is empty"),
    "nothing but a head": (HEAD, "the fault list has no rows; expected one a site"),
    "nothing but empty rows": (f"{HEAD},,,\n", "the fault list has no rows; expected one a site"),
    "compressed": (
        gzip.compress(HEAD.encode()),
        "the fault list cannot be read: it is compressed with gzip; give it a name that ends with ",
    ),
    "a spreadsheet": (b"PK\x03\x04", "the fault list cannot be read: it is a spreadsheet or an "),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED_TEXTS)
def test_text_that_cannot_be_understood_is_refused(case: str, tmp_path: Path) -> None:
    text, said = REFUSED_TEXTS[case]
    (tmp_path / "faults.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert refused(tmp_path / "faults.csv").removeprefix("faults.csv: ").startswith(said)


def test_files_that_are_not_what_their_name_says_are_refused(tmp_path: Path) -> None:
    LIST.to_parquet(tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    for name, content, said in (
        ("text.parquet", HEAD.encode(), "this is no Parquet file: it begins with b'layer,sa'"),
        ("empty.parquet", b"", "this is no Parquet file: it begins with b''"),
        ("half.parquet", whole[:-20], "the fault list cannot be read: "),
        ("half.csv.gz", gzip.compress(HEAD.encode())[:20], "the fault list cannot be read: "),
        ("list.xlsx", b"PK", "a fault list is a .parquet or .csv file; received 'list.xlsx'"),
    ):
        (tmp_path / name).write_bytes(content)
        assert said in refused(tmp_path / name)


def test_folders_that_are_no_list_are_refused(tmp_path: Path) -> None:
    parts, partitions, empty = (tmp_path / name for name in ("parts", "partitions", "empty"))
    LIST.to_parquet(partitions, partition_cols=["layer"])
    for folder in (parts, empty):
        folder.mkdir()
    LIST.to_parquet(parts / "0.parquet")
    LIST.drop(columns="sample").to_parquet(parts / "1.parquet")
    assert refused(parts) == (
        "parts/1.parquet: this part has the columns layer, element, bit; 0.parquet has layer, "
        "sample, element, bit\n  write all parts with the same columns"
    )
    assert "the folder holds the folder layer=conv; expected the parts" in refused(partitions)
    assert "the folder holds no files; expected the parts" in refused(empty)
