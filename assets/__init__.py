"""Dagster: the lineage and what runs it. The only folder that wires things."""

import gc

# Dagster, dbt and Feast load a million objects that stay. Python looks through them again whenever 700 more are made:
# a sixth of the time of a command that finds nothing to do.
gc.set_threshold(50_000, 10, 10)
