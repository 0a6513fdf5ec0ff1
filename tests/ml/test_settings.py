from pathlib import Path

import pytest
from pydantic import ValidationError

from ml.settings import Settings

POSTGRES = "postgresql://me:s3cret@host/db"


def test_a_home_holds_its_stores_unless_told_otherwise(tmp_path):
    settings = Settings(home=tmp_path)
    assert settings.tracking_uri == f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    assert settings.artifacts == str(tmp_path / "mlflow" / "artifacts")
    elsewhere = Settings(home=tmp_path, tracking_uri="http://mlflow:5000/", artifacts="s3://bucket/prefix")
    assert (elsewhere.tracking_uri, elsewhere.artifacts) == ("http://mlflow:5000", "s3://bucket/prefix")
    assert Settings(home=tmp_path, artifacts="files").artifacts == str(Path("files").absolute())


def test_a_scratch_home_keeps_nothing_in_its_original_s_stores(tmp_path):
    original = Settings(
        home=tmp_path / "a",
        tracking_uri=POSTGRES,
        artifacts="s3://bucket",
        dagster_db=f"{POSTGRES}2",
        online_store="redis://:s3cret@host/0",
        ui_port=4000,
    )
    assert original.embedded_in(tmp_path / "b") == Settings(home=tmp_path / "b", ui_port=4000)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tracking_uri": "mysql://me:s3cret@host/db"}, "none of postgresql://"),
        ({"tracking_uri": "postgres://me:s3cret@host/db"}, "none of postgresql://"),
        ({"dagster_db": "sqlite:///s3cret"}, "postgresql://user:password@host/db"),
        ({"online_store": "memcached://me:s3cret@host"}, "neither redis://"),
        ({"online_store": "redis://:s3cret/x@host/0"}, "write / .* in a password as %2F"),
        ({"dagster_db": "postgresql://me:s3cret@x@host/db"}, "write .* @ .* in a password as"),
        ({"dagster_db": POSTGRES, "tracking_uri": "postgresql://mlflow:s3cret@host/db"}, "give Dagster one of its own"),
        ({"artifacts": "gs://bucket?token=s3cret"}, "neither a folder nor s3://"),
        ({"artifacts": "mlflow-artifacts:/", "tracking_uri": POSTGRES}, "set HEADWATER_TRACKING_URI to its http://"),
    ],
)
def test_an_address_that_no_store_has_is_refused_without_its_password(given, message):
    with pytest.raises(ValidationError, match=message) as error:
        Settings(**given)
    told = str(error.value).replace("sqlite:///s3cret", "")  # no password: it is named
    assert "s3cret" not in told


def test_settings_print_no_password():
    told = repr(Settings(tracking_uri=POSTGRES, dagster_db=f"{POSTGRES}2", online_store="redis://:s3cret@host/0"))
    assert "s3cret" not in told
