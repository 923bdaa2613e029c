"""Each judge, metric and criterion equals plain loops, on outputs of every dtype."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from injecttf2 import bits
from injecttf2.errors import ModelError
from injecttf2.judging import Assessment, Judge, Output, Verdict
from injecttf2.judging.criteria import ByCriterion, ConfidenceMoved, Criterion, LeftTop
from injecttf2.judging.metrics import (
    Confidence,
    MeanAbsoluteError,
    MeanSquaredError,
    Metric,
    TopKAccuracy,
)
from injecttf2.judging.outcomes import OUTCOMES
from injecttf2.judging.per_position import PerPosition
from injecttf2.judging.regression import Regression
from injecttf2.judging.threshold import Threshold
from injecttf2.judging.top_k import Top1, TopK
from tests import judging

Array = npt.NDArray[Any]

NAN, INF = float("nan"), float("inf")
FLOATS = tuple(bits.LAYOUTS)
DTYPES = (*FLOATS, "int8", "int32")
SAMPLES = 200


def compiled(assessment: Assessment, outputs: Array, golden: Array, labels: Array) -> Verdict:
    """A verdict as the engine asks for it."""
    function = tf.function(assessment.verdict, autograph=False)
    verdict = function(*map(tf.constant, (outputs, golden, labels)))
    assert [column.dtype.name for column in verdict] == [
        *("uint8", "int32", "float64", "float64", "bool", "bool")
    ]
    return Verdict(*(column.numpy() for column in verdict))


def names(verdict: Verdict) -> list[str]:
    return [OUTCOMES[code] for code in verdict.outcome]


def random_outputs(shape: tuple[int, ...], dtype: str) -> tuple[Array, Array]:
    """Faulty and golden outputs with ties, zeros of both signs, tiny changes, NaN and Inf."""
    random = np.random.default_rng(len(shape) + 10 * DTYPES.index(dtype))
    kind = bits.numpy_dtype(dtype)
    size = (SAMPLES, *shape)
    rate = random.choice([0.0, 0.1, 0.4, 1.0], (SAMPLES, *[1] * len(shape)))
    changed = random.random(size) < rate
    if dtype not in FLOATS:
        golden = random.integers(0, 4, size).astype(kind)
        return np.where(changed, random.integers(0, 100, size).astype(kind), golden), golden
    values = np.array([-0.0, 0.0, 0.25, 0.3, 0.5, 0.5, 0.75, 1.0])
    tied = random.random((SAMPLES, *[1] * len(shape))) < 0.7
    golden = np.where(tied, random.choice(values, size), random.random(size))
    others = np.concatenate([values, [1e4, -2.0, 0.6, 0.51]])
    faulty = np.where(changed, random.choice(others, size), golden)
    faulty = np.where(random.random(size) < 0.2, faulty * (1 + 2.0**-17), faulty)
    broken = random.random(size) < 0.1 / max(1, math.prod(shape))
    faulty = np.where(broken, random.choice([NAN, INF, -INF], size), faulty)
    return faulty.astype(kind), golden.astype(kind)


def rounded(limit: float, dtype: str) -> float:
    return limit if dtype in ("float64", "int8", "int32") else float(np.float32(limit))


def check(
    judge: Judge,
    outputs: tuple[Array, Array],
    labels: Array,
    *,
    differs: Callable[[Array, Array], bool],
    score: Callable[[Array, Array], float],
    classes: Callable[[Array], int] = lambda _: -1,
) -> set[str]:
    """Compare a judge with loops, sample by sample; return the outcomes that occurred."""
    faulty, golden = outputs
    verdict = compiled(Assessment(judge), faulty, golden, labels)
    taken = [row.astype(np.float64) for row in faulty], [row.astype(np.float64) for row in golden]
    outcomes = [
        judging.outcome(one, other, differs=differs(one, other))
        for one, other in zip(*taken, strict=True)
    ]
    assert names(verdict) == outcomes
    rows = list(zip(taken[0], labels, outcomes, strict=True))
    assert verdict.score.tolist() == [
        0.0 if code == "due" else score(one, label) for one, label, code in rows
    ]
    assert verdict.faulty_class.tolist() == [
        -1 if code == "due" else classes(one) for one, _, code in rows
    ]
    return set(outcomes)


def all_outcomes(dtype: str) -> set[str]:
    """Whole numbers are always finite."""
    return set(OUTCOMES) if dtype in FLOATS else set(OUTCOMES) - {"due"}


def top_class(output: Array) -> int:
    return judging.ranked(judging.flat(output))[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 2, 5])
def test_topk_equals_a_loop(k: int, dtype: str) -> None:
    labels = np.random.default_rng(k).integers(0, 6, SAMPLES)
    judge: Judge = Top1() if k == 1 else TopK(k)
    seen = check(
        judge,
        random_outputs((6,), dtype),
        labels,
        differs=lambda one, other: judging.topk_differs(one, other, k),
        score=lambda one, label: judging.topk_score(one, int(label), k),
        classes=top_class,
    )
    assert seen == all_outcomes(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (4,)])
@pytest.mark.parametrize(("threshold", "logits", "limit"), [(None, False, 0.5), (0.3, True, 0.3)])
def test_threshold_equals_a_loop(
    threshold: float | None, limit: float, shape: tuple[int, ...], dtype: str, *, logits: bool
) -> None:
    limit = rounded(limit, dtype)
    labels = np.random.default_rng(1).integers(0, 2, (SAMPLES, math.prod(shape)))
    seen = check(
        Threshold(threshold, logits),
        random_outputs(shape, dtype),
        labels,
        differs=lambda one, other: judging.answers(one, limit) != judging.answers(other, limit),
        score=lambda one, label: judging.threshold_score(one, label, limit),
        classes=lambda one: judging.answers(one, limit)[0] if math.prod(shape) == 1 else -1,
    )
    assert seen == all_outcomes(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 2), (4, 1)])
@pytest.mark.parametrize(("ignore", "tolerance"), [(None, 0.0), (255, 0.2), (0, 0.5)])
def test_per_position_equals_a_loop(
    ignore: int | None, tolerance: float, shape: tuple[int, ...], dtype: str
) -> None:
    labels = np.random.default_rng(2).integers(0, max(shape[-1], 2), (SAMPLES, *shape[:-1]))
    labels[labels == 1] = 1 if ignore is None else ignore
    seen = check(
        PerPosition(ignore=ignore, tolerance=tolerance),
        random_outputs(shape, dtype),
        labels,
        differs=lambda one, other: judging.positions_differ(
            one, other, limit=0.5, tolerance=tolerance
        ),
        score=lambda one, label: judging.positions_score(one, label, limit=0.5, ignore=ignore),
    )
    assert seen == all_outcomes(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 2)])
@pytest.mark.parametrize(("absolute", "relative"), [(0.25, 0.0), (0.0, 0.5), (0.1, 0.1)])
def test_regression_equals_a_loop(
    absolute: float, relative: float, shape: tuple[int, ...], dtype: str
) -> None:
    faulty, golden = random_outputs(shape, dtype)
    labels = golden.astype(np.float64) + np.random.default_rng(3).normal(0, 0.2, golden.shape)
    check(
        Regression(absolute, relative),
        (faulty, golden),
        labels,
        differs=lambda one, other: judging.beyond(one, other, absolute, relative),
        score=lambda one, label: float(not judging.beyond(one, label, absolute, relative)),
    )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("logits", [False, True])
def test_confidence_equals_a_loop(classes: int, dtype: str, *, logits: bool) -> None:
    faulty, golden = random_outputs((classes,), dtype)
    criteria = tuple(ConfidenceMoved(percent, logits) for percent in (1, 10, 20))
    assessment = Assessment(Threshold(), (Confidence(logits),), criteria)
    verdict = compiled(assessment, faulty, golden, np.zeros((SAMPLES, classes), np.int64))
    for row, (one, other) in enumerate(zip(faulty, golden, strict=True)):
        if OUTCOMES[verdict.outcome[row]] == "due":
            assert verdict.metrics[row].tolist() == [0.0]
            assert not verdict.criteria[row].any()
            continue
        before = judging.probabilities(other, logits=logits)
        now = judging.probabilities(one, logits=logits)[judging.ranked(before)[0]]
        assert verdict.metrics[row, 0] == pytest.approx(now, rel=1e-14)
        assert verdict.criteria[row].tolist() == [
            judging.moved(one, other, percent=percent, logits=logits) for percent in (1, 10, 20)
        ]
    assert 0 < np.count_nonzero(verdict.criteria[:, 2]) < np.count_nonzero(verdict.criteria[:, 0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_accuracies_and_lost_ranks_equal_a_loop(dtype: str) -> None:
    faulty, golden = random_outputs((6,), dtype)
    labels = np.random.default_rng(4).integers(0, 6, SAMPLES)
    assessment = Assessment(
        metrics=(TopKAccuracy(1), TopKAccuracy(3)), criteria=(LeftTop(1), LeftTop(3))
    )
    verdict = compiled(assessment, faulty, golden, labels)
    alive = [code != "due" for code in names(verdict)]
    for row in range(SAMPLES):
        rank = judging.ranked(judging.flat(golden[row]))
        assert verdict.metrics[row].tolist() == [
            judging.topk_score(faulty[row], labels[row], k) if alive[row] else 0.0 for k in (1, 3)
        ]
        assert verdict.criteria[row].tolist() == [
            alive[row] and top_class(faulty[row]) not in rank[:k] for k in (1, 3)
        ]
    assert verdict.criteria[:, 0].tolist() == [code == "sdc" for code in names(verdict)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_errors_equal_a_loop_and_are_infinite_where_due(shape: tuple[int, ...], dtype: str) -> None:
    faulty, golden = random_outputs(shape, dtype)
    labels = np.random.default_rng(5).normal(0, 1, golden.shape)
    metrics = (MeanAbsoluteError(), MeanSquaredError())
    verdict = compiled(Assessment(Regression(0.1), metrics), faulty, golden, labels)
    for row, code in enumerate(names(verdict)):
        for column, power in enumerate((1, 2)):
            expected = judging.mean_error(faulty[row], labels[row], power)
            found = verdict.metrics[row, column]
            assert found == (INF if code == "due" else pytest.approx(expected, rel=1e-14))


def test_the_default_assessment_is_the_judgement_by_top1() -> None:
    from injecttf2.judging import outcomes

    faulty, golden = map(tf.constant, random_outputs((6,), "float32"))
    verdict = Assessment().verdict(faulty, golden, tf.zeros(SAMPLES, tf.int64))
    code, classes, _ = outcomes.judge(faulty, golden)
    assert verdict.outcome.numpy().tolist() == code.numpy().tolist()
    assert verdict.faulty_class.numpy().tolist() == classes.numpy().tolist()
    assert Assessment().is_plain
    assert not Assessment(criteria=(LeftTop(1),)).is_plain
    assert not Assessment(TopK(2)).is_plain


def sdc(judge: Judge, faulty: Any, golden: Any, dtype: str = "float32") -> bool:
    arrays = [np.asarray([row], bits.numpy_dtype(dtype)) for row in (faulty, golden)]
    outputs, wanted = (tf.constant(array) for array in arrays)
    return bool(judge.differs(outputs, wanted).numpy()[0])


def test_a_set_of_k_has_no_order() -> None:
    golden = [5.0, 4.0, 3.0, 0.0]
    assert not sdc(TopK(3), [3.0, 5.0, 4.0, 0.0], golden)
    assert sdc(TopK(3), [5.0, 4.0, 0.0, 3.0], golden)
    assert sdc(TopK(3), [0.0, 0.0, 0.0, 0.0], [3.0, 2.0, 0.0, 1.0])  # classes 0, 1, 2 of a tie
    assert not sdc(TopK(3), [0.0, -0.0, 0.0, 0.0], [3.0, 2.0, 1.0, 0.0])  # zeros are equal


def test_an_output_on_the_threshold_is_a_no() -> None:
    assert not sdc(Threshold(), [0.5], [0.2])
    assert sdc(Threshold(), [np.nextafter(np.float32(0.5), np.float32(1))], [0.2])
    assert not sdc(Threshold(logits=True), [0.0], [-0.0])
    assert not sdc(Threshold(0.3), [0.3], [0.0])  # 0.3 in float32 is above 0.3 in float64
    assert not sdc(Threshold(0.3), [0.3], [0.0], "float64")


def test_a_share_of_positions_that_is_tolerated_may_change() -> None:
    golden = np.zeros((100, 2))
    golden[:, 0] = 1
    faulty = golden.copy()
    faulty[:29] = [0, 1]
    assert not sdc(PerPosition(tolerance=0.29), faulty, golden)
    assert sdc(PerPosition(tolerance=0.28), faulty, golden)
    assert sdc(PerPosition(), faulty, golden)


def test_a_sample_without_positions_that_count_is_right() -> None:
    judge = PerPosition(ignore=255)
    outputs = tf.constant([[[0.1, 0.9], [0.9, 0.1]]] * 2)
    scores = judge.score(outputs, tf.constant([[255, 255], [0, 255]]))
    assert scores.numpy().tolist() == [1.0, 0.0]


def test_a_value_on_the_edge_of_the_tolerance_is_the_same_decision() -> None:
    assert not sdc(Regression(absolute=0.5), [1.5], [1.0])
    assert sdc(Regression(absolute=0.5), [np.nextafter(np.float32(1.5), np.float32(2))], [1.0])
    assert not sdc(Regression(relative=0.25), [-5.0], [-4.0])
    assert sdc(Regression(relative=0.25), [-4.0], [-5.5])
    assert sdc(Regression(relative=0.25), [1e-30], [0.0])
    assert sdc(Regression(relative=0.5), [-3e38], [3e38])  # the difference overflows float32


def test_whole_numbers_beyond_float32_are_told_apart() -> None:
    assert sdc(Top1(), [2**24, 2**24 + 1], [2**24 + 1, 2**24], "int32")


def test_confidence_moves_relative_to_its_golden_value_whatever_the_class() -> None:
    golden = [0.5, 0.3, 0.2]
    criterion = ByCriterion(ConfidenceMoved(10))
    assert not sdc(criterion, [0.54, 0.26, 0.2], golden)
    assert sdc(criterion, [0.56, 0.24, 0.2], golden)
    assert sdc(criterion, [0.44, 0.36, 0.2], golden)
    assert not sdc(criterion, [0.3, 0.5, 0.2], golden)


@pytest.mark.parametrize("moved", [[9.0, 0.0], [3.0, 0.0]])
def test_logits_become_probabilities_before_confidence_is_compared(moved: list[float]) -> None:
    logits, raw = ByCriterion(ConfidenceMoved(10, logits=True)), ByCriterion(ConfidenceMoved(10))
    assert not sdc(logits, moved, [6.0, 0.0])
    assert sdc(raw, moved, [6.0, 0.0])


TEXTS: list[tuple[Judge | Metric | Criterion, tuple[int | None, ...], str]] = [
    (Top1(), (4, 4), "(4, 4) a sample; top-1 needs one row of at least two classes"),
    (Top1(), (1,), "(1,) a sample; top-1 needs one row of at least two classes"),
    (Top1(), (), "() a sample; top-1 needs one row of at least two classes"),
    (Top1(), (None,), "(None,) a sample; top-1 needs one row of at least two classes"),
    (TopK(5), (3, 9), "(3, 9) a sample; the judge topk needs one row of at least two classes"),
    (TopK(5), (5,), "the judge topk: the model has 5 classes, so its top-5 is always all of them"),
    (Threshold(), (3, 9), "(3, 9) a sample; the judge threshold needs one number or one row"),
    (PerPosition(), (9,), "(9,) a sample; the judge per_position needs at least two axes"),
    (Regression(1), (None, 2), "(None, 2) a sample; its size must not depend on the data"),
    (
        LeftTop(5),
        (5,),
        "the criterion top5: the model has 5 classes, so its top-5 is always all of them",
    ),
    (
        ConfidenceMoved(10),
        (3, 3),
        "(3, 3) a sample; the criterion confidence_10 needs one row of at least one class",
    ),
]


@pytest.mark.parametrize(("part", "shape", "text"), TEXTS)
def test_an_output_that_does_not_fit_is_refused(
    part: Judge | Criterion, shape: tuple[int | None, ...], text: str
) -> None:
    with pytest.raises(ModelError) as error:
        part.check(Output(shape, "float32"))
    assert text in error.value.message


def test_a_metric_that_does_not_fit_the_labels_is_refused() -> None:
    classes = np.zeros(4, np.int64)
    with pytest.raises(ModelError, match=r"mean_absolute_error needs labels of the output's shape"):
        MeanAbsoluteError().check(Output((3,), "float32"), classes)
    with pytest.raises(ModelError, match=r"top2_accuracy needs one class a sample as label"):
        TopKAccuracy(2).check(Output((3,), "float32"), np.zeros((4, 3)))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: TopK(0), "k is a whole number of 1 or more; received 0"),
        (lambda: TopK(True), "k is a whole number of 1 or more; received true"),
        (lambda: Threshold(NAN), "threshold is a finite number; received .nan"),
        (
            lambda: PerPosition(tolerance=1.0),
            "tolerance is a share from 0 to below 1; received 1.0",
        ),
        (lambda: PerPosition(ignore=1.5), "ignore is a whole number; received 1.5"),  # type: ignore[arg-type]
        (lambda: Regression(), "regression needs a tolerance above 0: absolute, relative, or both"),
        (lambda: Regression(-1.0), "absolute is a number from 0; received -1.0"),
        (lambda: Regression(1.0, INF), "relative is a finite number; received .inf"),
        (lambda: Regression("x"), "absolute is a finite number; received 'x'"),  # type: ignore[arg-type]
        (lambda: Threshold(logits="no"), "logits is true or false; received 'no'"),  # type: ignore[arg-type]
        (lambda: LeftTop(1.5), "k is a whole number of 1 or more; received 1.5"),  # type: ignore[arg-type]
        (lambda: TopKAccuracy(0), "k is a whole number of 1 or more; received 0"),
        (lambda: ConfidenceMoved(0), "percent is a number above 0; received 0.0"),
    ],
)
def test_parameters_without_a_meaning_are_refused(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole text is compared
        make()
    assert str(error.value) == text


def test_numbers_that_yaml_reads_as_text_are_numbers() -> None:
    assert Regression("1e-3", "2") == Regression(0.001, 2.0)  # type: ignore[arg-type]
    assert Threshold("1e-3") == Threshold(0.001)  # type: ignore[arg-type]
    assert ConfidenceMoved("1e1").name == "confidence_10"  # type: ignore[arg-type]
