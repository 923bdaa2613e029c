"""The results of fault-injection campaigns: Parquet run directories, read as pandas frames.

``open_run`` reads a run directory, ``compact`` merges its small files, ``RunWriter`` is how a
campaign writes one. Nothing here loads TensorFlow, and pandas only what returns a frame.
"""

from results.compaction import Compacted, compact
from results.comparison import compare
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
from results.failures import GivenUp
from results.heartbeat import Heartbeat
from results.intervals import wilson
from results.manifest import RunHeader
from results.report import write_report
from results.run import Run, open_run
from results.schema import (
    INJECTIONS,
    OUTCOMES,
    PROVENANCE_COLUMNS,
    PURE_COLUMNS,
    SCHEMA_VERSION,
    TRIALS,
    trials_schema,
)
from results.status import FailedTrial, LayerStatus, RunStatus
from results.tables import injections_table, trials_table
from results.writer import RunWriter

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
    "compact",
    "compare",
    "injections_table",
    "open_run",
    "trials_schema",
    "trials_table",
    "wilson",
    "write_report",
]
