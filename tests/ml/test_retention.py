import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from ml.clock import RealClock
from ml.housekeeping import Housekeeping
from ml.lake import ORDER, Lake
from ml.publication import Publication, Publications
from ml.retention import InUse, Rules, kept_versions, publications_in_use, versions_published

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
RULES = Rules(30 * DAY, 90 * DAY, 60 * DAY, 30 * DAY, 90 * DAY, rollbacks=1, grace=DAY)
NONE = timedelta()


def commit(version, days_ago, *partitions, **metadata):
    at = (NOW - days_ago * DAY).timestamp() * 1000
    return {"version": version, "timestamp": at, "partitions": list(partitions), "metadata": metadata}


def kept(table, commits, in_use=(), good=lambda version, partition: True):
    return kept_versions(table, sorted(commits, key=lambda c: -c["version"]), set(in_use), good, RULES, NOW)


def month(name, value):
    return pl.DataFrame({"value": [value], "partition_key": [name]})


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def value_at(lake, table, version):
    return sorted(lake.read(table, version).collect()["value"])


def test_a_version_stays_until_its_kinds_days_after_it_was_replaced():
    commits = [commit(0, 400, "m"), commit(1, 80, "m"), commit(2, 20, "m"), commit(3, 1, "m")]
    assert kept("features/x", commits) == {1, 2, 3}  # 1 was the newest until 20 days ago
    assert kept("published/x", commits) == {0, 1, 2, 3}  # 0 was the newest until 80 days ago
    assert kept("model/training_set", [commit(0, 400, ""), commit(1, 61, ""), commit(2, 2, "")]) == {1, 2}


def test_the_newest_version_of_each_partition_stays_however_old():
    commits = [commit(0, 400, "jan"), commit(1, 390, "feb"), commit(2, 380, "feb"), commit(3, 370, "mar")]
    assert kept("features/x", commits) == {0, 2, 3}


def test_the_last_good_landing_stays_below_failed_ones():
    commits = [commit(n, 400 - n, "jan") for n in range(4)]
    assert kept("raw/x", commits, good=lambda version, partition: version == 1) == {1, 3}


def test_versions_in_use_stay_if_they_exist():
    commits = [commit(n, 400 - n, "jan") for n in range(4)]
    assert kept("raw/x", commits, in_use={0, 17}) == {0, 3}


def test_what_is_published_what_one_can_go_back_to_and_what_models_learned_from_are_in_use():
    log = [Publication("x", version, {"jan": version + 10}, "a", "r") for version in (0, 1, 2, 3, 4, 2)]
    assert [p.version for p in publications_in_use(log, {0}, rollbacks=1)] == [2, 4, 0]
    assert [p.version for p in publications_in_use(log, set(), rollbacks=0)] == [2]


def test_audited_versions_of_what_is_in_use_are_in_use(lake):
    publications = Publications(lake, RealClock())
    for value in range(4):
        lake.replace("features/x", month("jan", -value), ["jan"])  # staged, never published
        staged = lake.replace("features/x", month("jan", value), ["jan"])
        published = publications.publish("x", {"jan": staged}, actor="a").version
        lake.replace("model/training_set", month("jan", value), None, {"sources": {"x": published}})
    in_use = InUse()
    in_use.add("model/training_set", [1])
    assert versions_published(lake, publications, "published/x", in_use, rollbacks=1) == {1, 2, 3}
    assert versions_published(lake, publications, "features/x", in_use, rollbacks=1) == {3, 5, 7}
    assert versions_published(lake, publications, "raw/x", in_use, rollbacks=1) == set()
    lake.replace("model/scores", month("jan", 0), ["jan"], {"sources": {"x": 0}})
    in_use.add("model/scores", [0])
    assert versions_published(lake, publications, "published/x", in_use, rollbacks=1) == {0, 1, 2, 3}


def test_kept_versions_stay_readable_and_the_others_say_that_they_are_gone(lake):
    for value in range(5):
        lake.replace("raw/x", month("jan", value), ["jan"])
    told = Housekeeping(lake).vacuum("raw/x", [1], NONE, dry_run=True)
    assert Housekeeping(lake).versions_with("raw/x", told) == [0, 2, 3]
    assert value_at(lake, "raw/x", 2) == [2]  # a dry run removes nothing
    assert Housekeeping(lake).vacuum("raw/x", [1], NONE, dry_run=False) == told
    assert (value_at(lake, "raw/x", 1), value_at(lake, "raw/x", 4)) == ([1], [4])
    with pytest.raises(LookupError, match=r"'raw/x' at version 2 lacks 1 of its.*whole are the versions \[4, 1\]"):
        lake.read("raw/x", 2)
    assert Housekeeping(lake).vacuum("raw/x", [1], NONE, dry_run=False) == {}


