"""Fault models of users: what is asked of them, and what they are told."""

from __future__ import annotations

import importlib
import itertools
import pickle
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from injecttf2 import bits
from injecttf2.errors import FaultError
from injecttf2.faults.custom import CODE, wrapped
from injecttf2.faults.fault_model import FaultedElements

_calls = itertools.count()


@dataclass(frozen=True)
class Drift:
    """Adds noise, as the example in the module's docstring does."""

    width: float
    draws: ClassVar[int] = 1

    def corrupt(self, values: Any, draws: Any) -> Any:
        return (values + self.width * (draws[:, 0] - 0.5)).astype(values.dtype)


@dataclass(frozen=True)
class Negated:
    def corrupt(self, values: Any, draws: Any) -> Any:
        assert draws.shape == (len(values), 0)
        return -values


@dataclass(frozen=True)
class Raising(Negated):
    def corrupt(self, values: Any, draws: Any) -> Any:
        raise KeyError("no such level")


@dataclass(frozen=True)
class Widening(Negated):
    def corrupt(self, values: Any, draws: Any) -> Any:
        return values.astype(np.float64)


@dataclass(frozen=True)
class Flattening(Negated):
    def corrupt(self, values: Any, draws: Any) -> Any:
        return values[:1]


@dataclass(frozen=True)
class Listing(Negated):
    def corrupt(self, values: Any, draws: Any) -> Any:
        return values.tolist()


@dataclass(frozen=True)
class InPlace(Negated):
    def corrupt(self, values: Any, draws: Any) -> Any:
        values[:] = 7
        return values


@dataclass(frozen=True)
class IntoDraws(Negated):
    draws: ClassVar[int] = 1

    def corrupt(self, values: Any, draws: Any) -> Any:
        draws[:] = 0
        return values


@dataclass(frozen=True)
class Counting(Negated):
    def corrupt(self, values: Any, draws: Any) -> Any:
        return values + values.dtype.type(next(_calls))


@dataclass(frozen=True)
class Neighbouring(Negated):
    def corrupt(self, values: Any, draws: Any) -> Any:
        return np.roll(values, 1)


@dataclass(frozen=True)
class Sorting(Negated):
    """Is not found out by another order, but by a part."""

    def corrupt(self, values: Any, draws: Any) -> Any:
        return np.full_like(values, values.max())


@dataclass(frozen=True)
class Sized(Negated):
    """Is not found out but by a site alone."""

    def corrupt(self, values: Any, draws: Any) -> Any:
        return values if len(values) > 1 else -values


@dataclass(frozen=True)
class Holding(Negated):
    what: Any = None


PLACES = ("float16", "bfloat16", "float32", "float64", "int8", "uint16", "int64")


@pytest.mark.parametrize("dtype", PLACES)
@pytest.mark.parametrize("model", [Drift(0.5), Negated()])
def test_a_fault_that_does_as_it_must_passes_the_check(model: Any, dtype: str) -> None:
    wrapped(model, "mine").check(dtype)


def test_a_users_fault_makes_changes_from_values_and_draws() -> None:
    fault = wrapped(Drift(2.0), "drift")
    values = np.asarray([1.0, 5.0], np.float32)
    hits = FaultedElements("float32", np.full(2, -1), np.asarray([[0.0], [0.75]]), values)
    assert (fault.name, fault.draws, fault.needs_values) == ("drift", 1, True)
    assert fault.changes(hits).apply(values).tolist() == [0.0, 5.5]
    choice = fault.choice("float32")
    assert (choice.candidates, choice.one_bit, choice.draws) == (None, False, 1)


def test_a_users_fault_is_not_called_for_nothing() -> None:
    hits = FaultedElements("float32", np.empty(0, int), np.empty((0, 0)), np.empty(0, np.float32))
    assert len(wrapped(Raising(), "raising").changes(hits)) == 0


def test_values_that_are_hit_stay_as_they_were() -> None:
    values = np.ones(3, np.float32)
    wrapped(InPlace(), "in-place").changes(
        FaultedElements("float32", np.full(3, -1), np.empty((3, 0)), values)
    )
    assert values.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Raising(), "Raising.corrupt raised KeyError for values float32 [64]: 'no such level'"),
        (Widening(), "Widening.corrupt returned float64 [64] for values float32 [64]"),
        (Flattening(), "Flattening.corrupt returned float32 [1] for values float32 [64]"),
        (Listing(), "Listing.corrupt returned list for values float32 [64]"),
        (InPlace(), "InPlace.corrupt writes into the values that it is given"),
        (IntoDraws(), "IntoDraws.corrupt writes into the draws that it is given"),
        (
            Counting(),
            "Counting.corrupt has other results when it is called again with the same values "
            "(float32)",
        ),
        (
            Neighbouring(),
            "Neighbouring.corrupt has other results when the same sites come in another order "
            "(float32)",
        ),
        (
            Sorting(),
            "Sorting.corrupt has other results when only some of the sites come (float32)",
        ),
        (Sized(), "Sized.corrupt has other results when a site comes alone (float32)"),
    ],
)
def test_a_fault_that_does_not_is_told_what_it_did(model: Any, message: str) -> None:
    with pytest.raises(FaultError) as caught:
        wrapped(model, "beside:Mine").check("float32")
    assert (caught.value.message, caught.value.place) == (message, "beside:Mine")
    assert caught.value.hint


