"""The results of fault-injection campaigns: Parquet run directories, read as pandas frames.

``open_run`` reads a run directory; ``RunWriter`` is how a campaign writes one. Nothing here loads
TensorFlow, and pandas is loaded only by what returns a frame.
"""

from results.errors import (
    ResultsError,
    ResultsWarning,
    RunCorruptError,
    RunLockedError,
    RunMismatchError,
    RunNotFoundError,
    TrialNotFoundError,
)
from results.manifest import RunHeader
from results.run import Run, open_run
from results.schema import (
    INJECTIONS,
    OUTCOMES,
    PURE_COLUMNS,
    SCHEMA_VERSION,
    TRIALS,
    injections_table,
    trials_table,
)
from results.statistics import wilson
from results.status import LayerStatus, RunStatus
from results.writer import RunWriter

__all__ = [
    "INJECTIONS",
    "OUTCOMES",
    "PURE_COLUMNS",
    "SCHEMA_VERSION",
    "TRIALS",
    "LayerStatus",
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
    "injections_table",
    "open_run",
    "trials_table",
    "wilson",
]
