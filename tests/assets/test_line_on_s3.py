"""Nine real days from raw tables to a model's training set, with the lake on an object store."""

import shutil
from datetime import UTC, datetime

import pytest
from polars.testing import assert_frame_equal

from ml.clock import ReplayClock
from ml.fingerprint import content_hash
from ml.lake import table_at
from ml.models.flight_delay import FLIGHT_DELAY
from ml.warehouse import read_feature_table
from tests.assets.test_view_versions import Home, land_days
from tests.ml.test_dbt_features import MONTHS, PROJECT

TABLES = ["aircraft_state", "flight_outcomes"]
KNOWN = tuple(name for name in FLIGHT_DELAY.features if name.startswith("aircraft_state:"))
SPEC = FLIGHT_DELAY.model_copy(update={"features": KNOWN, "elapsed": ()})
TRAINING_SET = f"{SPEC.name}/training_set"


@pytest.fixture
def home(s3, tmp_path):
    home = Home(tmp_path, lake="s3://lake/line", models=(SPEC,))
    shutil.copytree(PROJECT, home.project, ignore=shutil.ignore_patterns("target", "logs"))
    ReplayClock(home.platform.settings.clock_file).set(datetime(2013, 3, 20, tzinfo=UTC))
    return home


def test_raw_tables_become_features_and_a_training_set_with_the_lake_on_an_object_store(home):
    platform = home.platform
    land_days(platform)
    home.run("staging/stg_nycflights__flights", *(f"features/{name}" for name in TABLES))
    home.run(*(f"published/{name}" for name in TABLES))
    home.run(TRAINING_SET, months=())
    for name in TABLES:
        built = read_feature_table(platform.settings.warehouse, name, MONTHS[1:])
        published = platform.publications.read(name).collect().select(built.columns)
        assert_frame_equal(published, built, check_row_order=False)
    # As a training run finds it, by the address on its command line.
    lake, table = table_at(platform.lake.path(TRAINING_SET))
    rows, told = lake.read(table, 0).collect(), lake.metadata(table, 0)
    assert (content_hash(rows), rows.height) == (told["content"], told["rows"])
    assert rows.height > 1_000
    assert rows[KNOWN[0].replace(":", "__")].drop_nulls().len() > 2_000
    assert {TRAINING_SET, "audit/verdicts", "raw/flights"} < set(platform.lake.tables())
    assert not (platform.settings.root / "lake").exists()
    assert list(platform.settings.locks.glob("audit--verdicts.lock"))
