"""What can be asked of a run: which layers, bits and places are critical, and how sure that is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from results.criticality import rank
from results.differences import differences
from results.drift import class_drift
from results.schema import criteria_of, metrics_of
from results.summary import NEEDED, grouping, summarise
from results.vulnerability import Part, vulnerability_map

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from results.manifest import RunHeader


class Answers(ABC):
    """Answers from the rows of a run, which ``Run`` reads."""

    @property
    @abstractmethod
    def path(self) -> str:
        """Where the run is, for messages."""

    @property
    @abstractmethod
    def header(self) -> RunHeader:
        """What the latest writer said about the run."""

    @abstractmethod
    def trials(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the finished trials, one row each."""

    @abstractmethod
    def injections(self) -> pd.DataFrame:
        """Return the recorded injections of the finished trials."""

    @property
    def complete_cells(self) -> Mapping[str, int]:
        """By ``cell_id``, as text, of exhaustive cells: how many trials are all of its sites."""
        cells: Mapping[str, int] = self.header.plan.get("exhaustive", {})
        return cells

    def summary(
        self, by: str | Sequence[str] = ("layer", "bit"), *, confidence: float = 0.95
    ) -> pd.DataFrame:
        """Return the trials added up by group.

        A rate is the weighted mean of the rates of a group's cells, each of which counts as much
        as it has injected samples in a trial: cells that got more trials count for no more. Where
        all have the same number of trials it is the sum of the outcomes over that of the injected.
        Exhaustive cells count by their number of places too, so that the rate is that of all sites.

        Accuracies and metrics are over all samples of a trial. Of a group they are the mean of the
        cells' means, which count equally, exhaustive ones by their number of places.

        ``method`` says how the bounds were found: ``wilson``, on the sums; ``stratified wilson``,
        where cells have different numbers of trials or share their sites; ``cluster wilson``, with
        whole trials as units, where one fault is in many samples, as in weights; ``exact``, where
        every site was hit.

        Args:
            by: A column of ``TRIALS`` or several, other than its tallies and accuracies.
                Metrics and criteria are none.
            confidence: Two-sided confidence level of the bounds, between 0 and 1.

        Returns:
            One row a group that occurs (null is a value too), sorted by ``by``, with these
            columns: ``by``; ``trials``; the sums of ``injected``, ``masked``, ``benign``, ``sdc``,
            ``sdc_critical`` and ``due``; ``accuracy`` and ``golden_accuracy``, means of the cells;
            ``sdc_rate``, ``sdc_low``, ``sdc_high``, ``due_rate``, ``due_low`` and
            ``due_high`` over the injected samples, NaN where there are none; each metric, a mean
            as the accuracy is; for each criterion its sum and rate, as for ``sdc``; ``method``.

        Raises:
            ValueError: A column cannot be grouped by, or ``confidence`` is out of range.
        """
        keys = grouping(by)
        schema = self.header.schema
        metrics, criteria = metrics_of(schema), criteria_of(schema)
        trials = self.trials(list(dict.fromkeys([*keys, *NEEDED, *metrics, *criteria])))
        return summarise(
            trials,
            keys,
            confidence,
            metrics=metrics,
            criteria=criteria,
            sites=self.complete_cells,
        )

    def criticality(
        self,
        by: str | Sequence[str] = ("layer", "bit"),
        *,
        metric: str = "sdc",
        confidence: float = 0.95,
    ) -> pd.DataFrame:
        """Return groups of trials ranked by a rate, the highest first, and how sure the ranks are.

        Args:
            by: See ``summary``.
            metric: ``sdc``, ``due`` or one of the run's criteria.
            confidence: Two-sided confidence level of each interval, and of all ranks together.

        Returns:
            One row a group, with these columns: ``by``; ``trials``, ``injected``; ``sdc`` and
            ``due``, each with rate and bounds as in ``summary``, and so the criterion if that is
            the metric; ``rank``, 1 for the highest rate, which equal rates share; ``rank_low`` and
            ``rank_high``, between which the true rank is; ``certain``, whether they are the same;
            ``method`` as in ``summary``. Ranks are Int64, null where nothing was injected.

        Raises:
            ValueError: As for ``summary``, or the metric is unknown.
        """
        keys = grouping(by)
        criteria = criteria_of(self.header.schema)
        trials = self.trials(list(dict.fromkeys([*keys, *NEEDED, *criteria])))
        return rank(
            trials, keys, confidence, metric=metric, criteria=criteria, sites=self.complete_cells
        )

    def vulnerability_map(
        self,
        layer: str,
        by: Part = "element",
        *,
        variable: str | None = None,
        confidence: float = 0.95,
    ) -> pd.DataFrame:
        """Return what became of the recorded injections in each part of a layer.

        Every site counts by itself, with the outcome of its sample: where a fault hits several
        places of a sample, each of them has its outcome. Counts are of the rows. Rates weigh each
        row by one over the trials of its cell, so that cells that got more trials count for no
        more; bounds are found as in ``summary``.

        Args:
            layer: The layer's address.
            by: ``element``; ``channel``, the last axis of the output; or ``position``, the others.
                Weights have elements only.
            variable: Variable of the layer for faults in weights; by default the map is of the
                outputs, or of the only variable.
            confidence: Two-sided confidence level of the bounds, between 0 and 1.

        Returns:
            One row a part that was hit, in order, with these columns: ``by``, counted row by row
            from 0; for ``position`` one for each axis, ``axis_0`` and on; ``injected``,
            ``masked``, ``benign``, ``sdc``, ``due``; rate and bounds of ``sdc`` and ``due``, and
            ``method``, as in ``summary``.

        Raises:
            ResultsError: No injections were recorded, or the layer's shape is not known.
            ValueError: There is no such layer, variable or part, or the variable has to be given.
        """
        return vulnerability_map(self, layer, by, variable=variable, confidence=confidence)

    def class_drift(self) -> pd.DataFrame:
        """Return which classes faulty predictions move to, from the recorded injections.

        Returns:
            One row a pair of classes that occurs in sdc samples: ``golden_class``,
            ``faulty_class``, Int32; ``count``, how many of them; ``share`` of those with that
            golden class, 0 to 1, each weighed by one over the trials of its cell.

        Raises:
            ResultsError: No injections were recorded, or the model does not classify.
        """
        return class_drift(self)

    def differences(
        self,
        of: str = "bit",
        baseline: object | None = None,
        *,
        metric: str = "sdc",
        confidence: float = 0.95,
    ) -> pd.DataFrame:
        """Return the differences in rate between cells that differ in nothing but ``of``.

        Cells of a paired campaign share their sites: for faults, their parameters, bits, bit fields
        and probabilities they are compared trial by trial, where at least ``pairing.MIN_PAIRS``
        trials show the outcome. Others are taken as independent.

        Args:
            of: A column of ``differences.CELL``. Cells in which it is null are left out. Bits are
                compared whatever their fields; bit fields are those from which bits were drawn.
            baseline: The value that the others are compared with; None for all pairs.
            metric: ``sdc``, ``due`` or one of the run's criteria.
            confidence: Two-sided confidence level of the bounds, between 0 and 1.

        Returns:
            One row a pair of cells: the other columns that say what a cell is; ``of`` with ``_a``
            and ``_b``; ``pairs``, the trials that the cells share; ``rate_a`` and ``rate_b``;
            ``difference`` (b - a), ``low``, ``high``; ``method``: ``paired t``, ``newcombe``,
            ``square and add`` or ``exact``.

        Raises:
            ValueError: A column, the baseline or the metric is unknown, or ``confidence`` is out
                of range.
        """
        return differences(self, of, baseline, metric=metric, confidence=confidence)
