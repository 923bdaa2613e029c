"""Code of the user's own: which files it is, and that any change of them is seen."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import pytest

from injecttf2.errors import CampaignError, ModelError
from injecttf2.models import loading
from injecttf2.user_code.files import Code, CodeFile, code_of
from injecttf2.user_code.importing import Parcel, code_of_loaded, install
from injecttf2.user_code.references import import_function


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


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


FAULT = """
import enum
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import tables
from tables import gain as imported_gain
import package.sub
from package import exported

TABLE = {"gain": 2.0}
LIST = [1.0]
POWER = 1.0


class Kind(enum.Enum):
    LOW = 0.25


def scaled(values, by=3.0, *, and_by=4.0):
    return values * by * and_by


@lru_cache
def cached(value):
    return value * 5.0


halved = partial(scaled, by=0.5)
vectorised = np.vectorize(lambda value: value * 6.0)


class Base:
    inherited = 7.0


class Holder:
    pass


HOLDER = Holder()
HOLDER.attribute = 8.0


@dataclass(frozen=True)
class Gain(Base):
    variable = 9.0

    class Nested:
        value = 10.0

    def corrupt(self, values, draws):
        from lazily import late

        return values * tables.gain() * imported_gain() * late() * exported
"""

FILES = {
    "faults.py": FAULT,
    "tables.py": "CONSTANT = 11.0\n\n\ndef gain():\n    return CONSTANT * 12.0\n",
    "lazily.py": "from deeper import DEEP\n\n\ndef late():\n    return DEEP\n",
    "deeper.py": "DEEP = 13.0\n",
    "package/__init__.py": "from .other import exported\n",
    "package/other.py": "exported = 14.0\n",
    "package/sub.py": "from . import exported\nfrom .star import *\n",
    "package/star.py": "STAR = 15.0\n",
    "unrelated.py": "NOTHING = 0.0\n",
}

EDITS = {
    "a dictionary of the module": ("faults.py", '"gain": 2.0'),
    "a list of the module": ("faults.py", "LIST = [1.0]"),
    "a number of the module": ("faults.py", "POWER = 1.0"),
    "a member of an enumeration": ("faults.py", "LOW = 0.25"),
    "a default": ("faults.py", "by=3.0"),
    "a keyword's default": ("faults.py", "and_by=4.0"),
    "a cached function": ("faults.py", "value * 5.0"),
    "an argument of a partial": ("faults.py", "by=0.5"),
    "a function in np.vectorize": ("faults.py", "value * 6.0"),
    "a variable of a base class": ("faults.py", "inherited = 7.0"),
    "an attribute of an object": ("faults.py", "attribute = 8.0"),
    "a class variable": ("faults.py", "variable = 9.0"),
    "a nested class": ("faults.py", "value = 10.0"),
    "the method itself": ("faults.py", "return values * tables"),
    "an import": ("faults.py", "from lazily import late"),
    "a decorator": ("faults.py", "@lru_cache"),
    "a comment": ("faults.py", "\nTABLE"),
    "a constant of a helper's module": ("tables.py", "CONSTANT = 11.0"),
    "a function of a helper's module": ("tables.py", "* 12.0"),
    "a module imported in a function": ("lazily.py", "return DEEP"),
    "a module that this one imports": ("deeper.py", "DEEP = 13.0"),
    "a package": ("package/__init__.py", "import exported"),
    "what a package exports from a module": ("package/other.py", "exported = 14.0"),
    "a module of a package": ("package/sub.py", "import *"),
    "a module imported with a star": ("package/star.py", "STAR = 15.0"),
}


def test_code_is_a_module_and_all_that_it_imports(tmp_path: Path) -> None:
    code = code_of("faults:Gain", write(tmp_path, FILES))
    assert sorted(code.files) == sorted(set(FILES) - {"unrelated.py"})
    assert code.installed == {"numpy"}


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_changes_the_digest_of_its_file_alone(what: str, tmp_path: Path) -> None:
    file, text = EDITS[what]
    before = code_of("faults", write(tmp_path, FILES))
    assert text in FILES[file]
    (tmp_path / file).write_text(FILES[file].replace(text, f"{text}  # edited"))
    after = code_of("faults", tmp_path)
    differing = {name for name in after.files if after.files[name] != before.files[name]}
    assert (differing, after.digest != before.digest) == ({file}, True)


def test_code_is_the_same_in_another_folder_and_beside_other_files(tmp_path: Path) -> None:
    here = code_of("faults", write(tmp_path / "here", FILES))
    there = code_of("faults", write(tmp_path / "there", {**FILES, "another.py": "1 / 0\n"}))
    assert (here.digest, here.files) == (there.digest, there.files)


IMPORTS = {
    "in a condition": "if 1 > 2:\n    import helper\n",
    "in a try": "try:\n    import missing\nexcept ImportError:\n    import helper\n",
    "for types alone": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import helper\n",
    "by a name of another": "import helper as numpy_\n",
    "by importlib": "import importlib\nimportlib.import_module('helper')\n",
    "by import_module": "from importlib import import_module\nimport_module('helper')\n",
    "by __import__": "__import__('helper')\n",
    "by a variable": "import importlib\nimportlib.import_module('hel' + 'per')\n",
    "by another name": "from importlib import import_module as get\nget('helper')\n",
    "with a coding": "# -*- coding: latin-1 -*-\nimport helper\n",
    "by its file": "from importlib.util import spec_from_file_location\n"
    "spec = spec_from_file_location('any', __file__.replace('main', 'helper'))\n",
    "by runpy": "import runpy\nrunpy.run_module(input())\n",
    "by a text": "import importlib\nimportlib.import_module(f'space.{input()}')\n",
    "by a sum": "import importlib\nimportlib.import_module('space.' + input() + '')\n",
    "as an argument": "from importlib import import_module\nlist(map(import_module, input()))\n",
    "by an attribute": "import importlib\nload = importlib.import_module\nload('helper')\n",
    "beside a constant": "import importlib\nimportlib.import_module('.inner', 'space')\n",
    "beside a variable": "import importlib\nimportlib.import_module('.x', input())\n",
    "by pkgutil": "import pkgutil\npkgutil.resolve_name('helper:X')\n",
    "by pkgutil and a variable": "import pkgutil\npkgutil.resolve_name(input())\n",
    "by pydoc": "from pydoc import locate\nlocate('helper.X')\n",
    "by a list": "__import__('space', fromlist=['inner'])\n",
    "in a class": "class Some:\n    import helper\n",
    "in a cycle": "import helper\nimport main\n",
    "by a namespace": "import space.inner\n",
    "in a function in a function": "def one():\n    def two():\n        from helper import three\n",
}


@pytest.mark.parametrize("how", IMPORTS)
def test_a_neighbour_is_found_however_it_is_imported(how: str, tmp_path: Path) -> None:
    files = {
        "main.py": IMPORTS[how],
        "helper.py": "import main\n",
        "space/inner.py": "import helper",
    }
    assert "helper.py" in code_of("main", write(tmp_path, files)).files


def test_a_package_that_imports_by_a_variable_counts_whole(tmp_path: Path) -> None:
    text = "import importlib, pkgutil\nfor one in pkgutil.iter_modules(__path__):\n"
    text += "    importlib.import_module(f'{__name__}.{one.name}')\n"
    files = {
        "whole/__init__.py": text,
        "whole/a.py": "",
        "whole/b/__init__.py": "",
        "whole/b/c.py": "",
    }
    code = code_of("whole", write(tmp_path, {**files, "beside.py": ""}))
    assert sorted(code.files) == sorted(files)


def test_what_is_installed_is_named_and_does_not_count(tmp_path: Path) -> None:
    text = "import scipy.special, os, results, tensorflow as tf\nfrom helper import x\n"
    code = code_of("main", write(tmp_path, {"main.py": text, "helper.py": "import yaml\n"}))
    assert sorted(code.files) == ["helper.py", "main.py"]
    assert code.installed == {"scipy", "tensorflow", "yaml"}


def test_a_file_beside_comes_before_an_installed_module_of_its_name(tmp_path: Path) -> None:
    importlib.import_module("packaging.version")
    files = {"main.py": "import packaging\n", "packaging.py": "X = 1\n"}
    code = code_of("main", write(tmp_path, files))
    assert (sorted(code.files), code.installed) == (["main.py", "packaging.py"], frozenset())
    install(code)
    assert importlib.import_module("packaging").X == 1


def test_a_file_that_comes_to_lie_beside_changes_the_code(tmp_path: Path) -> None:
    text = "try:\n    import fast\nexcept ImportError:\n    fast = None\n"
    before = code_of("main", write(tmp_path, {"main.py": text}))
    after = code_of("main", write(tmp_path, {"fast.py": ""}))
    assert (sorted(before.files), sorted(after.files)) == (["main.py"], ["fast.py", "main.py"])


def test_a_compiled_module_counts_by_its_bytes(tmp_path: Path) -> None:
    write(tmp_path, {"main.py": "import native\n"})
    (tmp_path / "native.abi3.so").write_bytes(b"\x7fELF, not really")
    assert sorted(code_of("main", tmp_path).files) == ["main.py", "native.abi3.so"]


def test_a_file_that_is_no_python_counts_by_its_bytes(tmp_path: Path) -> None:
    code = code_of(
        "main", write(tmp_path, {"main.py": "import helper\n", "helper.py": "print 1\n"})
    )
    assert sorted(code.files) == ["helper.py", "main.py"]


def test_finding_code_runs_nothing(tmp_path: Path) -> None:
    loud = f"open({str(tmp_path / 'ran')!r}, 'w')\n"
    files = {
        "p/__init__.py": f"{loud}from . import a\n",
        "p/a.py": f"{loud}import b\n",
        "b.py": loud,
    }
    assert sorted(code_of("p.a", write(tmp_path, files)).files) == sorted(files)
    assert not (tmp_path / "ran").exists()


def test_code_runs_where_its_files_are_not(tmp_path: Path) -> None:
    """As on a worker: also what is imported late, and what a class refers to by its module."""
    folder = write(tmp_path / "here", FILES)
    code = code_of("faults:Gain", folder)
    install(code)
    parcel = Parcel.of(importlib.import_module("faults").Gain(), code)
    (tmp_path / "parcel").write_bytes(pickle.dumps(parcel))
    folder.rename(tmp_path / "gone")
    program = (
        "import pickle, sys, numpy as np\n"
        f"parcel = pickle.load(open({str(tmp_path / 'parcel')!r}, 'rb'))\n"
        "print(parcel.open().corrupt(np.ones(1), None))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.stdout, done.stderr) == (f"[{(11 * 12) ** 2 * 13 * 14:.0f}.]\n", "")


def test_a_module_that_the_users_program_imported_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(
        write(tmp_path, {"mine_a/b.py": "import mine_c\n", "mine_c.py": ""})
    )
    importlib.import_module("mine_a.b")
    assert sorted(code_of_loaded(["mine_a.b", "numpy", "nowhere"]).files) == [
        "mine_a/b.py",
        "mine_c.py",
    ]


def test_a_file_that_changed_after_the_users_program_imported_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(
        write(tmp_path, {"mine_d.py": "import mine_e\n", "mine_e.py": "X = 1\n"})
    )
    importlib.import_module("mine_d")
    code_of_loaded(["mine_d"])
    write(tmp_path, {"mine_e.py": "X = 2\n"})
    for ask in (lambda: code_of_loaded(["mine_d"]), lambda: install(code_of("mine_d", tmp_path))):
        with pytest.raises(CampaignError) as caught:
            ask()
        assert str(caught.value) == (
            f"{tmp_path}/mine_e.py: the file has changed since this process imported it\n"
            "  start Python anew, so that what runs is what the file says"
        )


@pytest.mark.parametrize("how", [["study.py"], ["-m", "study"]])
def test_a_script_counts_with_what_it_imports(how: list[str], tmp_path: Path) -> None:
    text = "import helper\nfrom injecttf2.user_code.importing import code_of_loaded\n"
    text += "print(*code_of_loaded(['__main__']).files)\n"
    write(tmp_path, {"study.py": text, "helper.py": ""})
    done = subprocess.run(
        [sys.executable, *how],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("__main__:study.py helper.py\n", "")


def test_a_notebook_counts_by_the_modules_that_its_values_are_of(tmp_path: Path) -> None:
    text = "import helper\nfrom other import something\n"
    text += "from injecttf2.user_code.importing import code_of_loaded\n"
    text += "print(*code_of_loaded(['__main__']).files)\n"
    write(tmp_path, {"helper.py": "", "other.py": "def something():\n    pass\n", "third.py": ""})
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("helper.py other.py\n", "")


def test_code_of_a_loaded_module_does_not_depend_on_what_it_was_loaded_with(tmp_path: Path) -> None:
    write(tmp_path, {"mine_f.py": "import mine_g\n", "mine_g.py": ""})
    install(code_of("mine_f", tmp_path))
    importlib.import_module("mine_f")
    assert sorted(code_of_loaded(["mine_g"]).files) == ["mine_g.py"]


def test_a_module_is_imported_anew_where_one_that_it_imported_has_changed(tmp_path: Path) -> None:
    write(tmp_path, {"mine_h.py": "from mine_i import X\n", "mine_j.py": "import mine_i\n"})
    for x in (1, 2):
        write(tmp_path, {"mine_i.py": f"X = {x}\n"})
        for name in ("mine_j", "mine_h"):
            install(code_of(name, tmp_path))
            importlib.import_module(name)
        assert (x, x) == (sys.modules["mine_h"].X, sys.modules["mine_j"].mine_i.X)


def test_what_a_module_adds_to_the_python_path_counts(tmp_path: Path) -> None:
    text = f"import sys\nsys.path.append({str(tmp_path / 'lib')!r})\nimport mine_k\n"
    write(tmp_path, {"here/mine_l.py": text + "def build():\n    pass\n", "lib/mine_k.py": ""})
    import_function("mine_l:build", tmp_path / "here", ModelError)
    assert sorted(code_of("mine_l", tmp_path / "here").files) == ["mine_k.py", "mine_l.py"]


def test_a_folder_without_init_is_a_package(tmp_path: Path) -> None:
    write(tmp_path, {"mine_m/n/o.py": "X = 1\n", "mine_m/p.py": "from mine_m.n import o\n"})
    install(code_of("mine_m.p", tmp_path))
    module = importlib.import_module("mine_m.p")
    assert module.o.X == 1
    assert list(sys.modules["mine_m"].__path__) == [str(tmp_path / "mine_m")]


def test_a_module_of_the_users_in_the_place_of_one_of_pythons_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the user's own program finds it first, as a script does in its folder."""
    monkeypatch.syspath_prepend(
        write(tmp_path, {"colorsys.py": "X = 1\n", "mine_q.py": "import colorsys"})
    )
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    importlib.import_module("mine_q")
    assert sorted(code_of("mine_q", tmp_path).files) == ["colorsys.py", "mine_q.py"]