def test_a_vacuum_is_no_version_of_the_table(lake):
    for value in range(3):
        lake.replace("raw/x", month("jan", value), ["jan"], {"rows": value})
    Housekeeping(lake).vacuum("raw/x", [], NONE, dry_run=False)
    assert lake.open("raw/x").version() > 2
    assert lake.version("raw/x") == 2
    assert lake.partition_versions("raw/x") == {"jan": 2}
    assert [c["metadata"] for c in lake.history("raw/x")] == [{"rows": 2}, {"rows": 1}, {"rows": 0}]
    assert lake.replace("raw/x", month("jan", 9), ["jan"]) == lake.version("raw/x") == 5


def test_what_a_killed_writer_left_goes_and_what_a_writer_is_writing_stays(lake):
    lake.replace("raw/x", month("jan", 1), ["jan"])
    folder = Path(lake.path("raw/x/partition_key=jan"))
    for name, hours in (("left.parquet", 30), ("in-progress.parquet", 1)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - 3600 * hours,) * 2)
    assert Housekeeping(lake).vacuum("raw/x", [], timedelta(hours=24), dry_run=False) == {
        "partition_key=jan/left.parquet": 4
    }
    assert (folder / "in-progress.parquet").exists()
    assert value_at(lake, "raw/x", None) == [1]


def test_what_was_replaced_within_the_grace_period_stays_for_its_readers(lake):
    lake.replace("raw/x", month("jan", 1), ["jan"])
    lake.replace("raw/x", month("jan", 2), ["jan"])
    assert Housekeeping(lake).vacuum("raw/x", [], timedelta(hours=1), dry_run=False) == {}
    assert value_at(lake, "raw/x", 0) == [1]


def test_the_log_still_tells_everything_after_months_and_checkpoints(lake):
    lake.replace("raw/x", month("jan", 0), ["jan"], {"rows": 7})
    for value in range(110):
        lake.replace("raw/x", month("feb", value), ["feb"])
        if value == 50:
            for path in Path(lake.path("raw/x/_delta_log")).iterdir():
                os.utime(path, (time.time() - 90 * 86_400,) * 2)
    assert list(Path(lake.path("raw/x/_delta_log")).glob("*.checkpoint.parquet"))  # so that opening stays fast
    Housekeeping(lake).vacuum("raw/x", [0], NONE, dry_run=False)
    assert lake.partition_versions("raw/x") == {"jan": 0, "feb": 110}
    assert lake.metadata("raw/x", 0) == {"rows": 7}
    assert value_at(lake, "raw/x", 0) == [0]
    assert value_at(lake, "raw/x", None) == [0, 109]


def test_compacting_an_audit_table_changes_no_row_no_order_and_no_version(lake):
    for value in range(30):
        lake.append_in_order("audit/log", pl.DataFrame({"value": [value]}))
    assert Housekeeping(lake).appended_files("audit/log") == Housekeeping(lake).compact("audit/log") == 30
    assert Housekeeping(lake).appended_files("audit/log") == 1
    assert lake.version("audit/log") == 29
    lake.append_in_order("audit/log", pl.DataFrame({"value": [30]}))
    Housekeeping(lake).vacuum("audit/log", [], NONE, dry_run=False)
    assert lake.read("audit/log").collect().sort(ORDER)["value"].to_list() == list(range(31))


def test_rolling_back_to_a_removed_version_names_those_that_are_left(lake):
    publications = Publications(lake, RealClock())
    for value in range(4):
        staged = lake.replace("features/x", month("jan", value), ["jan"])
        publications.publish("x", {"jan": staged}, actor="a")
    Housekeeping(lake).vacuum("published/x", [2], NONE, dry_run=False)
    with pytest.raises(LookupError, match=r"version 0 was removed by retention; one can go back to: \[2, 3\]"):
        publications.roll_back("x", 0, actor="b", reason="?")
    assert list(publications.kept("x")) == [2, 3]
    publications.roll_back("x", 2, actor="b", reason="better")
    assert sorted(publications.read("x").collect()["value"]) == [2]
    staged = lake.replace("features/x", month("feb", 8), ["feb"])
    publications.publish("x", {"feb": staged}, actor="a")
    assert sorted(publications.read("x").collect()["value"]) == [2, 8]
