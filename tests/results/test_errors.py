import pickle

import pytest

from results import (
    ResultsError,
    RunCorruptError,
    RunLockedError,
    RunMismatchError,
    RunNotFoundError,
    TrialNotFoundError,
)

ALL = (RunCorruptError, RunLockedError, RunMismatchError, RunNotFoundError, TrialNotFoundError)


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_the_one_root(kind: type[ResultsError]) -> None:
    assert issubclass(kind, ResultsError)


@pytest.mark.parametrize("kind", [ResultsError, *ALL])
def test_text_is_place_message_and_hint(kind: type[ResultsError]) -> None:
    error = kind("it is wrong", place="runs/a", hint="Mend it.")
    assert str(error) == "runs/a: it is wrong\n  Mend it."


def test_text_is_the_message_alone_without_place_and_hint() -> None:
    assert str(ResultsError("it is wrong")) == "it is wrong"


@pytest.mark.parametrize("kind", [ResultsError, *ALL])
def test_errors_survive_pickling(kind: type[ResultsError]) -> None:
    error = kind("it is wrong", place="runs/a", hint="Mend it.")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(copy) is kind
    assert str(copy) == str(error)


def test_mismatch_lists_every_difference() -> None:
    error = RunMismatchError("differs:", place="runs/a", differences={"seed": (1, 2)})
    assert error.differences == {"seed": (1, 2)}
    assert str(error) == "runs/a: differs:\n  seed: 1 -> 2"


def test_missing_trial_can_be_caught_as_key_error() -> None:
    assert issubclass(TrialNotFoundError, KeyError)