@pytest.mark.parametrize("dtype", bits.DTYPES)
def test_a_fault_is_tried_on_finite_values_and_the_limits_of_the_type(dtype: str) -> None:
    seen: list[np.ndarray] = []

    @dataclass(frozen=True)
    class Seeing:
        def corrupt(self, values: Any, draws: Any) -> Any:
            seen.append(values.copy())
            return values

    wrapped(Seeing(), "seeing").check(dtype)
    assert (len(seen[0]), seen[0].dtype) == (64, bits.numpy_dtype(dtype))
    assert np.isfinite(seen[0].astype(np.float64)).all()
    assert len(np.unique(seen[0].astype(np.float64))) > 10
    assert seen[0][0] == 0
    assert seen[0].max() == seen[0][3]


def test_every_field_of_a_users_class_is_written_down() -> None:
    @dataclass(frozen=True)
    class Mine:
        width: float = 0.5
        levels: tuple[int, ...] = (1, 2)

        def corrupt(self, values: Any, draws: Any) -> Any:
            return values

    parameters = wrapped(Mine(), "mine").parameters()
    assert list(parameters) == ["width", "levels", CODE]
    assert (parameters["width"], parameters["levels"]) == (0.5, [1, 2])
    assert len(parameters[CODE]) == 32


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (
            np.zeros(2),
            "what: expected a number, a text, nothing, or a list or mapping of such; "
            "received ndarray",
        ),
        (
            [object()],
            "what: expected a number, a text, nothing, or a list or mapping of such; "
            "received object",
        ),
        (float("nan"), "what is a finite number; received .nan"),
    ],
)
def test_a_parameter_that_cannot_be_written_down_is_refused(what: Any, message: str) -> None:
    with pytest.raises(FaultError) as caught:
        wrapped(Holding(what), "holding")
    assert caught.value.message == message


def test_other_code_makes_another_fault() -> None:
    def made(factor: float) -> Any:
        @dataclass(frozen=True)
        class Mine:
            def corrupt(self, values: Any, draws: Any) -> Any:
                return values * factor

        return wrapped(Mine(), "mine")

    assert made(2.0) == made(2.0)
    assert made(2.0) != made(3.0)
    assert made(2.0).code != made(3.0).code


def test_other_parameters_make_another_fault() -> None:
    assert wrapped(Drift(1.0), "drift") == wrapped(Drift(1.0), "drift")
    assert wrapped(Drift(1.0), "drift") != wrapped(Drift(2.0), "drift")


def test_a_fault_comes_out_of_a_pickle_as_it_was() -> None:
    fault = wrapped(Drift(2.0), "drift")
    again = pickle.loads(pickle.dumps(fault))  # noqa: S301
    assert (again, again.code, again.model.width) == (fault, fault.code, 2.0)


class Plain:
    def corrupt(self, values: Any, draws: Any) -> Any:
        return values


@dataclass
class Changeable(Plain):
    pass


@dataclass(frozen=True)
class Idle:
    pass


@dataclass(frozen=True)
class Negative(Plain):
    draws: ClassVar[int] = -1


@dataclass(frozen=True)
class Asking(Plain):
    draws: int = 1


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Plain(), "Plain is no dataclass"),
        (Changeable(), "Changeable is a dataclass that can be changed"),
        (Idle(), "Idle has no method corrupt(self, values, draws)"),
        (Negative(), "Negative.draws is -1"),
        (Asking(), "Asking.draws is a field, which may differ between two faults"),
    ],
)
def test_a_class_that_is_no_fault_model_is_refused(model: Any, message: str) -> None:
    with pytest.raises(FaultError) as caught:
        wrapped(model, "mine")
    assert (caught.value.message, caught.value.place) == (message, "mine")
    assert "a class below @dataclass(frozen=True)" in str(caught.value)


def test_a_value_that_only_a_program_has_set_is_not_another_one_elsewhere_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_set.py").write_text(
        "from dataclasses import dataclass\nWIDTH = 1\n\n@dataclass(frozen=True)\nclass Set:\n"
        "    def corrupt(self, values, draws):\n        return values * WIDTH\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("mine_set")
    plain = pickle.dumps(wrapped(module.Set(), "set"))
    module.WIDTH = 2
    changed = pickle.dumps(wrapped(module.Set(), "set"))
    assert pickle.loads(changed).label == "set"  # noqa: S301
    monkeypatch.delitem(sys.modules, "mine_set")  # as in another process
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    assert pickle.loads(plain).label == "set"  # noqa: S301
    with pytest.raises(FaultError) as caught:
        pickle.loads(changed)  # noqa: S301
    assert str(caught.value) == (
        "set: its class is not the same in this process as where the campaign was planned\n"
        "  let its module, not a program that imports it, set the values that it uses; all "
        "machines need the same version of Python"
    )
