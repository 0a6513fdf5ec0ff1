"""Retention on a small home: what is removed, what never is, and that nobody is disturbed."""

import multiprocessing
import os
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from assets import old_runs
from assets.resources import Platform
from assets.rollback import roll_back, versions
from assets.vacuum import main, vacuum_files, vacuum_table, vacuum_tables
from ml.retention import InUse
from ml.settings import Settings
from tests.ml.publishing_child import MONTHS, NAME, broken, online_numbers, publish, publish_for_ever, read_until
from tests.ml.small_store import GAUGES

ROOT = Path(__file__).parent.parent.parent
NOTHING_KEPT = {
    "keep_staged_days": 0,
    "keep_published_days": 0,
    "keep_training_sets_days": 0,
    "keep_logs_days": 0,
    "keep_runs_days": 0,
    "vacuum_grace_hours": 0,
}


def platform_at(home, **settings):
    return Platform(Settings(home=home, **(NOTHING_KEPT | settings)))


def months_ago(*paths):
    for path in paths:
        os.utime(path, (time.time() - 90 * 86_400,) * 2)


def test_a_vacuum_leaves_what_is_published_and_what_one_can_go_back_to(tmp_path):
    published = [publish(tmp_path, MONTHS, number) for number in range(5)]
    platform = platform_at(tmp_path, keep_rollbacks=1)
    told = {gone.what: gone for gone in vacuum_tables(platform, dry_run=True)}
    assert {gone.what: gone for gone in vacuum_tables(platform, dry_run=False)} == told
    assert told[f"published/{NAME}"].versions == tuple(published[:3])
    assert told[f"features/{NAME}"].size > 0
    assert broken(tmp_path) is None
    assert list(platform.publications.kept(NAME)) == published[3:]
    assert [line.endswith("(removed by retention)") for line in versions(platform, NAME)] == [True] * 3 + [False] * 2
    assert versions(platform, NAME)[-1].endswith("<- now")
    platform.publications.roll_back(NAME, published[3], "test", "back")
    assert set(platform.publications.read(NAME).collect()["readings"]) == {3}
    assert list(vacuum_tables(platform, dry_run=False)) == []


def test_a_rollback_takes_offline_and_online_readers_back_together(tmp_path):
    first, second = publish(tmp_path, MONTHS, 1), publish(tmp_path, MONTHS, 2)
    platform = platform_at(tmp_path)
    platform.__dict__["feature_views"] = (GAUGES,)  # what dbt's manifest would declare
    platform.manifest.parent.mkdir()
    platform.manifest.write_text('{"nodes": {}, "sources": {}, "macros": {}}')
    for version, number in ((first, 1), (second, 2)):
        roll_back(platform, NAME, version, "test", "wrong units")
        assert set(platform.publications.read(NAME).collect()["readings"]) == {number}
        assert online_numbers(tmp_path) == {number}
        assert broken(tmp_path) is None
    with pytest.raises(LookupError, match=r"version 7 was never published; one can go back to: \[0, 1\]"):
        roll_back(platform, NAME, 7, "test", "?")
    assert broken(tmp_path) is None


def test_by_default_nothing_new_is_removed(tmp_path):
    for number in range(3):
        publish(tmp_path, MONTHS, number)
    assert list(vacuum_tables(Platform(Settings(home=tmp_path)), dry_run=True)) == []


def test_a_vacuum_beside_a_publisher_and_a_reader_harms_neither(tmp_path):
    processes = multiprocessing.get_context("forkserver")
    publish(tmp_path, MONTHS, 0)
    step, stop, problems = processes.Value("i", -1), processes.Event(), processes.Queue()
    receive, send = processes.Pipe(duplex=False)
    publisher = processes.Process(target=publish_for_ever, args=(str(tmp_path), 1, step, send))
    reader = processes.Process(target=read_until, args=(str(tmp_path), stop, problems))
    publisher.start()
    reader.start()
    platform, removed = platform_at(tmp_path, keep_rollbacks=5), 0
    try:
        while removed < 5:
            receive.recv()  # it goes on publishing
            # Without grace: the published table's lock alone must do.
            removed += len(vacuum_table(platform, f"published/{NAME}", InUse(), dry_run=False).versions)
        receive.recv()
        assert publisher.is_alive()
    finally:
        publisher.kill()
        stop.set()
    assert isinstance(problems.get(timeout=60), int), "the reader met a problem"
    publisher.join()
    reader.join()
    assert broken(tmp_path) is None


def test_what_killed_publishers_left_is_removed(tmp_path):
    publish(tmp_path, MONTHS, 0)
    platform = platform_at(tmp_path, keep_rollbacks=0)
    left = tmp_path / "lake/features" / NAME / f"partition_key={MONTHS[0]}" / "part-left.snappy.parquet"
    left.write_bytes(b"PAR1half a file")
    assert [gone.what for gone in vacuum_tables(platform, dry_run=False)] == [f"features/{NAME}"]
    assert not left.exists()
    assert broken(tmp_path) is None


