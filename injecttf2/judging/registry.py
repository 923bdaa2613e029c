"""Making an assessment from what a campaign names, and sending it to other processes."""

from __future__ import annotations

import contextlib
import inspect
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from injecttf2.config.spelling import nearest
from injecttf2.errors import CampaignError, UserError, placed
from injecttf2.judging.assessment import Assessment
from injecttf2.judging.criteria import ByCriterion, ConfidenceMoved, Criterion, LeftTop
from injecttf2.judging.judge import Component, Judge
from injecttf2.judging.metrics import (
    Confidence,
    MeanAbsoluteError,
    MeanSquaredError,
    Metric,
    TopKAccuracy,
)
from injecttf2.judging.names import CRITERIA, METRICS, Named, class_of, parsed_name
from injecttf2.judging.per_position import PerPosition
from injecttf2.judging.regression import Regression
from injecttf2.judging.threshold import Threshold
from injecttf2.judging.top_k import Top1, TopK
from injecttf2.user_code.digest import class_modules
from injecttf2.user_code.files import Code, code_of
from injecttf2.user_code.importing import Parcel, code_of_loaded
from injecttf2.user_code.references import import_function, installed, is_function

JUDGES: dict[str, type[Judge]] = {
    kind.name: kind for kind in (Top1, TopK, Threshold, PerPosition, Regression)
}
"""Judges by the name used in YAML."""

NUMBERED: dict[str, tuple[type[Component], str | None]] = {
    "top<k>_accuracy": (TopKAccuracy, "k"),
    "confidence": (Confidence, None),
    "mean_absolute_error": (MeanAbsoluteError, None),
    "mean_squared_error": (MeanSquaredError, None),
    "confidence_<percent>": (ConfidenceMoved, "percent"),
    "top<k>": (LeftTop, "k"),
}
"""Metrics and criteria by the name used in YAML, and the parameter that is the number in it."""

TAKEN = ("critical", "rate", "low", "high")
"""Ends of ``sdc_...`` that columns of the results and of their summaries have."""


@dataclass(frozen=True)
class AssessmentSpec:
    """An assessment on its way to another process.

    Args:
        parcel: The assessment, with the code of all that is of the user's own.
        references: The code of each ``package.module:Class`` that it was made from.
    """

    parcel: Parcel
    references: Mapping[str, Code]

    def build(self) -> Assessment:
        """Return the assessment."""
        assessment: Assessment = self.parcel.open()
        return assessment


@dataclass(frozen=True)
class Makers:
    """Makes judges, metrics and criteria from their names.

    Args:
        logits: What a field ``logits`` is where a campaign does not give it: whether the model's
            outputs are logits, not probabilities.
        folder: Where a module is looked up before the Python path.
    """

    logits: bool
    folder: Path | None = None

    def judge(self, named: Named) -> Judge:
        """Return a judge; the name of a criterion stands for the judge by that criterion.

        Raises:
            CampaignError: There is no such judge, or a parameter is wrong.
        """
        made: Judge | Criterion
        if kind := JUDGES.get(named.type):
            made = self._made(kind, named.type, named.parameters)
        elif parsed_name(named.type, CRITERIA) or installed("criteria", named.type):
            made = self.criterion(named)
        else:
            made = self._own(named, "judge", (Judge, Criterion))
        return ByCriterion(made) if isinstance(made, Criterion) else made

    def metric(self, named: Named) -> Metric:
        """Return a metric.

        Raises:
            CampaignError: There is no such metric, or a parameter is wrong.
        """
        metric: Metric = self._numbered(named, METRICS, Metric, "metric")
        return metric

    def criterion(self, named: Named) -> Criterion:
        """Return a criterion.

        Raises:
            CampaignError: There is no such criterion, or a parameter is wrong.
        """
        criterion: Criterion = self._numbered(named, CRITERIA, Criterion, "criterion")
        return criterion

    def _numbered(
        self, named: Named, known: Sequence[str], base: type[Component], what: str
    ) -> Any:
        if found := parsed_name(named.type, known):
            pattern, number = found
            kind, parameter = NUMBERED[pattern]
            given = dict(named.parameters)
            if parameter in given and number is not None:
                raise CampaignError(
                    f"its name says the parameter {parameter!r}; received it again",
                    place=named.type,
                    hint="leave one of them out",
                )
            if parameter is not None and number is not None:
                given[parameter] = int(number) if parameter == "k" else number
            made = self._made(kind, named.type, given)
        else:
            made = self._own(named, what, (base,))
        return made

    def _own(self, named: Named, what: str, bases: tuple[type[Component], ...]) -> Any:
        """Return an object of a class of the user's own, or of an installed package."""
        reference = class_of(what, named.type)
        kind = import_function(reference, self.folder, CampaignError, what="class")
        if not (inspect.isclass(kind) and issubclass(kind, bases)):
            expected = " or ".join(f"{base.__module__}.{base.__name__}" for base in bases)
            raise CampaignError(f"it is no subclass of {expected}", place=named.type)
        return self._made(kind, named.type, named.parameters)

    def _made(self, kind: type[Any], name: str, parameters: Mapping[str, Any]) -> Any:
        """Return an object of a class with parameters, ``logits`` filled in."""
        known = inspect.signature(kind).parameters
        for parameter in parameters:
            if parameter not in known:
                raise CampaignError(
                    f"unknown parameter {parameter!r}{nearest(parameter, known)}",
                    place=name,
                    hint=f"expected {', '.join(known) or 'no parameters'}",
                )
        given = dict(parameters)
        if "logits" in known:
            given.setdefault("logits", self.logits)
        several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        needed = [
            one.name
            for one in known.values()
            if one.default is one.empty and one.kind not in several
        ]
        if missing := [parameter for parameter in needed if parameter not in given]:
            raise CampaignError(f"it needs the parameter {missing[0]!r}", place=name)
        try:
            with contextlib.redirect_stdout(sys.stderr):  # standard output belongs to the command
                return kind(**given)
        except UserError:
            raise
        except ValueError as error:
            raise CampaignError(str(error), place=name) from error
        except Exception as error:
            raise CampaignError(f"it raised {type(error).__name__}: {error}", place=name) from error


