"""One run of a campaign, from its plan to its report."""
