"""Pages and plots: the report of a run, and what other pages share."""
