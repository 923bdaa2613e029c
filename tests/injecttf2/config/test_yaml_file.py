"""YAML comes in as plain data, and every complaint names file, line and column."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from injecttf2.config.yaml_file import Position, YamlSource, read_yaml
from injecttf2.errors import CampaignError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "campaign.yaml"


def read(file: Path, text: str) -> YamlSource:
    file.write_text(text, encoding="utf-8")
    return read_yaml(file)


def refused(file: Path, content: str | bytes) -> CampaignError:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CampaignError) as caught:
        read_yaml(file)
    return caught.value


def scalar(file: Path, text: str) -> Any:
    return read(file, f"value: {text}\n").data["value"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("1.5e3", 1500.0),
        ("-2e+1", -20.0),
        ("0.01", 0.01),
        (".5", 0.5),
        ("5.", 5.0),
        ("-.inf", -math.inf),
        ("0", 0),
        ("-7", -7),
        ("1_000", 1000),
        ("0x1f", 31),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("!!str 7", "7"),
        ("!!float 1", 1.0),
    ],
)
def test_scalars_are_what_they_look_like(file: Path, text: str, value: object) -> None:
    read_value = scalar(file, text)
    assert read_value == value
    assert type(read_value) is type(value)


def test_nan_is_a_number(file: Path) -> None:
    assert math.isnan(scalar(file, ".nan"))


@pytest.mark.parametrize(
    "text",
    ["0-31", "1:30", "1:3", "010", "0o17", "2026-11-01", "yes", "no", "on", "off", "=", "mnist"],
)
def test_what_yaml_1_1_would_quietly_reinterpret_stays_text(file: Path, text: str) -> None:
    assert scalar(file, text) == text


@pytest.mark.parametrize("text", ["1e-3", "7", "true", "null", "0.5"])
def test_quoted_scalars_stay_text(file: Path, text: str) -> None:
    assert scalar(file, f"'{text}'") == text
    assert scalar(file, f'"{text}"') == text


def test_keys_are_text(file: Path) -> None:
    assert read(file, "on: 1\n3: 2\nnull: 3\n").data == {"on": 1, "3": 2, "null": 3}


leaves = (
    st.none()
    | st.booleans()
    | st.integers(0, 10**9)
    | st.floats(0, 1)
    | st.text("abc ", max_size=5)
)
documents = st.dictionaries(
    st.text("klm", min_size=1, max_size=4),
    st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text("xyz", min_size=1), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    min_size=1,
    max_size=4,
)


@given(documents)
def test_what_pyyaml_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, object]
) -> None:
    file = tmp_path_factory.mktemp("yaml") / "any.yaml"
    assert read(file, yaml.safe_dump(document)).data == document


def test_a_place_is_the_value_and_a_key_place_the_key(file: Path) -> None:
    source = read(file, "model: m.keras\ngrid:\n  bits: [1, 2]\n")
    assert source.place(("model",)) == f"{file}:1:8"
    assert source.place(("model",), key=True) == f"{file}:1:1"
    assert source.place(("grid",)) == f"{file}:3:3"
    assert source.place(("grid", "bits", 1)) == f"{file}:3:13"
    assert source.position(("grid", "bits"), key=True) == Position(3, 3)


def test_an_index_where_one_value_stands_for_a_list_is_passed_over(file: Path) -> None:
    source = read(file, "grid:\n  bits: 3\n")
    assert source.position(("grid", 0, "bits", 0)) == Position(2, 9)


def test_a_key_that_is_missing_is_placed_at_the_mapping_around_it(file: Path) -> None:
    source = read(file, "grid:\n  bits: 3\n")
    assert source.position(("grid", 0, "layers", 4, "bits")) == Position(2, 3)
    assert source.position(("seed",)) == Position(1, 1)


def test_a_byte_order_mark_moves_nothing(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfseed: 3\n")
    source = read_yaml(file)
    assert source.data == {"seed": 3}
    assert source.position(("seed",)) == Position(1, 7)


def test_aliases_repeat_their_anchor_and_point_to_it(file: Path) -> None:
    source = read(file, "a: &rates [0.1, 0.2]\nb: *rates\n")
    assert source.data["b"] == [0.1, 0.2]
    assert source.position(("b", 1)) == Position(1, 17)


def test_a_merge_key_fills_in_what_is_not_given(file: Path) -> None:
    source = read(
        file, "a: &base {x: 1, y: 2}\nb: {<<: *base, y: 3}\nc: {<<: [*base, {x: 9, z: 4}]}\n"
    )
    assert source.data["b"] == {"x": 1, "y": 3}
    assert source.data["c"] == {"x": 1, "y": 2, "z": 4}
    assert source.position(("b", "x")) == Position(1, 14)


def test_a_missing_file_names_its_nearest_neighbour(tmp_path: Path) -> None:
    (tmp_path / "mnist.yaml").write_text("a: 1\n")
    (tmp_path / "other.yml").write_text("a: 1\n")
    missing = tmp_path / "mnits.yaml"
    with pytest.raises(CampaignError) as caught:
        read_yaml(missing)
    assert caught.value.message == "there is no such file"
    assert caught.value.place == str(missing)
    assert caught.value.hint is not None
    assert f"did you mean {str(tmp_path / 'mnist.yaml')!r}?" in caught.value.hint
    assert "`injecttf2 init`" in caught.value.hint


def test_a_missing_folder_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(CampaignError) as caught:
        read_yaml(tmp_path / "gone" / "c.yaml")
    assert caught.value.hint is not None
    assert f"there is no folder {str(tmp_path / 'gone')!r}" in caught.value.hint


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="this is a folder"):
        read_yaml(tmp_path)


BROKEN = {
    "not closed list": (
        "a: [1, 2\nb: 3\n", "2:2",
        "a list that is opened with '[' is not closed with ']' (see line 1)",
    ),
    "not closed mapping": ("a: {b: 1\n", "2:1", "a mapping that is opened with '{' is not closed"),
    "not closed quote": ("a: 'x\nb: 1\n", "3:1", "a quoted text is not closed (see line 1)"),
    "tab": ("a:\n\t- b\n", "2:1", "received a tab; expected spaces"),
    "stray colon": ("a: b: c\n", "1:5", "a ':' cannot stand here"),
    "too deep": ("a: 1\n  b: 2\n", "2:4", "a ':' cannot stand here"),
    "indentation": ("a:\n  - 1\n b: 2\n", "3:2", "the indentation fits none of the lines above"),
    "no colon": ("a: 1\nb\nc: 2\n", "3:1", "expected a ':' after the key (see line 2)"),
    "bare star": ("layers: *conv*\n", "1:14", "text that starts with '*' needs quotes"),
    "no anchor": ("a: *x\n", "1:4", "text that starts with '*' needs quotes"),
    "reserved": ("a: @x\n", "1:4", "text that starts with this character needs quotes"),
    "second document": ("a: 1\n---\nb: 2\n", "2:1", "received a second document; expected one"),
    "bad escape": (
        'a: "\\q"\n', "1:6",
        "this is no valid YAML: while scanning a double-quoted scalar",
    ),
    "control character": ("a: b\x00c\n", "1:5", "received the control character U+0000"),
    "not UTF-8": (b"# \xc3\xa9\na: \xff\n", "2:4", "received the byte 0xff; expected UTF-8 text"),
    "duplicate key": (
        "a: 1\nb: 2\na: 3\n", "3:1",
        "the key 'a' is given twice, on line 1 and on line 3",
    ),
    "list as key": ("[1]: 2\n", "1:1", "received a list or mapping as a key"),
    "python call": (
        "a: !!python/object/apply:os.system [ls]\n", "1:4",
        "the tag !!python/object/apply:os.system is not allowed",
    ),
    "python name": (
        "a: 1\nb: !!python/name:os.system\n", "2:4",
        "the tag !!python/name:os.system is not allowed",
    ),
    "python key": (
        "!!python/name:os.system : 1\n", "1:1",
        "the tag !!python/name:os.system is not allowed",
    ),
    "set": ("a: !!set {x}\n", "1:4", "the tag !!set is not allowed"),
    "own tag": ("a: !mine x\n", "1:4", "the tag !mine is not allowed"),
    "tag that lies": ("a: !!int x\n", "1:4", "received 'x', which is no !!int"),
    "half a character": ('a: "\\ud800"\n', "1:4", "received '\\ud800', which is no !!str"),
    "list at the top": ("- a\n", "1:1", "received a list at the top level; expected a mapping"),
    "text at the top": ("# c\nabc\n", "2:1", "received a single value at the top level"),
    "merge of a number": ("a: {<<: 3}\n", "1:9", "`<<` takes an alias"),
    "endless list": (
        "a: &a [*a]\n", "1:4",
        "an alias (*name) stands inside the value that it repeats",
    ),
    "endless merge": ("a: &a {<<: *a}\n", "1:4", "an alias (*name) stands inside the value"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_broken_yaml_is_refused_where_it_is_broken(file: Path, case: str) -> None:
    content, place, message = BROKEN[case]
    error = refused(file, content)
    assert error.place == f"{file}:{place}"
    assert error.message.startswith(message)


@pytest.mark.parametrize("content", ["", "---\n", "# only a comment\n", "~\n"])
def test_an_empty_file_is_refused(file: Path, content: str) -> None:
    error = refused(file, content)
    assert error.message == "the file is empty"
    assert error.hint == "`injecttf2 init` writes a commented campaign to start from"


@pytest.mark.parametrize("body", ["[{}]", "{{<<: [{}]}}"])
def test_aliases_that_multiply_are_refused(file: Path, body: str) -> None:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} " + body.format(", ".join([f"*a{n - 1}"] * 10)) for n in range(1, 10)]
    assert "more than 100,000 values" in refused(file, "\n".join(lines)).message


def test_a_file_with_too_many_values_is_refused_where_they_are_too_many(file: Path) -> None:
    error = refused(file, "a:\n" + "- 1\n" * 200_000)
    assert (error.message, error.place) == (
        "the file holds more than 100,000 values",
        f"{file}:99999:3",  # the mapping, its key and the list are values too
    )
    assert ".csv or .parquet, that `sites:` names" in str(error.hint)


def test_a_large_file_is_refused_unread(file: Path) -> None:
    file.touch()
    os.truncate(file, 2**40)  # it takes no room
    with pytest.raises(CampaignError) as caught:
        read_yaml(file)
    error = caught.value
    assert error.message == "the file has more than 4 MiB, which no campaign needs"
    assert ".csv or .parquet, that `sites:` names" in str(error.hint)


def test_a_file_as_large_as_one_may_be_is_read(file: Path) -> None:
    rest = "a: 1\n# "
    file.write_text(rest + "x" * (4 * 2**20 - len(rest)))
    assert read_yaml(file).data == {"a": 1}


def test_nesting_without_end_is_refused(file: Path) -> None:
    assert refused(file, "a: " + "[" * 5000).message == "lists and mappings are nested too deeply"


def test_nothing_is_run_while_reading(file: Path, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    refused(file, f"a: !!python/object/apply:pathlib.Path.touch [{witness}]\n")
    assert not witness.exists()