def test_old_logs_and_reports_go_but_not_those_in_use(tmp_path):
    publish(tmp_path, MONTHS, 0)
    platform = platform_at(tmp_path, keep_logs_days=30)
    logs, reports = tmp_path / "serving/predictions/flight_delay", tmp_path / "reports/drift"
    for folder in (logs, reports, tmp_path / "logs", tmp_path / "training/left"):
        folder.mkdir(parents=True)
    landed, unlanded, filled = (logs / f"{name}.frames" for name in ("landed", "unlanded", "filled"))
    ring, schema = logs / "filled.spool", logs / "0123456789abcdef.schema.json"
    shown, superseded = reports / f"{NAME}-2013-07-v0.html", reports / f"{NAME}-2013-07-v7.html"
    old, new, work = tmp_path / "logs/old.log", tmp_path / "logs/new.log", tmp_path / "training/left/model.onnx"
    for path in (landed, unlanded, filled, ring, schema, shown, superseded, old, new, work):
        path.write_text("line\n")
    cursor = {"landed.frames": 5, "unlanded.frames": 2, "filled.frames": 5}
    platform.lake.append("flight_delay/predictions", rows_of_one(), {"cursor": cursor})
    months_ago(landed, unlanded, filled, ring, schema, shown, superseded, old, work)
    list(vacuum_files(platform, dry_run=True))
    assert all(path.exists() for path in (landed, superseded, old, work))
    list(vacuum_files(platform, dry_run=False))
    assert [p.exists() for p in (landed, superseded, old, work)] == [False] * 4
    assert [p.exists() for p in (unlanded, filled, ring, schema, shown, new)] == [True] * 6


def rows_of_one():
    import polars as pl

    return pl.DataFrame({"prediction_id": ["a"]})


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
def parted():
    return dg.MaterializeResult(check_results=None)


@dg.asset
def whole():
    return dg.MaterializeResult()


@dg.asset_check(asset=whole)
def looked_at():
    return dg.AssetCheckResult(passed=True)


def test_a_run_stays_while_it_tells_how_something_stands(tmp_path):
    soon, instance = datetime.now(UTC) + timedelta(minutes=1), dg.DagsterInstance.local_temp(str(tmp_path))
    runs = {}
    for name, assets, selection, partition, tags in (
        ("old a", [parted], None, "a", {}),
        ("b", [parted], None, "b", {}),
        ("a", [parted], None, "a", {}),
        ("keyed", [whole], [whole], None, {"dagster/run_key": "drifted"}),
        ("checked", [whole, looked_at], None, None, {}),
        ("unchecked", [whole], [whole], None, {}),
    ):
        done = dg.materialize(assets, selection=selection, partition_key=partition, tags=tags, instance=instance)
        runs[done.run_id] = name
    check = dg.AssetCheckKey(dg.AssetKey("whole"), "looked_at")
    spent = old_runs.spent_runs(instance, [check], soon)
    assert [runs[run] for run in spent] == ["old a"]
    assert old_runs.spent_runs(instance, [check], soon - timedelta(days=1)) == []
    old_runs.remove_runs(instance, spent)
    assert {runs[run.run_id] for run in instance.get_runs()} == set(runs.values()) - {"old a"}
    assert instance.get_latest_data_version_record(dg.AssetKey("parted"), partition_key="a").run_id in runs


@dg.asset(partitions_def=parted.partitions_def, deps=[parted])
def child():
    return dg.MaterializeResult()


def test_the_run_that_a_fresh_partition_was_made_from_stays(tmp_path):
    """Otherwise a partition whose input was made again, with the same data version, would look out of date."""
    instance, version = dg.DagsterInstance.local_temp(str(tmp_path)), dg.DataVersion("same")

    @dg.asset(name="parted", partitions_def=parted.partitions_def)
    def unchanged():
        return dg.MaterializeResult(data_version=version)

    def status():
        definitions = dg.Definitions(assets=[unchanged, child])
        stale = CachingStaleStatusResolver(instance, definitions.resolve_asset_graph(), LoadingContextForTest(instance))
        return stale.get_status(child.key, "a")

    for selection in ([unchanged], [child], [unchanged], [unchanged]):
        dg.materialize([unchanged, child], selection=selection, partition_key="a", instance=instance)
    assert status() == StaleStatus.FRESH
    spent = old_runs.spent_runs(instance, [], datetime.now(UTC) + timedelta(minutes=1))
    assert len(spent) == 1  # the third: neither the newest nor what the child has seen
    old_runs.remove_runs(instance, spent)
    assert status() == StaleStatus.FRESH


def test_the_command_tells_first_and_removes_then(tmp_path, monkeypatch, capsys):
    for number in range(3):
        publish(tmp_path, MONTHS, number)
    kept = {f"HEADWATER_{name.upper()}": str(value) for name, value in NOTHING_KEPT.items()}
    environment = {**kept, "HEADWATER_HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path / "dagster")}
    for name, value in {**environment, "HEADWATER_KEEP_ROLLBACKS": "0"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "dagster").mkdir()
    made = subprocess.run(["make", f"{tmp_path}/dbt/manifest.json"], cwd=ROOT, env=os.environ, capture_output=True)
    assert made.returncode == 0, made.stderr

    def run(*words):
        assert main(words) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    told, done, again = run("--dry-run"), run(), run()
    assert "published/gauge_state" in told
    assert "2 versions (0, 1)" in told
    assert "nothing was removed" in told
    assert told.splitlines()[1:-1] == done.splitlines()[1:-1]
    assert "published" not in again
    assert broken(tmp_path) is None


def test_bad_retention_settings_are_refused(tmp_path):
    with pytest.raises(ValueError, match="keep_rollbacks"):
        Settings(home=tmp_path, keep_rollbacks=-1)
