"""A run directory, read: as pandas frames, as a summary, as a status.

Readers need no lock. They see the parts that were published when they look, so a run can be read
while its campaign is running or its parts are being compacted.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from results import frames
from results.analysis.class_drift import class_drift
from results.analysis.criticality import METRIC, criticality
from results.analysis.differences import WORST, differences
from results.analysis.protection import protection
from results.analysis.summary import summary
from results.analysis.vulnerability import Part, vulnerability_map
from results.errors import ResultsWarning, RunNotFoundError, TrialNotFoundError
from results.ids import Ids, as_texts, ascending, contains, difference, parsed, rounded_to
from results.reading.published import read_injections, read_trials
from results.reading.status import StatusReader
from results.run_folder.events import events_frame, read_events
from results.run_folder.failures import read_failures
from results.run_folder.heartbeat import Heartbeat, read_heartbeat
from results.run_folder.manifest import Json, Manifest, RunHeader, read_manifest
from results.run_folder.parts import ID, ids_of
from results.storage.opening import open_storage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    import pandas as pd

    from results.reading.status import RunStatus
    from results.storage.storage import Storage


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open a run directory for reading, also while its campaign runs.

    Args:
        path: The run directory, local or ``s3://``, ``gs://``, ``abfs://``.

    Returns:
        The run; its rows are read when they are asked for.

    Raises:
        RunNotFoundError: There is no run directory, or ``path`` is no path.
        RunMismatchError: A version of this package with another schema wrote it.
        RunCorruptError: Its ``campaign.json`` cannot be understood.
        ResultsError: The file system refuses.

    Examples:
        >>> from injecttf2 import open_run
        >>> print(open_run("runs/first"))
        Run('runs/first')
          350 of 350 trials done, 7 layers, golden accuracy 96.40%
          ...
    """
    if not isinstance(path, str | os.PathLike):
        raise RunNotFoundError(
            f"received {path!r}, expected the path or the URI of a run directory", place="open_run"
        )
    storage = open_storage(path)
    return Run(storage, read_manifest(storage))


