"""Names of judges, metrics and criteria, which are known without loading TensorFlow."""

from __future__ import annotations

import pytest

from injecttf2.judging.names import CRITERIA, JUDGES, METRICS, parsed_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("top1_accuracy", ("top<k>_accuracy", 1.0)),
        ("top10_accuracy", ("top<k>_accuracy", 10.0)),
        ("confidence", ("confidence", None)),
        ("mean_squared_error", ("mean_squared_error", None)),
        *((wrong, None) for wrong in ("top0_accuracy", "topk_accuracy", "top_accuracy", "top5")),
        *((wrong, None) for wrong in ("top1.5_accuracy", "top٣_accuracy", "confidence_10", "")),
    ],
)
def test_names_of_metrics(name: str, expected: tuple[str, float | None] | None) -> None:
    assert parsed_name(name, METRICS) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("top5", ("top<k>", 5.0)),
        ("confidence_10", ("confidence_<percent>", 10.0)),
        ("confidence_0.5", ("confidence_<percent>", 0.5)),
        ("confidence_100.25", ("confidence_<percent>", 100.25)),
        *((wrong, None) for wrong in ("confidence_0", "confidence_0.0", "confidence_", "top0")),
        *((wrong, None) for wrong in ("confidence_-1", "confidence_.5", "confidence_1e3")),
    ],
)
def test_names_of_criteria(name: str, expected: tuple[str, float | None] | None) -> None:
    assert parsed_name(name, CRITERIA) == expected


def test_every_name_has_its_class() -> None:
    from injecttf2.judging import registry as loading

    assert tuple(loading.JUDGES) == JUDGES
    assert tuple(loading.NUMBERED) == (*METRICS, *CRITERIA)
