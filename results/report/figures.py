"""The figures of a run, as Plotly figures: for notebooks, and the ones that the report shows.

Each function takes a run, as ``open_run`` returns it, and raises ``NothingToShowError``, whose
message says why, where its figure would be empty. Intervals are those of ``Run.summary``. Kinds of
faults and rates are never pooled: a figure is of one of them, or has an axis for them.
"""

from __future__ import annotations

from results.report.rank_figures import bit_heatmap, criticality
from results.report.rate_figures import accuracy, curves
from results.report.site_figures import HIGHEST, class_drift, vulnerability_map

__all__ = [
    "HIGHEST",
    "accuracy",
    "bit_heatmap",
    "class_drift",
    "criticality",
    "curves",
    "vulnerability_map",
]
