"""The one writer of a run directory: publication, recovery, compaction."""
