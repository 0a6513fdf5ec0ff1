"""Where dbt builds is named by a setting; a name that no output has is refused with those there are."""

import pytest
import yaml

from assets.features import feature_assets
from assets.new_home import prepare
from assets.resources import DBT_PROJECT, Platform
from ml.dbt_output import dbt_output
from ml.settings import Settings


def test_both_outputs_of_the_profile_are_known_by_their_engine():
    assert [dbt_output(DBT_PROJECT, name).engine for name in ("local", "spark")] == ["duckdb", "spark"]


def test_an_output_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(LookupError, match=r"HEADWATER_DBT_OUTPUT=prod names no output of .*there are local, spark"):
        dbt_output(DBT_PROJECT, "prod")


def test_an_output_that_nobody_here_can_read_is_refused(tmp_path):
    outputs = {"far": {"type": "spark", "method": "thrift"}, "else": {"type": "postgres"}}
    (tmp_path / "profiles.yml").write_text(yaml.safe_dump({"headwater": {"outputs": outputs}}))
    with pytest.raises(ValueError, match="far is of type spark by thrift"):
        dbt_output(tmp_path, "far")
    with pytest.raises(ValueError, match="else is of type postgres"):
        dbt_output(tmp_path, "else")


def test_a_wrong_output_stops_setup_and_the_lineage_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADWATER_DBT_OUTPUT", "prod")
    monkeypatch.setenv("HEADWATER_HOME", str(tmp_path))
    with pytest.raises(LookupError, match="HEADWATER_DBT_OUTPUT=prod"):
        prepare(tmp_path)
    assert not (tmp_path / "dbt").exists()
    with pytest.raises(LookupError, match="HEADWATER_DBT_OUTPUT=prod"):
        Platform(Settings()).warehouse  # noqa: B018


def test_a_manifest_of_another_engine_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "dbt").mkdir()
    (tmp_path / "dbt" / "manifest.json").write_text('{"nodes": {}, "metadata": {"adapter_type": "duckdb"}}')
    platform = Platform(Settings(home=tmp_path, dbt_output="spark"))
    with pytest.raises(LookupError, match="is for duckdb, and HEADWATER_DBT_OUTPUT=spark is on spark; run make setup"):
        feature_assets(platform, [])