def test_layers_that_a_program_has_registered_are_code_of_a_model_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = (
        "import keras\nimport mine_s\n\n@keras.saving.register_keras_serializable('mine_r')\n"
        "class Doubled(keras.layers.Layer):\n    def call(self, x):\n        return 2 * x\n"
    )
    monkeypatch.syspath_prepend(write(tmp_path, {"mine_r.py": layer, "mine_s.py": ""}))
    inputs = keras.Input((4,))
    keras.Model(inputs, importlib.import_module("mine_r").Doubled()(inputs)).save(
        tmp_path / "m.keras"
    )
    portable, _ = loading.resolve(str(tmp_path / "m.keras"))
    assert sorted(portable.code.files) == ["mine_r.py", "mine_s.py"]
    keras.Sequential([inputs, keras.layers.Dense(2)]).save(tmp_path / "plain.keras")
    assert not loading.resolve(str(tmp_path / "plain.keras"))[0].code


def test_a_module_of_the_package_that_was_not_seen_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import builtins\n\ndef load():\n    get = vars(builtins)['__imp' + 'ort__']\n"
    text += "    return get('mine_t.tables', fromlist=['X'])\n"
    write(tmp_path, {"mine_t/__init__.py": "", "mine_t/faults.py": text, "mine_t/tables.py": ""})
    monkeypatch.syspath_prepend(tmp_path)
    install(code_of("mine_t.faults", tmp_path))
    module = importlib.import_module("mine_t.faults")
    with pytest.raises(ModuleNotFoundError, match="name it in a statement, `import mine_t"):
        module.load()
    importlib.import_module("mine_t.tables")  # by a program of the user's


