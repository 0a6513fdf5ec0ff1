"""What dbt's events say of columns: of a feature table, the types and texts of the table that readers get."""

from datetime import UTC, datetime
from types import SimpleNamespace

import dagster as dg
import polars as pl
import pytest

from assets import column_lineage
from assets.column_lineage import SCHEMA, with_columns
from assets.resources import Platform
from ml.column_graph import ColumnGraph
from ml.settings import Settings

RAW = {"raw/gauges": ("level", "event_timestamp")}
STAGING = "select level, event_timestamp from raw.gauges"
STATE = "select level as last_level, event_timestamp from staging.stg_gauges"
AS_DUCKDB_SAYS = dg.TableSchema([dg.TableColumn("event_timestamp", "TIMESTAMP WITH TIME ZONE")])


@pytest.fixture
def said(tmp_path, monkeypatch):
    """The columns (type, description) that an event of dbt ends with, by the name of its table."""
    graph = ColumnGraph(RAW, {"staging/stg_gauges": STAGING, "features/gauge_state": STATE})
    texts = {("raw/gauges", "event_timestamp"): "When it was read.", ("features/gauge_state", "last_level"): "In cm."}
    monkeypatch.setattr(column_lineage, "built_columns", lambda *_: graph)
    monkeypatch.setattr(column_lineage, "column_texts", lambda *_: texts)
    platform = Platform(Settings(home=tmp_path))
    rows = pl.DataFrame({"last_level": [412.0], "event_timestamp": [datetime(2013, 1, 1, tzinfo=UTC)]})
    version = platform.lake.replace("features/gauge_state", rows)

    def of(table):
        context = SimpleNamespace(asset_key_for_output=lambda _: dg.AssetKey(table.split("/")))
        told = {"features/gauge_state": {"table version": str(version)}}
        output = dg.Output(None, metadata={SCHEMA: AS_DUCKDB_SAYS})
        (event,) = with_columns(platform, (), context, [output], told)
        return {c.name: (c.type, c.description) for c in event.metadata[SCHEMA].value.columns}

    return of


def test_a_feature_table_has_the_types_of_the_lake_and_says_what_its_columns_mean(said):
    assert said("features/gauge_state") == {
        "last_level": ("Float64", "In cm."),
        "event_timestamp": ("timestamp (UTC)", "When it was read."),
    }


def test_what_only_dbt_has_keeps_the_types_of_its_engine(said):
    assert said("staging/stg_gauges") == {"event_timestamp": ("TIMESTAMP WITH TIME ZONE", None)}
