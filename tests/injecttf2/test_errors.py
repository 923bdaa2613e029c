"""The exception tree: what a user reads, and what survives the way from a worker."""

from __future__ import annotations

import copy
import pickle

import cloudpickle
import pytest

from injecttf2.errors import (
    CampaignError,
    DatasetError,
    EngineError,
    FaultError,
    InjectTF2Error,
    ModelError,
    UserError,
    told,
)

USER_ERRORS = [UserError, CampaignError, ModelError, DatasetError, FaultError]


def test_the_tree_has_one_root() -> None:
    assert {error.__bases__ for error in USER_ERRORS[1:]} == {(UserError,)}
    assert (UserError.__bases__, EngineError.__bases__) == ((InjectTF2Error,), (InjectTF2Error,))
    assert InjectTF2Error.__bases__ == (Exception,)


def test_an_error_reads_place_message_hint() -> None:
    assert str(UserError("it is wrong")) == "it is wrong"
    assert str(UserError("it is wrong", place="a.yaml:3:7")) == "a.yaml:3:7: it is wrong"
    assert str(UserError("it is wrong", hint="mend it")) == "it is wrong\n  mend it"
    whole = UserError("it is wrong", place="a.yaml:3:7", hint="mend it")
    assert str(whole) == "a.yaml:3:7: it is wrong\n  mend it"


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
@pytest.mark.parametrize("kind", USER_ERRORS)
@pytest.mark.parametrize("place", [None, "a.yaml:3:7"])
@pytest.mark.parametrize("hint", [None, "mend it"])
def test_a_user_error_pickles_with_its_place_and_hint(
    kind: type[UserError], place: str | None, hint: str | None, pickler: object
) -> None:
    error = kind("it is wrong", place=place, hint=hint)
    again = pickle.loads(pickler.dumps(error))  # type: ignore[attr-defined]  # noqa: S301
    assert type(again) is kind
    assert (again.message, again.place, again.hint) == ("it is wrong", place, hint)
    assert (str(again), again.args) == (str(error), error.args)


def test_an_error_is_told_whole_but_for_where_it_came_about() -> None:
    assert told(ValueError("two\nlines")) == "ValueError: two\nlines"
    traced = (
        "Graph execution error:\n\nDetected at node a/B defined at (most recent call last):\n"
        '  File "a.py", line 3, in call\n\n    return b\n\nDetected at node c defined at (most '
        "recent call last):\n<stack traces unavailable>\n"
    )
    assert told(ValueError(f"{traced}bad : NaN\n\t [[{{node a/B}}]] [Op:f_1]")) == (
        "ValueError: bad : NaN\n\t [[{node a/B}]] [Op:f_1]"
    )
    raised = 'KeyError: 3\nTraceback (most recent call last):\n\n  File "b.py"\n\nKeyError: 3\n'
    assert told(ValueError(f"{traced}{raised}")) == "ValueError: KeyError: 3"
    assert told(ValueError("Graph execution error:")) == "ValueError: "
    by_keras = "In call().\n\n\x1b[1mno such name\x1b[0m\n\nArguments received by call():\n  - x=1"
    assert told(ValueError(by_keras)) == "ValueError: In call().\n\nno such name"


def test_a_copy_of_an_error_is_the_same_error() -> None:
    error = ModelError("it is wrong", place="model.h5", hint="mend it")
    assert str(copy.deepcopy(error)) == str(error)


def test_an_engine_error_pickles() -> None:
    again = pickle.loads(pickle.dumps(EngineError("two golden runs differ")))  # noqa: S301
    assert type(again) is EngineError
    assert str(again) == "two golden runs differ"
