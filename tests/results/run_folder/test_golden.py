"""What is suspicious of a golden run."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from results.run_folder.golden import golden_warning


@pytest.mark.parametrize(
    ("golden", "begins"),
    [
        (None, ""),
        ({}, ""),
        ({"accuracy": 0.5, "chance": 0.1, "at_chance": False}, ""),
        (
            {"accuracy": 0.1, "chance": 0.0988, "at_chance": True},
            "without faults the classes agree with the labels hardly more often than by chance "
            "(9.88%), so outcomes mean little: ",
        ),
        (
            {"accuracy": 0.0, "chance": None, "at_chance": False},
            "without faults no sample is right, so accuracy and sdc_critical mean little: ",
        ),
    ],
)
def test_what_means_little_is_warned_of(golden: Mapping[str, object] | None, begins: str) -> None:
    warning = golden_warning(golden) or ""
    assert warning.startswith(begins)
    assert bool(warning) is bool(begins)
