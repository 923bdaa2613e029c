"""The results of fault-injection campaigns: Parquet run directories, read as pandas frames.

``open_run`` reads a run directory, ``compact`` merges its small files, ``RunWriter`` is how a
campaign writes one. Nothing here loads TensorFlow, and pandas only what returns a frame.
"""

from results.analysis.comparison import compare
from results.analysis.published_outcomes import PublishedComparison
from results.errors import (
    NothingToShowError,
    ResultsError,
    ResultsWarning,
    RunCorruptError,
    RunLockedError,
    RunMismatchError,
    RunNotFoundError,
    TrialNotFoundError,
)
from results.reading.run import Run, open_run
from results.reading.status import FailedTrial, LayerStatus, RunStatus
from results.report.brief import brief
from results.report.report import write_report
from results.run_folder.failures import GivenUp
from results.run_folder.heartbeat import Heartbeat
from results.run_folder.manifest import RunHeader
from results.run_folder.schema import (
    INJECTIONS,
    OUTCOMES,
    PROVENANCE_COLUMNS,
    PURE_COLUMNS,
    SCHEMA_VERSION,
    TRIALS,
    trials_schema,
)
from results.run_folder.tables import injections_table, trials_table
from results.statistics.intervals import wilson
from results.writing.compaction import Compacted, compact
from results.writing.writer import RunWriter

__all__ = [
    "INJECTIONS",
    "OUTCOMES",
    "PROVENANCE_COLUMNS",
    "PURE_COLUMNS",
    "SCHEMA_VERSION",
    "TRIALS",
    "Compacted",
    "FailedTrial",
    "GivenUp",
    "Heartbeat",
    "LayerStatus",
    "NothingToShowError",
    "PublishedComparison",
    "ResultsError",
    "ResultsWarning",
    "Run",
    "RunCorruptError",
    "RunHeader",
    "RunLockedError",
    "RunMismatchError",
    "RunNotFoundError",
    "RunStatus",
    "RunWriter",
    "TrialNotFoundError",
    "brief",
    "compact",
    "compare",
    "injections_table",
    "open_run",
    "trials_schema",
    "trials_table",
    "wilson",
    "write_report",
]
