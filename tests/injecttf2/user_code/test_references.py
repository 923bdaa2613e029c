"""Functions named as ``package.module:function``: where they are looked up."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from injecttf2.errors import DatasetError, ModelError
from injecttf2.user_code import references


@pytest.fixture(autouse=True)
def imports_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        del sys.modules[name]
    sys.modules.update(before)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    "reference",
    ["module:function", "package.module:function", "a.b.c:d", "_private:_function", "größe:länge"],
)
def test_a_module_and_a_function_make_a_reference(reference: str) -> None:
    assert references.is_function(reference)


@pytest.mark.parametrize(
    "reference",
    [
        "",
        ":",
        "module",
        "module:",
        ":function",
        "model.h5",
        "folder/model.keras",
        "folder/module:function",
        "module:function()",
        "module:a.b",
        "module:a:b",
        ".module:function",
        "package..module:function",
        "C:/models/model.h5",
        "my-module:function",
    ],
)
def test_anything_else_makes_no_reference(reference: str) -> None:
    assert not references.is_function(reference)


def test_a_function_is_found_beside_the_campaign(tmp_path: Path) -> None:
    write(tmp_path / "mine_beside.py", "def build():\n    return 'beside'\n")
    function = references.import_function("mine_beside:build", tmp_path, ModelError)
    assert function() == "beside"


def test_a_function_is_found_in_a_package_beside_the_campaign(tmp_path: Path) -> None:
    write(tmp_path / "mine_package" / "__init__.py", "")
    write(tmp_path / "mine_package" / "nets.py", "def build():\n    return 'nested'\n")
    function = references.import_function("mine_package.nets:build", tmp_path, ModelError)
    assert function() == "nested"


def test_a_module_finds_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path / "mine_neighbour.py", "WORD = 'next door'\n")
    write(
        tmp_path / "mine_main.py",
        "from mine_neighbour import WORD\n\ndef build():\n    return WORD\n",
    )
    function = references.import_function("mine_main:build", tmp_path, ModelError)
    assert function() == "next door"


def test_a_function_is_found_on_the_python_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "path" / "mine_on_path.py", "def build():\n    return 'on the path'\n")
    monkeypatch.syspath_prepend(tmp_path / "path")
    function = references.import_function("mine_on_path:build", None, ModelError)
    assert function() == "on the path"
    (tmp_path / "campaign").mkdir()
    again = references.import_function("mine_on_path:build", tmp_path / "campaign", ModelError)
    assert again is function


def test_the_campaigns_folder_comes_before_the_python_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "path" / "mine_twice.py", "def build():\n    return 'on the path'\n")
    write(tmp_path / "campaign" / "mine_twice.py", "def build():\n    return 'beside'\n")
    monkeypatch.syspath_prepend(tmp_path / "path")
    function = references.import_function("mine_twice:build", tmp_path / "campaign", ModelError)
    assert function() == "beside"


def test_a_namesake_that_was_imported_from_elsewhere_is_forgotten(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        write(tmp_path / folder / "mine_namesake.py", f"def build():\n    return '{folder}'\n")
    for folder in ("first", "second", "first"):
        function = references.import_function("mine_namesake:build", tmp_path / folder, ModelError)
        assert function() == folder


def test_a_module_is_imported_once(tmp_path: Path) -> None:
    write(tmp_path / "mine_once.py", "def build():\n    return 1\n")
    first = references.import_function("mine_once:build", tmp_path, ModelError)
    path = list(sys.path)
    assert references.import_function("mine_once:build", tmp_path, ModelError) is first
    assert sys.path == path
    assert str(tmp_path) not in path


def test_a_missing_module_is_the_users_error() -> None:
    with pytest.raises(DatasetError) as caught:
        references.import_function("mine_missing.nets:build", None, DatasetError)
    assert str(caught.value) == (
        "mine_missing.nets:build: the module 'mine_missing.nets' cannot be imported: "
        "ModuleNotFoundError: No module named 'mine_missing'\n"
        "  it is looked up beside the campaign file, then on the Python path"
    )


def test_a_module_that_raises_is_the_users_error(tmp_path: Path) -> None:
    write(tmp_path / "mine_broken.py", "1 / 0\n")
    with pytest.raises(ModelError) as caught:
        references.import_function("mine_broken:build", tmp_path, ModelError)
    assert caught.value.message == (
        "the module 'mine_broken' cannot be imported: ZeroDivisionError: division by zero"
    )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_module_that_ends_the_program_is_the_users_error(tmp_path: Path) -> None:
    write(tmp_path / "mine_script_only.py", "import sys\n\nsys.exit(0)\n")
    with pytest.raises(ModelError) as caught:
        references.import_function("mine_script_only:build", tmp_path, ModelError)
    assert str(caught.value) == (
        "mine_script_only:build: the module 'mine_script_only' ends the program when it is "
        "imported, with exit code 0\n"
        '  put what it does as a script below `if __name__ == "__main__":`'
    )


def test_what_a_module_prints_stays_off_the_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "mine_talking.py", "print('hello')\n\ndef build():\n    pass\n")
    references.import_function("mine_talking:build", tmp_path, ModelError)
    assert capsys.readouterr() == ("", "hello\n")


@pytest.mark.parametrize("name", ["missing", "WORD"])
def test_a_name_that_is_no_function_is_the_users_error(name: str, tmp_path: Path) -> None:
    write(tmp_path / "mine_wordy.py", "WORD = 'word'\n")
    with pytest.raises(ModelError) as caught:
        references.import_function(f"mine_wordy:{name}", tmp_path, ModelError)
    assert str(caught.value) == (
        f"mine_wordy:{name}: the module 'mine_wordy' has no function '{name}'"
    )


def test_a_relative_folder_is_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "here" / "mine_relative.py", "def build():\n    import mine_later\n")
    write(tmp_path / "here" / "mine_later.py", "")
    monkeypatch.chdir(tmp_path)
    function = references.import_function("mine_relative:build", Path("here"), ModelError)
    monkeypatch.chdir("/")
    function()  # also after a change of the folder


def test_a_module_that_was_edited_is_imported_anew(tmp_path: Path) -> None:
    write(tmp_path / "mine_edited.py", "from mine_word import WORD\n\ndef build(): return WORD\n")
    for word in ("one", "two"):  # of the same length, within a second
        write(tmp_path / "mine_word.py", f"WORD = '{word}'\n")
        assert references.import_function("mine_edited:build", tmp_path, ModelError)() == word


@pytest.mark.parametrize("name", ["results", "statistics", "keras"])
def test_a_file_with_the_name_of_what_python_needs_is_the_users_error(
    name: str, tmp_path: Path
) -> None:
    write(tmp_path / f"{name}.py", "raise SystemExit")
    with pytest.raises(ModelError) as caught:
        references.import_function(f"{name}:build", tmp_path, ModelError)
    assert str(caught.value) == (
        f"{name}:build: {tmp_path}/{name}.py has the name of a module that Python or injecttf2 "
        "needs\n  give it another name"
    )


def test_such_a_file_is_not_imported_by_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path / "colorsys.py", "raise SystemExit")
    write(tmp_path / "mine_plain.py", "def build():\n    import colorsys\n    return colorsys\n")
    function = references.import_function("mine_plain:build", tmp_path, ModelError)
    assert function().rgb_to_hsv(0, 0, 0) == (0, 0, 0)


def test_code_whose_results_count_may_import_what_lies_in_its_folder(tmp_path: Path) -> None:
    write(tmp_path / "mine_found.py", "")
    with references.findable(tmp_path):
        importlib.import_module("mine_found")
    assert str(tmp_path) not in sys.path
