"""Faults by name: from YAML, from results rows, and from where users keep theirs."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from injecttf2.errors import FaultError
from injecttf2.faults import registry as fault_registry
from injecttf2.faults.bit_faults import BitFlip, StuckAt
from injecttf2.faults.custom import UserFault
from injecttf2.faults.fault_model import Fault, FaultedElements
from injecttf2.faults.mixture import Mixture
from injecttf2.faults.registry import BUILTIN, build, fault, find, from_row, names
from injecttf2.faults.value_faults import Constant, RandomBits, RandomValue, Scale, Zero
from tests.builders import install_package

MODULE = """
from dataclasses import dataclass
from typing import ClassVar

from mine_neighbour import STEP


@dataclass(frozen=True)
class Shifted:
    steps: int
    draws: ClassVar[int] = 0

    def corrupt(self, values, draws):
        return values + values.dtype.type(self.steps * STEP)


@dataclass
class Loose:
    pass
"""


@pytest.fixture(autouse=True)
def everything_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(fault_registry, "_decorated", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        del sys.modules[name]


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    (tmp_path / "mine_faults.py").write_text(MODULE)
    (tmp_path / "mine_neighbour.py").write_text("STEP = 2\n")
    return tmp_path


def row_of(made: Fault) -> dict[str, Any]:
    """Return the columns that a results row holds of a fault in a float32 layer."""
    return {
        "name": made.name,
        "bit": made.bit,
        "bit_field": made.field("float32"),
        "parameters": json.dumps(made.parameters()),
    }


def test_the_built_in_faults_have_the_names_of_their_classes() -> None:
    assert list(BUILTIN) == [
        "bit_flip",
        "stuck_at",
        "zero",
        "constant",
        "random_bits",
        "random_value",
        "scale",
        "mixture",
    ]
    assert {name: kind.name for name, kind in BUILTIN.items()} == {name: name for name in BUILTIN}


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("bit_flip", {"bit": 3}, BitFlip(bit=3)),
        ("bit_flip", {"bit_field": "any", "flips": 2}, BitFlip(bit_field="any", flips=2)),
        ("stuck_at", {"bit": 3, "value": 1}, StuckAt(bit=3, value=1)),
        ("zero", {}, Zero()),
        ("constant", {"value": "nan"}, Constant(float("nan"))),
        ("random_bits", {}, RandomBits()),
        ("scale", {"factor": "1e-3"}, Scale(0.001)),
        (
            "random_value",
            {"distribution": "normal", "mean": 0, "std": 1},
            RandomValue("normal", mean=0.0, std=1.0),
        ),
    ],
)
def test_a_fault_is_built_from_its_name_and_parameters(
    name: str, parameters: dict[str, Any], expected: Fault
) -> None:
    assert build(name, parameters) == expected


def test_a_mixture_gives_its_bit_to_faults_that_take_one_and_name_none() -> None:
    faults = [
        {"weight": 1, "fault": "stuck_at", "parameters": {"value": 0}},
        {"weight": 2, "fault": "bit_flip", "bit_field": "sign"},
        {"weight": 3, "fault": "zero"},
    ]
    assert build("mixture", {"faults": faults}, bit=7) == Mixture(
        ((1, StuckAt(bit=7, value=0)), (2, BitFlip(bit_field="sign")), (3, Zero()))
    )


places = st.builds(dict, bit=st.integers(0, 31)) | st.builds(
    dict, bit_field=st.sampled_from(["sign", "exponent", "mantissa", "any"])
)
finite = st.floats(allow_nan=False, allow_infinity=False)
simple = st.one_of(
    st.builds(lambda place: BitFlip(**place), places),
    st.builds(lambda place, value: StuckAt(**place, value=value), places, st.integers(0, 1)),
    st.builds(BitFlip, bit_field=st.just("any"), flips=st.integers(1, 32)),
    st.builds(BitFlip, bit_field=st.just("mantissa"), burst=st.integers(1, 23)),
    st.builds(Constant, st.floats() | st.integers(-(2**63), 2**64)),
    st.builds(Scale, finite),
    st.builds(RandomValue, st.just("normal"), mean=finite, std=st.floats(0, 1e9)),
    st.builds(RandomValue, st.just("uniform"), low=st.floats(-9, 0), high=st.floats(1, 9)),
    st.just(Zero()),
    st.just(RandomBits()),
)
faults = st.recursive(
    simple,
    lambda inner: st.lists(st.tuples(st.floats(1e-3, 1e3), inner), min_size=1, max_size=3).map(
        lambda pairs: Mixture(tuple(pairs))
    ),
    max_leaves=5,
)


@given(made=faults)
def test_a_fault_is_built_again_from_its_row(made: Fault) -> None:
    again = from_row(**row_of(made))
    assert type(again) is type(made)
    assert again == made
    assert hash(again) == hash(made)
    assert row_of(again) == row_of(made)


def test_a_row_from_before_there_were_parameters_names_a_plain_flip() -> None:
    flip = from_row("bit_flip", bit=30, bit_field="exponent", parameters=None)
    assert flip == BitFlip(bit=30)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        (
            "bit_flip",
            {"bit": 3, "flip": 2},
            r"^bit_flip takes bit, bit_field, flips, burst; received 'flip'; "
            r"did you mean 'flips'\?$",
        ),
        ("zero", {"bit": 3}, r"^zero takes no parameters; received 'bit'$"),
        ("scale", {}, r"^scale needs factor; received nothing$"),
        ("mixture", {}, r"^mixture needs faults; received nothing$"),
        (
            "mixture",
            {"faults": {"fault": "zero"}},
            r"^faults of a mixture is a list of mappings with the keys weight and fault; received ",
        ),
        (
            "mixture",
            {"faults": [{"fault": "zero"}]},
            r"^a fault of a mixture needs weight; received fault: 'zero'$",
        ),
        (
            "mixture",
            {"faults": [{"fault": 3, "weight": 1}]},
            r"^a fault is named by a text; received 3$",
        ),
        (
            "mixture",
            {"faults": [{"fault": "zero", "wieght": 1}]},
            r"^a fault of a mixture takes .*; received 'wieght'; did you mean 'weight'\?$",
        ),
        (
            "mixture",
            {"faults": [{"weight": 1, "fault": "bit_flip", "bit": 1, "bit_field": "any"}]},
            r"^BitFlip takes either bit or bit_field; received bit=1, bit_field='any'$",
        ),
    ],
)
def test_wrong_parameters_are_refused(name: str, parameters: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, parameters)


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(FaultError) as caught:
        find("bitflip")
    assert caught.value.message == "there is no fault model 'bitflip'; did you mean 'bit_flip'?"
    assert caught.value.hint is not None
    assert "package.module:Class" in caught.value.hint


def test_a_decorated_class_is_found_by_its_name() -> None:
    @fault("halved")
    @dataclass(frozen=True)
    class Halved:
        times: int = 1

        def corrupt(self, values: Any, draws: Any) -> Any:
            return values / values.dtype.type(2**self.times)

    assert find("halved") is Halved
    assert names()[:9] == [*BUILTIN, "halved"]
    made = build("halved", {"times": 3})
    assert isinstance(made, UserFault)
    assert made == from_row(**row_of(made))
    hits = FaultedElements("float32", np.full(1, -1), np.empty((1, 0)), np.full(1, 8, np.float32))
    assert made.changes(hits).apply(np.zeros(1, np.float32)).tolist() == [1.0]


@pytest.mark.parametrize("name", ["zero", "taken"])
def test_a_name_is_given_once(name: str) -> None:
    @dataclass(frozen=True)
    class First:
        def corrupt(self, values: Any, draws: Any) -> Any:
            return values

    @dataclass(frozen=True)
    class Second(First):
        pass

    fault("taken")(First)
    fault("taken")(First)
    with pytest.raises(FaultError, match=rf"the name '{name}' is that of .*; received it for"):
        fault(name)(Second)


def test_the_decorator_stands_above_dataclass() -> None:
    class Undone:
        def corrupt(self, values: Any, draws: Any) -> Any:
            return values

    with pytest.raises(FaultError, match="Undone is no dataclass"):
        fault("undone")(Undone)


def test_a_class_beside_the_campaign_is_found(beside: Path) -> None:
    made = build("mine_faults:Shifted", {"steps": 3}, folder=beside)
    made.check("float32")
    assert made.name == "mine_faults:Shifted"
    hits = FaultedElements("float32", np.full(1, -1), np.empty((1, 0)), np.ones(1, np.float32))
    assert made.changes(hits).apply(np.zeros(1, np.float32)).tolist() == [7.0]
    assert from_row(**row_of(made), folder=beside) == made


def test_a_class_beside_the_campaign_travels_to_processes_that_lack_it(
    beside: Path, tmp_path: Path
) -> None:
    made = build("mine_faults:Shifted", {"steps": 3}, folder=beside)
    mixed = Mixture(((1, made), (1, made)))
    for kind, travelling in (("alone", made), ("mixed", mixed)):
        (tmp_path / kind).write_bytes(pickle.dumps(travelling))
        program = (
            "import pickle, sys, numpy as np\n"
            "from injecttf2.faults.fault_model import FaultedElements\n"
            f"fault = pickle.load(open({str(tmp_path / kind)!r}, 'rb'))\n"
            "draws, values = np.zeros((2, fault.draws)), np.ones(2, np.int8)\n"
            "hits = FaultedElements('int8', np.full(2, -1), draws, values)\n"
            f"print(fault.changes(hits).flip.tolist(), {str(beside)!r} in sys.path)\n"
        )
        root = Path(__file__).parents[3]
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
        )
        assert done.stdout == "[7, 7] False\n"


def test_changed_code_is_another_fault_and_not_that_of_the_row(beside: Path) -> None:
    row = row_of(build("mine_faults:Shifted", {"steps": 3}, folder=beside))
    (beside / "mine_neighbour.py").write_text("STEP = 4\n")
    for name in ("mine_faults", "mine_neighbour"):
        del sys.modules[name]
    changed = build("mine_faults:Shifted", {"steps": 3}, folder=beside)
    assert row_of(changed)["parameters"] != row["parameters"]
    with pytest.raises(FaultError, match="the code of mine_faults:Shifted is not what it was"):
        from_row(**row, folder=beside)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine_faults:Shiftd", "the module 'mine_faults' has no class 'Shiftd'"),
        ("mine_faults:Loose", "Loose is a dataclass that can be changed"),
        ("mine_missing:Any", "the module 'mine_missing' cannot be imported"),
    ],
)
def test_a_class_that_cannot_be_used_is_refused(beside: Path, name: str, message: str) -> None:
    with pytest.raises(FaultError, match=message) as caught:
        build(name, {}, folder=beside)
    assert caught.value.place == name


def test_a_class_that_cannot_be_made_is_refused(beside: Path) -> None:
    (beside / "mine_strict.py").write_text(
        MODULE + "\n\n@dataclass(frozen=True)\nclass Strict(Shifted):\n"
        "    def __post_init__(self):\n        self.steps + 1\n"
    )
    with pytest.raises(FaultError, match=r"Strict cannot be made of \{'steps': 'x'\}: TypeError"):
        build("mine_strict:Strict", {"steps": "x"}, folder=beside)
    with pytest.raises(ValueError, match="mine_strict:Strict takes steps; received 'step'"):
        build("mine_strict:Strict", {"step": 1}, folder=beside)


def test_faults_of_installed_packages_are_entry_points(beside: Path) -> None:
    install_package(
        beside,
        "[injecttf2.faults]\nshifted = mine_faults:Shifted\nbroken = mine_faults:Missing\n"
        "loose = mine_faults:Loose\n",
    )
    sys.path.insert(0, str(beside))
    assert set(names()) >= {"shifted", "broken", "loose"}
    assert build("shifted", {"steps": 1}).name == "shifted"
    with pytest.raises(FaultError, match="the module 'mine_faults' has no class 'Missing'"):
        find("broken")
    with pytest.raises(FaultError, match="Loose is a dataclass that can be changed"):
        find("loose")