class Run:
    """What a run directory holds; ``open_run`` makes it.

    What ``campaign.json`` says is read once, when the run is opened; rows and failures are read
    anew by every call.

    Every method that reads rows raises ``RunCorruptError`` for a part that belongs to another
    campaign, and where two rows of a trial have different results. A part that is damaged is left
    out, with a ``ResultsWarning``; ``status`` names it.

    Examples:
        >>> from injecttf2 import brief, open_run
        >>> run = open_run("runs/first")
        >>> run.campaign["repetitions"], run.golden["samples"]
        (5, 500)
    """

    def __init__(self, storage: Storage, manifest: Manifest) -> None:
        self._storage = storage
        self._manifest = manifest

    def __repr__(self) -> str:
        from results.report.brief import run_text  # loads pandas

        return run_text(self)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from results.report.brief import run_html

        return run_html(self)

    @property
    def path(self) -> str:
        """The run directory: a path or, on object storage, a URI."""
        return self._storage.path()

    @property
    def header(self) -> RunHeader:
        """Campaign, identity, provenance and plan as the latest writer gave them."""
        return self._manifest.header

    @property
    def campaign(self) -> Json:
        """The resolved campaign."""
        return self.header.campaign

    @property
    def identity(self) -> Json:
        """What the trials mean: identity version, digests, seed, what is asked of outputs."""
        return self.header.identity

    @property
    def provenance(self) -> Json:
        """What the results were made with."""
        return self.header.provenance

    @property
    def earlier_provenance(self) -> tuple[Json, ...]:
        """What earlier rows were made with, where that was something else; oldest first."""
        return self._manifest.earlier_provenance

    @property
    def plan(self) -> Json:
        """``{"trials": int, "layers": {layer: trials}}``, see ``RunHeader``."""
        return self.header.plan

    @property
    def golden(self) -> Json | None:
        """Metrics and digests of the golden run; None before it is known."""
        return self._manifest.golden

    @property
    def numerics(self) -> tuple[Json, ...]:
        """Classes of numerics of the workers that made the rows: one, unless more were allowed."""
        return self._manifest.numerics

    @property
    def created_at(self) -> datetime:
        """When the run directory was begun, in UTC."""
        return self._manifest.created_at

    @property
    def updated_at(self) -> datetime:
        """When ``campaign.json`` was last written, in UTC."""
        return self._manifest.updated_at

    def trials(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the finished trials, one row each.

        Args:
            columns: Names of the columns wanted, in that order; by default all of ``TRIALS``, then
                those of metrics and criteria in alphabetical order.

        Returns:
            Rows in the order of the layers and of the grid, the repetitions of a cell together. Ids
            are uint64, ``bit`` is Int16, ``count`` Int64, other numbers are as in
            ``header.schema``, strings are categories: ``layer`` in model order, the others
            alphabetically.

        Raises:
            ValueError: There is no such column.

        Examples:
            >>> run.trials(["layer", "bit", "repetition", "injected"]).tail(2)
                   layer   bit  repetition  injected
            348  softmax  <NA>           3       500
            349  softmax  <NA>           4       500
        """
        schema = self.header.schema
        wanted = schema.names if columns is None else list(columns)
        frames.check_columns(wanted, schema.names, "columns")
        needed = [name for name in schema.names if name in {*wanted, "layer", *frames.TRIAL_ORDER}]
        table, unreadable = read_trials(
            self._storage, self.header, pa.schema([schema.field(name) for name in needed])
        )
        self._warn(unreadable)
        return frames.trials_frame(table)[wanted]

    def injections(self) -> pd.DataFrame:
        """Return the recorded injections of the finished trials, one row a site.

        Returns:
            The columns ``INJECTIONS``, sorted by trial, sample, layer, variable, element and bit;
            no row where the campaign did not ask for them with ``record: injections``. ``bit`` is
            Int16, the classes are Int32, strings are categories.
        """
        done, trials_lost = self._done_ids()  # first: a trial's injections are there before its row
        table, unreadable = read_injections(self._storage, self.header)
        self._warn([*trials_lost, *unreadable])
        mask = contains(ascending(done), ids_of(table))
        return frames.injections_frame(table.filter(pa.array(mask)))

    def failures(self) -> pd.DataFrame:
        """Return the trials that were given up on and have not succeeded since.

        Returns:
            Columns ``trial_id`` (uint64), ``error``, ``traceback``, ``failed_at`` (UTC) and
            ``trial`` (a mapping that describes the trial), sorted by ``failed_at``; the latest
            record of a trial that was given up on more than once.
        """
        import pandas as pd

        done, trials_lost = self._done_ids()
        failures, unreadable = read_failures(self._storage)
        self._warn([*trials_lost, *unreadable])
        names = ["trial_id", "error", "traceback", "failed_at", "trial"]
        records = failures.without(ascending(done)).records()
        rows = [[record[name] for name in names] for record in records]
        frame = pd.DataFrame(rows, columns=names, dtype=object).astype(
            {"trial_id": "uint64", "error": "str", "traceback": "str"}
        )
        frame["failed_at"] = pd.to_datetime(frame["failed_at"], utc=True).astype(
            "datetime64[us, UTC]"
        )
        return frame

    def events(self) -> pd.DataFrame:
        """Return what the writers of the run logged, the oldest writer first.

        Returns:
            Columns ``at`` (UTC), ``event`` (str) and every field that an event has, None in the
            rows of events without it. A line that a writer was killed in is left out.
        """
        return events_frame(read_events(self._storage))

    def heartbeat(self, now: datetime | None = None) -> Heartbeat | None:
        """Return what the writer said last.

        Args:
            now: What its age is counted to, in UTC; the present by default.

        Returns:
            The heartbeat; None if there is none, or none that makes sense.
        """
        return read_heartbeat(self._storage, now)

    def summary(
        self, by: str | Sequence[str] = ("layer", "bit"), *, confidence: float = 0.95
    ) -> pd.DataFrame:
        """Return the trials added up by group.

        A rate is the weighted mean of the rates of a group's cells, each of which counts as much
        as it has injected samples in a trial: cells that got more trials count for no more. Where
        all have the same number of trials it is the sum of the outcomes over that of the injected.
        Exhaustive cells count by their number of places too, so that the rate is that of all sites,
        and so do all cells of a campaign with a precision of a layer or of the network.

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
            columns: ``by``; of ``target``, ``fault``, ``parameters``, ``probability``, ``count``,
            ``ber`` and ``sampling`` those that differ in the run, since groups are never of
            several kinds of faults or rates, and with ``bit`` its ``bit_field``, if bits were
            drawn from several; ``trials``; the sums of ``injected``, ``masked``, ``benign``,
            ``sdc``, ``sdc_critical``, ``due`` and ``due_changed``; ``critical``, the sum of ``sdc``
            and ``due_changed``: what injectors count that compare argmax alone; ``sdc+due``, what
            is lost; ``accuracy`` and ``golden_accuracy``, means of the cells; ``sdc_rate``,
            ``sdc_low``, ``sdc_high`` over the injected samples, NaN where there are none, and the
            same for ``due``, ``critical`` and ``sdc+due``; each metric, a mean as the accuracy is;
            for each criterion its sum and rate, as for ``sdc``; ``method``.

        Raises:
            ValueError: A column cannot be grouped by, or ``confidence`` is out of range.

        Sources: those of ``wilson``, ``stratified`` and ``clustered``, the functions of
        ``results.statistics``.

        Examples:
            >>> by_field = run.summary("bit_field")
            >>> by_field[["bit_field", "trials", "injected", "sdc_rate", "method"]].round(4)
              bit_field  trials  injected  sdc_rate  method
            0  exponent     280    140000    0.1061  wilson
            1  mantissa      35     17500    0.0001  wilson
            2      sign      35     17500    0.0347  wilson
        """
        return summary(self, by, confidence)

    def criticality(
        self,
        by: str | Sequence[str] = ("layer", "bit"),
        *,
        metric: str = METRIC,
        confidence: float = 0.95,
    ) -> pd.DataFrame:
        """Return groups of trials ranked, the most critical first, and how sure the ranks are.

        Groups are ranked by the lower bound of their rate, so that one of which little is known
        does not stand first. Where the run has several kinds of faults (``target``, ``fault``,
        ``parameters``), rates of injection (``probability``, ``count`` or ``ber``) or sampling
        plans, ranks are within each: a layer that is hit more often is not more critical.

        Args:
            by: See ``summary``.
            metric: ``sdc+due``, the default, ``sdc``, ``due``, ``critical``, one of the run's
                criteria, or ``accuracy_lost``: the accuracy without faults less that with them.
            confidence: Two-sided confidence level of each interval, and of all ranks together.

        Returns:
            One row a group, with these columns: kind of fault, rate and ``sampling``, if several;
            ``by``; ``trials``, ``injected``; ``sdc``, ``due``, ``critical`` and ``sdc+due``, each
            with rate and bounds as in ``summary``, and so the criterion if that is the metric;
            ``accuracy_lost_rate``, ``accuracy_lost_low`` and ``accuracy_lost_high`` if that is;
            ``accuracy``; ``rank``, 1 for the most critical, which equal ones share; ``rank_low``
            and ``rank_high``, between which the true rank is; ``certain``, whether they are the
            same; ``method`` as in ``summary``. Ranks are Int64, null where nothing was injected.

        Raises:
            ValueError: As for ``summary``, or the metric is unknown.

        Source of the ranks: M. Klein, T. Wright and J. Wieczorek, "A joint confidence region for an
        overall ranking of populations", Journal of the Royal Statistical Society C 69 (2020),
        589-606.

        Examples:
            >>> print(brief(run.criticality("layer").head(2)))
                 layer                 sdc rate             sdc+due rate rank
            0  dense_1  15.52% (15.07 to 15.97)  17.16% (16.70 to 17.63)    1
            1  softmax  14.55% (14.12 to 14.99)  14.55% (14.12 to 14.99)    2
        """
        return criticality(self, by, metric=metric, confidence=confidence)

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
        baseline: object | None = WORST,
        *,
        metric: str = METRIC,
        confidence: float = 0.95,
    ) -> pd.DataFrame:
        """Return the differences in rate between cells that differ in nothing but ``of``.

        Cells of a paired campaign share their sites: for faults, their parameters, bits, bit fields
        and probabilities they are compared trial by trial, where at least 10 trials show the
        outcome. Others are taken as independent.

        Args:
            of: A column that tells cells apart: ``layer``, ``target``, ``variable``, ``fault``,
                ``parameters``, ``bit_field``, ``bit``, ``probability``, ``count`` or ``ber``. Cells
                in which it is null are left out. Bits are compared whatever their fields; bit
                fields are those from which bits were drawn.
            baseline: The value that the others are compared with; ``worst``, the default, for the
                one that has the highest rate among those that differ in nothing else, the first of
                equal ones; None for all pairs.
            metric: ``sdc+due``, ``sdc``, ``due``, ``critical`` or one of the run's criteria.
            confidence: Two-sided confidence level of the bounds, between 0 and 1.

        Returns:
            One row a pair of cells: the other columns that say what a cell is; ``of`` with ``_a``
            and ``_b``; ``pairs``, the trials that the cells share; ``rate_a`` and ``rate_b``;
            ``difference`` (b - a), ``low``, ``high``; ``method``: ``paired t``, ``newcombe``,
            ``square and add`` or ``exact``.

        Raises:
            ValueError: A column, the baseline or the metric is unknown, or ``confidence`` is out
                of range.

        Sources: those of ``paired_t`` and ``square_and_add``.

        Examples:
            >>> found = run.differences("bit").query("layer == 'dense_1'")
            >>> print(brief(found[["bit_b", "rate_b", "difference", "low", "high"]]).head(2))
               bit b rate b difference      low     high
            35    23  0.022    -0.3428  -0.3625   -0.323
            36    24  0.204    -0.1608  -0.1853  -0.1361
        """
        return differences(self, of, baseline, metric=metric, confidence=confidence)

    def protection(
        self, by: str | Sequence[str] = (), *, metric: str = METRIC, confidence: float = 0.95
    ) -> pd.DataFrame:
        """Return what each protection makes of the same faults.

        Trials under a protection have the faults of those without it, so they are compared trial by
        trial, where at least 10 of them show the outcome; else the rates are taken as independent.

        Args:
            by: Columns to group by beside the protection, such as ``layer``; by default all layers
                and bits together.
            metric: ``sdc+due``, ``sdc``, ``due``, ``critical`` or one of the run's criteria.
            confidence: Two-sided confidence level of the bounds, between 0 and 1.

        Returns:
            One row a group and protection, the one without first: target, fault and rate as far as
            the run has several; ``by``; ``protection``; ``trials`` and ``injected``; ``detected``,
            null without a protection; ``sdc_rate``, ``due_rate``, the metric's ``_rate``, ``_low``
            and ``_high``; ``accuracy`` with faults and ``golden_accuracy`` without. Then, over the
            trials that are there without the protection too: ``bare_rate``, the metric's rate
            without it; ``difference`` from it, ``low``, ``high``; ``reduction``, the share of it
            that is gone, ``reduction_low``, ``reduction_high``; ``pairs``, how many trials; and
            ``method`` of the difference: ``paired t``, ``newcombe``, ``square and add`` or
            ``exact``.

        Raises:
            NothingToShowError: The run has no protection.
            ValueError: A column or the metric is unknown, or ``confidence`` is out of range.

        The reduction is a ratio of sums over pairs, its bounds are those of its linear part
        (Cochran, "Sampling Techniques", 1977, 2.11) by Student's t.
        """
        names = [by] if isinstance(by, str) else list(by)
        return protection(self, names, metric=metric, confidence=confidence)

    def status(self, now: datetime | None = None) -> RunStatus:
        """Return how far the run is. Needs no pandas and tells unreadable files without warning.

        Args:
            now: What the heartbeat's age is counted to, in UTC; the present by default.

        Raises:
            RunCorruptError: A part belongs to another campaign.
            ResultsError: The file system refuses.

        Examples:
            >>> status = run.status()
            >>> status.done, status.planned, status.layers["dense"].done
            (350, 350, 50)
        """
        return StatusReader(self._storage).read(self._manifest, now)

    def trial(self, trial_id: int | str) -> dict[str, Any]:
        """Return one trial's row as a mapping from column to value, None where it is null.

        Args:
            trial_id: Its id, a number or the text of one.

        Raises:
            TrialNotFoundError: The run holds no such row; an id that a reader of JSON rounded to a
                double is told with those that it may have been.
        """
        from pyarrow import dataset

        rows: list[dict[str, Any]] = []
        schema, number = self.header.schema, parsed(trial_id)
        if number is not None and 0 <= number < 2**64:
            same = dataset.field("trial_id") == pa.scalar(number, pa.uint64())
            table, unreadable = read_trials(self._storage, self.header, schema, where=same)
            self._warn(unreadable)
            rows = table.to_pylist()
        if not rows:
            raise self._not_found(trial_id, number)
        return rows[0]

    def _not_found(self, given: int | str, number: int | None) -> TrialNotFoundError:
        """Return the error of an id that no row has."""
        hint = "Ids are in the column trial_id of trials(); what failed is in failures()."
        message = f"the run holds no finished trial {given}"
        if number is None:
            message = f"received {given!r} for a trial; expected its id, a whole number of 64 bits"
        else:
            done = ascending(self._done_ids()[0])
            failed = difference(read_failures(self._storage)[0].ids, done)
            found = as_texts(rounded_to(done, number))
            found += [f"{one}, given up on" for one in as_texts(rounded_to(failed, number))]
            if found:
                message += f"; it was rounded to 53 bits and may be {' or '.join(found)}"
                hint = "Give all digits; many readers of JSON round numbers, but leave texts alone."
        return TrialNotFoundError(message, place=self._storage.path(), hint=hint)

    def _done_ids(self) -> tuple[Ids, list[str]]:
        """Return the ids of the finished trials and the names of the parts that are unreadable."""
        table, unreadable = read_trials(self._storage, self.header, ID)
        return ids_of(table), unreadable

    def _warn(self, unreadable: Iterable[str]) -> None:
        """Tell the caller of the method that calls this what is left out."""
        for name in unreadable:
            warnings.warn(
                f"{self._storage.path(name)} cannot be read: what it held is left out.",
                ResultsWarning,
                stacklevel=3,
            )
