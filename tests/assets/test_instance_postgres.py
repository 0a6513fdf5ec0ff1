"""Dagster's records in a real PostgreSQL: runs, checks, a sensor's cursor, retention, and what can go wrong."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.sensor import execute_sensor_iteration

from assets.instance import open_instance
from assets.new_home import ROOT
from assets.old_runs import remove_runs, spent_runs
from assets.runs import QUIET, materialize
from ml.settings import Settings
from tests.assets.counting_location import definitions
from tests.redis_server import free_port


@pytest.fixture(scope="module")
def address(postgres):
    return postgres.database("dagster")


@pytest.fixture
def settings(address, tmp_path, monkeypatch):
    """A home whose records are in PostgreSQL, as make setup makes it."""
    settings = Settings(home=tmp_path, dagster_db=address)
    settings.dagster_home.mkdir()
    parts = [ROOT / "dagster.yaml", ROOT / "deploy" / "dagster-postgres.yaml"]
    (settings.dagster_home / "dagster.yaml").write_text("".join(part.read_text() for part in parts))
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home))
    monkeypatch.setenv("HEADWATER_DAGSTER_DB", address)
    return settings


@pytest.fixture
def password(address):
    return address.split(":")[2].split("@")[0]


def run(instance: dg.DagsterInstance) -> str:
    return materialize(definitions, instance, [dg.AssetKey("counted")], told=QUIET | {"loggers": {}}).run_id


def test_a_run_is_in_the_database_for_whoever_opens_it_and_not_in_files(settings, password):
    with open_instance(settings) as instance:
        done = run(instance)
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(settings.dagster_home))) as other:
        assert other.get_run_by_id(done).status == dg.DagsterRunStatus.SUCCESS
        newest = other.get_latest_materialization_event(dg.AssetKey("counted"))
        assert newest.run_id == done
    assert not [*settings.dagster_home.rglob("*.db")]
    kept = [path for path in settings.dagster_home.rglob("*") if path.is_file()]
    assert not [path for path in kept if password in path.read_text(errors="replace")]


def test_a_sensor_s_cursor_and_ticks_survive_the_daemon(settings):
    target = ModuleTarget("tests.assets.counting_location", None, str(Path(__file__).parents[2]), "counting")
    for _ in range(2):  # a daemon each
        with (
            open_instance(settings) as instance,
            create_test_daemon_workspace_context(target, instance) as workspace,
        ):
            list(execute_sensor_iteration(workspace, logging.getLogger("test"), None, None))
    with open_instance(settings) as instance:
        (state,) = instance.all_instigator_state()
        assert state.instigator_data.cursor == "2"
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id)
        assert [tick.skip_reason for tick in ticks] == ["asked 2 times before", "asked 1 times before"]


def test_retention_removes_what_says_nothing_any_more_and_nothing_else(settings):
    with open_instance(settings) as instance:
        for old in instance.get_runs():
            instance.delete_run(old.run_id)
        first, second = run(instance), run(instance)
        soon = datetime.now(UTC) + timedelta(minutes=1)
        spent = spent_runs(instance, [], soon)
        assert spent == [first]
        remove_runs(instance, spent)
        assert [left.run_id for left in instance.get_runs()] == [second]
        assert not instance.all_logs(first)
        assert instance.get_latest_materialization_event(dg.AssetKey("counted")).run_id == second


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda address: address.replace("dagster:", "dagster:wrong"),
            "correct user and password in HEADWATER_D",
        ),
        (lambda address: f"{address.rpartition('/')[0]}/nothing", "create that database"),
        (lambda address: f"{address.rpartition(':')[0]}:{free_port()}/dagster", "see that it runs"),
    ],
    ids=["password", "database", "down"],
)
def test_a_database_that_cannot_be_used_is_one_line_and_shows_no_password(settings, address, change, told):
    wrong = settings.model_copy(update={"dagster_db": change(address)})
    with pytest.raises(LookupError, match=rf"^Dagster's database .*:\*\*\*@.*{told}") as error, open_instance(wrong):
        pass
    assert wrong.dagster_db.split(":")[2].split("@")[0] not in str(error.value)


def test_a_database_that_goes_away_during_a_run_is_one_line(settings, postgres):
    def lose() -> None:
        with open_instance(settings) as instance:
            postgres.stop()
            run(instance)

    try:
        with pytest.raises(LookupError, match=r"^Dagster's database .* failed \(.*see that it runs.*then run again$"):
            lose()
    finally:
        postgres.start()


def test_a_home_made_without_the_database_is_refused(settings):
    (settings.dagster_home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    with pytest.raises(LookupError, match="knows nothing of a PostgreSQL; run make setup"), open_instance(settings):
        pass
