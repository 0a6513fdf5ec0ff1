"""The registry in a real PostgreSQL: the promises of a file's, and what goes wrong is one line with the remedy."""

import os
import subprocess
import time
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from ml.lake import Lake
from ml.models.flight_delay import FLIGHT_DELAY
from ml.old_runs import remove_runs, unregistered_runs
from ml.registry import Registry
from ml.scoring import example_feed
from tests.ml.synthetic import training_rows
from tests.ml.train_command import TABLE, command
from tests.redis_server import free_port
from tests.serving.example import RAW, write_graph


@pytest.fixture
def registry(mlflow_postgres, tmp_path):
    return Registry(mlflow_postgres, tmp_path / "artifacts")


@pytest.fixture
def register(registry, tmp_path):
    path = write_graph(tmp_path / "model.onnx", -3.0)

    def one(name: str) -> str:
        with registry.recording(name) as run:
            run.metrics({"test_roc_auc": 0.75})
            return run.register(path, example_feed(path, pl.DataFrame([RAW]), 1), {"training_set_version": 4})

    return one


def test_versions_aliases_and_tags_are_seen_by_whoever_opens_the_same_database(registry, register, tmp_path):
    first, second = register("shared"), register("shared")
    registry.set_aliases("shared", {"champion": second, "previous": first})
    registry.tag(registry.version("shared", first), {"verdict": "refused"})
    other = Registry(registry.tracking_uri, tmp_path / "unused")
    assert other.champion("shared").version == second
    found = other.version("shared", first)
    assert (found.tags["verdict"], found.metrics, found.aliases) == ("refused", {"test_roc_auc": 0.75}, ("previous",))
    assert other.onnx_path(found).read_bytes() == (tmp_path / "model.onnx").read_bytes()
    with pytest.raises(LookupError, match="no version 9"):
        registry.set_aliases("shared", {"champion": "9"})
    assert other.champion("shared").version == second


def test_old_runs_without_a_version_are_removed_from_the_database_too(registry, register, tmp_path):
    register("kept")
    with registry.recording("kept") as run:
        run.artifact(tmp_path / "model.onnx")
    soon = datetime.now(UTC) + timedelta(minutes=5)
    assert unregistered_runs(registry, soon) == [run.run_id]
    remove_runs(registry, [run.run_id])
    assert unregistered_runs(registry, soon) == []
    assert not (tmp_path / "artifacts" / "kept" / run.run_id).exists()
    assert len(registry.versions("kept")) == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda address, port: address.replace("mlflow:", "mlflow:wrong"), "correct user and password in HEADWATER_T"),
        (lambda address, port: f"{address.rpartition('/')[0]}/nothing", "create that database"),
        (lambda address, port: address.replace(address.rpartition(":")[2], f"{port}/mlflow"), "see that it runs"),
    ],
    ids=["password", "database", "down"],
)
def test_a_database_that_cannot_be_used_is_one_line_within_seconds_and_shows_no_password(
    mlflow_postgres, tmp_path, change, told
):
    address = change(mlflow_postgres, free_port())
    assert address != mlflow_postgres
    password = address.split(":")[2].split("@")[0]
    started = time.monotonic()
    with pytest.raises(
        LookupError, match=rf"^registry postgresql://mlflow:\*\*\*@.* cannot be opened \(.*\); .*{told}"
    ) as error:
        Registry(address, tmp_path / "artifacts").champion("anything")
    assert time.monotonic() - started < 10
    assert len(str(error.value).splitlines()) == 1
    assert password not in str(error.value)


def test_a_database_that_goes_away_in_the_middle_is_one_line_with_the_remedy(postgres, registry):
    def lose() -> None:
        with registry.recording("lost") as run:
            postgres.stop()
            run.metrics({"loss": 1.0})

    try:
        with pytest.raises(LookupError, match=r"failed \(.*see that it runs and that HEADWATER_TRACKING_URI"):
            lose()
    finally:
        postgres.start()
    assert registry.aliases("lost") == {}  # the same client goes on


def test_training_takes_the_address_from_its_environment_and_a_password_as_argument_is_refused(
    mlflow_postgres, tmp_path
):
    rows = training_rows(FLIGHT_DELAY, count=1500)
    Lake(tmp_path / "lake").replace(TABLE, rows, metadata={"content": "c0ffee"})
    refused = subprocess.run(command(tmp_path, tracking_uri=mlflow_postgres), capture_output=True, text=True)
    assert refused.returncode == 1
    assert "set HEADWATER_TRACKING_URI" in refused.stderr
    password = mlflow_postgres.split(":")[2].split("@")[0]
    assert password not in refused.stderr
    told = {"HEADWATER_TRACKING_URI": mlflow_postgres, "HEADWATER_ARTIFACTS": str(tmp_path / "artifacts")}
    words = command(tmp_path, tracking_uri=None, artifacts=None)
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **told})
    assert done.returncode == 0, done.stderr
    registry = Registry(mlflow_postgres, tmp_path / "artifacts")
    (version,) = registry.versions("flight_delay")
    run = registry.client.get_run(version.run_id)
    assert password not in str(run.to_dictionary()) + str(version.tags) + done.stdout + done.stderr