def test_a_module_is_imported_anew_where_an_optional_one_has_come(tmp_path: Path) -> None:
    text = (
        "try:\n    from mine_v import X\nexcept ImportError:\n    X = 1\n\ndef f():\n    return X\n"
    )
    write(tmp_path, {"mine_u.py": text})
    assert import_function("mine_u:f", tmp_path, ModelError)() == 1
    write(tmp_path, {"mine_v.py": "X = 2\n"})
    assert import_function("mine_u:f", tmp_path, ModelError)() == 2
    (tmp_path / "mine_v.py").unlink()
    assert import_function("mine_u:f", tmp_path, ModelError)() == 1


def test_an_optional_neighbour_of_another_campaign_does_not_count(tmp_path: Path) -> None:
    write(tmp_path, {"a/mine_w.py": "import mine_x\n", "a/mine_x.py": ""})
    write(tmp_path, {"b/mine_y.py": "try:\n    import mine_x\nexcept ImportError:\n    pass\n"})
    install(code_of("mine_w", tmp_path / "a"))
    importlib.import_module("mine_w")
    code = code_of("mine_y", tmp_path / "b")
    assert sorted(code.files) == ["mine_y.py"]
    install(code)
    assert not hasattr(importlib.import_module("mine_y"), "mine_x")