def resolve(
    judge: Named,
    metrics: Sequence[Named] = (),
    criteria: Sequence[Named] = (),
    *,
    logits: bool,
    folder: Path | None = None,
) -> tuple[AssessmentSpec, Assessment]:
    """Find the judge, the metrics and the criteria that a campaign names.

    Args:
        judge: What counts as a decision.
        metrics: Metrics, each a column.
        criteria: Criteria, each a column.
        logits: Whether the model's outputs are logits, not probabilities, where a campaign does not
            say it for one of them; see ``output_kind``.
        folder: Where a module is looked up before the Python path.

    Returns:
        The assessment in a form that can be sent, and the assessment itself.

    Raises:
        CampaignError: One of them is unknown, cannot be made, or is given twice.
    """
    makers = Makers(logits, folder)
    assessment = Assessment(
        _placed(makers.judge, judge),
        tuple(_placed(makers.metric, named) for named in metrics),
        tuple(_placed(makers.criterion, named) for named in criteria),
    )
    _check_columns(assessment, metrics, criteria)
    own = [one.type for one in (judge, *metrics, *criteria) if is_function(one.type)]
    parts = (assessment.judge, *assessment.metrics, *assessment.criteria)
    references = {name: code_of(name, folder) for name in own}
    held = [getattr(part, "criterion", part) for part in parts]
    classes = code_of_loaded(name for part in held for name in class_modules(type(part)))
    code = reduce(or_, references.values(), classes)
    return AssessmentSpec(Parcel.of(assessment, code), references), assessment


def _placed(make: Callable[[Named], Any], named: Named) -> Any:
    """Return what is made of a name; errors are told with the place of it."""
    with placed(named.place):
        return make(named)


def _check_columns(
    assessment: Assessment, metrics: Sequence[Named], criteria: Sequence[Named]
) -> None:
    """Check that every metric and criterion can have its column."""
    named = (*metrics, *criteria)
    others = {criterion.name for criterion in assessment.criteria}
    for number, part in enumerate((*assessment.metrics, *assessment.criteria)):
        with placed(named[number].place):
            _check_name(part, named[number].type, others)
            column = assessment.columns[number]
            if column in assessment.columns[:number]:
                raise CampaignError(
                    f"the column {column!r} is asked for twice",
                    place=named[number].type,
                    hint="name it once; a class that is used with several parameters needs a "
                    "`name` that tells them apart, such as a property",
                )


def _check_name(part: Component, kind: str, criteria: Collection[str]) -> None:
    """Check that a metric or criterion has the name of a column that means nothing else yet.

    Args:
        part: The metric or criterion.
        kind: What the campaign calls it.
        criteria: Names of all criteria.
    """
    if not isinstance(part.name, str) or not re.fullmatch(r"[A-Za-z0-9_.]+", part.name):
        raise CampaignError(
            f"its name is {part.name!r}; expected letters, digits, '_' and '.', as it becomes "
            "the name of a column",
            place=kind,
            hint='give the class an attribute such as `name = "my_metric"`',
        )
    stem, _, end = part.name.rpartition("_")
    taken = part.name in TAKEN or (end in TAKEN and stem in criteria)
    if taken and isinstance(part, Criterion):
        raise CampaignError(
            f"its column would be sdc_{part.name}, which means something else in the results",
            place=kind,
            hint="give the class another name",
        )
