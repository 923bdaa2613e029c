# ruff: noqa: RUF001 - such characters are what is tested
"""Characters that look like others are named where they make a file wrong, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from injecttf2.config.spelling import nearest
from injecttf2.config.yaml_file import read_yaml
from injecttf2.errors import CampaignError
from orchestrator.campaign.campaign import load_campaign

HEAD = "model: builtin:digits_cnn\ndataset: digits\n"
GRID = "grid: {bits: 3, counts: 1}\n"
UNQUOTED = ", or put the whole text in quotes if it belongs to it"


def problem(tmp_path: Path, text: str) -> str:
    """Return what is wrong with a campaign, without its file in front and the hint behind."""
    file = tmp_path / "odd.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CampaignError) as caught:
        load_campaign(file)
    return f"{caught.value.place}: {caught.value.message}".removeprefix(f"{file}:")


NAMED = {
    "no-break space behind a colon": (
        f"{HEAD}seed:\u00a03\n{GRID}", "3:6", "no-break space (U+00A0): type a space",
    ),
    "in a value": (
        f"{HEAD}seed: 3\u00a0\n{GRID}", "3:8", f"no-break space (U+00A0): type a space{UNQUOTED}",
    ),
    "in front of a comment": (
        f"{HEAD}seed: 3\u202f# three\n{GRID}", "3:8",
        f"narrow no-break space (U+202F): type a space{UNQUOTED}",
    ),
    "as indentation": (
        f"{HEAD}grid:\n\u2007\u2007bits: 3\n", "4:1",
        f"figure space (U+2007): type a space{UNQUOTED}",
    ),
    "among spaces": (
        f"{HEAD}grid:\n  bits: 3\n \u00a0counts: 1\n", "5:2",
        "no-break space (U+00A0): type a space",
    ),
    "ideographic": (f"model:\u3000x.h5\n{GRID}", "1:7", "ideographic space (U+3000): type a space"),
    "second line of a text": (
        f"{HEAD}name: a\n  b\u00a0c\n{GRID}", "4:4",
        f"no-break space (U+00A0): type a space{UNQUOTED}",
    ),
    "zero width": (
        f"data\u200bset: digits\n{GRID}", "1:5", f"zero width space (U+200B): remove it{UNQUOTED}",
    ),
    "copied from a window": (
        f"model: \u202aC:/m.h5\n{GRID}", "1:8",
        f"left-to-right embedding (U+202A): remove it{UNQUOTED}",
    ),
    "mark of another file": (
        f"{HEAD}\ufeff{GRID}", "3:1", f"zero width no-break space (U+FEFF): remove it{UNQUOTED}",
    ),
    "colon": (f"{HEAD}seed：3\n{GRID}", "3:5", "full-width colon (U+FF1A): type ':'"),
    "colon of the first line": (
        f"model：x.h5\n\n{GRID}", "1:6", "full-width colon (U+FF1A): type ':'",
    ),
    "colon of the last line": (
        f"{HEAD}{GRID}seed：3", "4:5", "full-width colon (U+FF1A): type ':'",
    ),
    "colon of the only line": ("seed：3\n", "1:5", "full-width colon (U+FF1A): type ':'"),
    "comma": (
        f"{HEAD}grid: {{bits: 3， counts: 1}}\n", "3:15", "full-width comma (U+FF0C): type ','",
    ),
    "bracket": (
        f"{HEAD}grid: {{bits: [3］, counts: 1}}\n", "3:16",
        "full-width right square bracket (U+FF3D): type ']'",
    ),
    "number sign": (
        f"{HEAD}seed: 3 ＃ three\n{GRID}", "3:9",
        f"full-width number sign (U+FF03): type '#'{UNQUOTED}",
    ),
    "curly quotes": (
        f"model: “x.h5”\n{GRID}", "1:8",
        f"left double quotation mark (U+201C): type '\"'{UNQUOTED}",
    ),
    "curly quote at the end": (
        f"model: x.h5’\n{GRID}", "1:12",
        f'right single quotation mark (U+2019): type "\'"{UNQUOTED}',
    ),
    "curly quote that ends a straight one": (
        f'model: "x.h5”\n{GRID}', "1:13", "right double quotation mark (U+201D): type '\"'",
    ),
    "dash of an item": (
        f"{HEAD}grid:\n  layers:\n    – a\n    – b\n  bits: 3\n", "5:5",
        f"en dash (U+2013): type '-'{UNQUOTED}",
    ),
    "dash of an item that is not indented": (
        f"{HEAD}grid:\n  layers:\n  – a\n  bits: 3\n", "5:3", "en dash (U+2013): type '-'",
    ),
    "minus": (f"{HEAD}seed: −3\n{GRID}", "3:7", f"minus sign (U+2212): type '-'{UNQUOTED}"),
}  # fmt: skip


@pytest.mark.parametrize("case", NAMED)
def test_what_makes_a_file_wrong_is_named_with_its_place(case: str, tmp_path: Path) -> None:
    text, place, said = NAMED[case]
    told = "received a character that is not what it looks like"
    assert problem(tmp_path, text) == f"{place}: {told}, {said}"


REFUSED = {
    "range": ("bits: 0–31", "3:14", "the en dash (U+2013) is not what it looks like: type '-'"),
    "quoted range": ("bits: '0‐31'", "3:14", "the hyphen (U+2010) is not what it looks like"),
    "list": ("bits: [1，2]", "3:15", "the full-width comma (U+FF0C) is not what it looks like"),
    "digit": ("bits: ３", "3:14", "the full-width digit three (U+FF13) is not what it looks like"),
    "key": ("bits： 3", "3:8", "the full-width colon (U+FF1A) is not what it looks like: type ':'"),
    "key of a mapping": (
        "bits: 3, fault: {type：zero}",
        "3:24",
        "the full-width colon (U+FF1A) is not what it looks like: type ':'",
    ),
    "quoted key": (
        "'bits\u00a0': 3",
        "3:8",
        "the no-break space (U+00A0) is not what it looks like",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_value_or_key_that_is_refused_has_its_character_named(case: str, tmp_path: Path) -> None:
    text, place, said = REFUSED[case]
    found = problem(tmp_path, f"{HEAD}grid: {{{text}, counts: 1}}\n")
    assert found.startswith(f"{place}: ")
    assert said in found


FINE = {
    "quoted": ("model: 'a\u00a0b： “c” – d.h5'", "a\u00a0b： “c” – d.h5"),
    "double quoted": ('model: "\u3000m\u200b.h5"', "\u3000m\u200b.h5"),
    "a comment": ("model: m.h5 # \u00a0：，“–”", "m.h5"),
    "in a name of a file": (
        "model: /data/2019–2020/l’été（旧）/m.h5",
        "/data/2019–2020/l’été（旧）/m.h5",
    ),
    "joiners of letters": ("model: می\u200cخواهم.h5", "می\u200cخواهم.h5"),
    "block": ("model: |\n  a\u00a0b", "a\u00a0b\n"),
}


@pytest.mark.parametrize("case", FINE)
def test_where_any_character_may_stand_it_is_kept(case: str, tmp_path: Path) -> None:
    text, value = FINE[case]
    file = tmp_path / "fine.yaml"
    file.write_text(f"{text}\n", encoding="utf-8")
    assert read_yaml(file).data == {"model": value}


def test_another_mistake_is_not_put_down_to_a_character(tmp_path: Path) -> None:
    text = f"model: /data/2019–2020/（旧）/m.h5 # “x”：\n  dataset: '：'\n{GRID}"
    assert problem(tmp_path, text).startswith("2:3: the indentation fits none")
    text = f"model: 'x\ndataset： digits\n{GRID}"
    assert problem(tmp_path, text).endswith("a quoted text is not closed (see line 1)")


def test_tabs_are_named(tmp_path: Path) -> None:
    for text in ("grid:\n\tbits: 3\n", "grid:\n  - bits:\n\t- 3\n", "seed:\t3\n", "seed: 3\t# x\n"):
        assert "received a tab; expected spaces" in problem(tmp_path, text)


def test_a_name_that_is_not_known_has_its_character_named() -> None:
    said = "; the no-break space (U+00A0) is not what it looks like: type a space"
    assert nearest("conv\u00a01", ["conv 1"]) == f"{said}; did you mean 'conv 1'?"
    assert nearest("x\u00a0y", ["conv"]) == said