def test_a_users_module_with_the_name_of_one_of_pythons_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(write(tmp_path, {"code.py": "import mine_z\n", "mine_z.py": ""}))
    monkeypatch.delitem(sys.modules, "code", raising=False)
    importlib.import_module("code")
    assert sorted(code_of_loaded(["code", "json"]).files) == ["code.py", "mine_z.py"]
    assert not code_of_loaded(["json", "injecttf2"]).installed


def test_a_reload_takes_what_the_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(write(tmp_path, {"mine_aa.py": "X = 1\n"}))
    install(code_of("mine_aa", tmp_path))
    module = importlib.import_module("mine_aa")
    for x in (2, 3):
        write(tmp_path, {"mine_aa.py": f"X = {x}\n"})
        importlib.reload(module)
        assert x == module.X
        assert code_of_loaded(["mine_aa"]).modules["mine_aa"].content == b"X = %d\n" % x


@pytest.mark.parametrize("before", ["def f():\n    return 1\n", "class A:\n    def f(s): pass\n"])
def test_a_file_whose_functions_are_others_than_those_that_run_is_refused(
    before: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(write(tmp_path, {"mine_ab.py": before}))
    importlib.import_module("mine_ab")
    write(tmp_path, {"mine_ab.py": "def f():\n    return 2\n"})
    with pytest.raises(CampaignError, match="the file has changed since"):
        code_of_loaded(["mine_ab"])


@pytest.mark.parametrize("edited", ["X = 22\n", "X = 1\n# a comment\n"])
def test_a_value_that_is_another_than_what_python_compiled_is_refused(
    edited: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.syspath_prepend(write(tmp_path, {"mine_ad.py": "X = 1\n"}))
    importlib.import_module("mine_ad")
    write(tmp_path, {"mine_ad.py": edited})
    if "comment" in edited:
        assert code_of_loaded(["mine_ad"])
        return
    with pytest.raises(CampaignError, match="the file has changed since"):
        code_of_loaded(["mine_ad"])


def test_a_notebook_counts_by_modules_that_its_values_do_not_tell(tmp_path: Path) -> None:
    text = "from helper import GAIN\nfrom injecttf2.user_code.importing import code_of_loaded\n"
    text += "print(*code_of_loaded(['__main__']).files)\n"
    write(tmp_path, {"helper.py": "GAIN = {'a': 2.0}\n", "third.py": ""})
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("helper.py\n", "")


def test_installed_parts_of_a_package_of_the_users_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"site-packages/mine_ac/other.py": "X = 2\n"})
    write(tmp_path, {"here/mine_ac/own.py": "import mine_ac.other\n"})
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    code = code_of("mine_ac.own", tmp_path / "here")
    install(code)
    assert importlib.import_module("mine_ac.own").mine_ac.other.X == 2
    assert sorted(code.files) == ["mine_ac/own.py"]


