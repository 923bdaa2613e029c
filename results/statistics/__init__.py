"""The statistics of fault injection in one place: intervals, differences and sample sizes.

Each function is on arrays and says where it comes from; see the modules that hold them.
"""

from results.statistics.clusters import cluster_wilson, clustered, clustered_sums
from results.statistics.intervals import paired_t, square_and_add, wilson
from results.statistics.sample_size import sample_size
from results.statistics.strata import Strata, stratified

__all__ = [
    "Strata",
    "cluster_wilson",
    "clustered",
    "clustered_sums",
    "paired_t",
    "sample_size",
    "square_and_add",
    "stratified",
    "wilson",
]
