"""Landing as an asset: what a run that names a month does with a table that has none."""

import dagster as dg

from assets.raw import raw_assets
from assets.resources import Platform
from ml.settings import Settings
from ml.sources import source_named


def test_a_table_without_months_lands_in_a_run_of_a_month(tmp_path):
    platform = Platform(Settings(home=tmp_path))
    parts = raw_assets([source_named(name) for name in ("airlines", "weather")])
    definitions = dg.Definitions(
        assets=[p for p in parts if not isinstance(p, dg.AssetChecksDefinition)],
        asset_checks=[p for p in parts if isinstance(p, dg.AssetChecksDefinition)],
        resources={"platform": platform},
    )
    job = definitions.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        assert job.execute_in_process(instance=instance, partition_key="2013-03").success
    assert platform.lake.read("raw/airlines").collect().height == 16
    assert not platform.guard.problems("raw/airlines", {"": 0})
    assert not platform.guard.problems("raw/weather", {"2013-03": 0})