def test_a_script_and_a_module_of_one_name_both_count() -> None:
    module = CodeFile("faults.py", "/c/faults.py", b"2")
    digests = {
        Code({"__main__": CodeFile("__main__:faults.py", "/s", text), "faults": module}).digest
        for text in (b"1", b"another")
    }
    assert len(digests) == 2


def test_two_files_for_one_module_are_refused() -> None:
    one, other = (
        Code({"faults": CodeFile("faults.py", f"/{text}/faults.py", text.encode())})
        for text in ("a", "b")
    )
    assert one | one == one
    with pytest.raises(CampaignError, match="two files are the module 'faults'"):
        one | other


def test_values_of_one_package_travel_with_its_files_once(tmp_path: Path) -> None:
    write(tmp_path, {"mine_ae.py": "# a long file\n" * 1000})
    parcels = [Parcel.of(number, code_of("mine_ae", tmp_path)) for number in range(4)]
    assert len(pickle.dumps(parcels)) < 2 * len(pickle.dumps(parcels[0]))
    assert [one.open() for one in parcels] == [0, 1, 2, 3]


def test_code_of_a_loaded_module_is_what_lies_beside_the_campaign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"lib/mine_af.py": "import mine_ag\n", "here/mine_ag.py": ""})
    monkeypatch.syspath_prepend(tmp_path / "lib")
    install(code := code_of("mine_af", tmp_path / "here"))
    importlib.import_module("mine_af")
    assert code_of_loaded(["mine_af"]).files == code.files
    assert len(code.files) == 2
