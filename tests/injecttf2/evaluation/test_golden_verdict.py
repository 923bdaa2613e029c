"""The golden run's own verdict: in batches, whole, and refused where nothing can come of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from injecttf2.errors import ModelError
from injecttf2.evaluation.golden_run import check, golden_verdict
from injecttf2.judging import Assessment, Verdict
from injecttf2.judging.criteria import LeftTop
from injecttf2.judging.metrics import Confidence, MeanAbsoluteError, TopKAccuracy
from injecttf2.judging.per_position import PerPosition
from tests import judging

INF, NAN = float("inf"), float("nan")


def verdict(score: Any, metrics: Any = ((), ())) -> Verdict:
    none = np.zeros(2, np.uint8)
    criteria = np.empty((2, 0), np.bool_)
    numbers = np.asarray(score, float), np.asarray(metrics, float)
    return Verdict(none, none, *numbers, criteria, none.astype(bool))


@pytest.mark.parametrize("batch", [1, 4, 10, 64])
def test_each_sample_is_judged_once_whatever_the_batch(batch: int) -> None:
    random = np.random.default_rng(0)
    outputs = random.random((10, 5)).astype(np.float32)
    labels = random.integers(0, 5, 10)
    assessment = Assessment(metrics=(Confidence(), TopKAccuracy(2)), criteria=(LeftTop(1),))
    golden = golden_verdict(assessment, outputs, labels, batch=batch)
    ranks = [judging.ranked(row) for row in outputs.tolist()]
    assert golden.outcome.tolist() == [0] * 10
    assert golden.faulty_class.tolist() == [rank[0] for rank in ranks]
    assert golden.score.tolist() == [
        float(rank[0] == label) for rank, label in zip(ranks, labels, strict=True)
    ]
    assert golden.metrics.tolist() == [
        [float(max(row)), float(label in rank[:2])]
        for row, rank, label in zip(outputs.tolist(), ranks, labels, strict=True)
    ]
    assert golden.criteria.tolist() == [[False]] * 10


def test_outputs_of_any_rank_have_a_golden_verdict() -> None:
    outputs = np.zeros((3, 2, 2, 4), np.float16)
    outputs[..., 1] = 1
    labels = np.asarray([[[1, 1], [1, 1]], [[1, 0], [0, 2]], [[0, 0], [0, 0]]])
    golden = golden_verdict(Assessment(PerPosition()), outputs, labels, batch=2)
    assert golden.score.tolist() == [1.0, 0.25, 0.0]
    assert golden.faulty_class.tolist() == [-1, -1, -1]


@pytest.mark.parametrize("score", [NAN, -0.5, 1.5])
def test_a_golden_score_that_is_none_is_refused(score: float) -> None:
    with pytest.raises(ModelError) as error:
        check(Assessment(), verdict([1.0, score]))
    assert error.value.message == (
        f"the judge top1 gives sample 1 the score {score} without any fault; "
        "expected a number from 0 to 1"
    )


def test_a_golden_metric_that_is_not_finite_is_refused() -> None:
    assessment = Assessment(metrics=(TopKAccuracy(1), MeanAbsoluteError()))
    check(assessment, verdict([1, 0], [[1, 2], [0, 3]]))
    with pytest.raises(ModelError, match=r"mean_absolute_error of sample 1 is inf without any"):
        check(assessment, verdict([1, 0], [[1, 2], [0, INF]]))
