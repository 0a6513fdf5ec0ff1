"""Dagster: the lineage and what runs it. The only folder that wires things."""

import gc

# Dagster and dbt load hundreds of thousands of objects that stay. By default Python looks for garbage among new ones
# whenever there are 700 more: a sixth of the time of a command that finds nothing to do.
gc.set_threshold(50_000, 10, 10)
