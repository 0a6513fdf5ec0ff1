"""Dagster: the lineage and what runs it. The only folder that wires things."""
