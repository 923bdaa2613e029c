"""The statistics of fault injection in one place: intervals, differences and sample sizes.

Each function is on arrays and says where it comes from; see the modules that hold them.
"""

from results.statistics.bootstrap import cluster_bootstrap
from results.statistics.clusters import cluster_wilson, clustered
from results.statistics.intervals import clopper_pearson, paired_t, square_and_add, wilson
from results.statistics.sample_size import finite_population, relative_sample_size, sample_size
from results.statistics.strata import Strata, stratified

__all__ = [
    "Strata",
    "clopper_pearson",
    "cluster_bootstrap",
    "cluster_wilson",
    "clustered",
    "finite_population",
    "paired_t",
    "relative_sample_size",
    "sample_size",
    "square_and_add",
    "stratified",
    "wilson",
]
