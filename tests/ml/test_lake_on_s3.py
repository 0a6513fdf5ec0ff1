"""What is promised of a lake on an object store beyond what `test_lake` promises of every lake."""

import json
import subprocess
import sys
import time
from datetime import timedelta

import polars as pl
import pytest

from ml.housekeeping import Housekeeping
from ml.lake import ORDER, Lake, table_at
from ml.settings import Settings
from ml.storage import StorageUnreachable
from tests.ml.lake_places import LakePlace

ROW = pl.DataFrame({"value": [1], "partition_key": ["2013-01"]})
WRITERS = ("a", "b")


@pytest.fixture
def place(s3, tmp_path):
    return LakePlace(tmp_path, s3)


def written_at_once(place, how, count):
    """Let two processes write at once, and return the versions of each one's commits."""
    words = [sys.executable, "-m", "tests.ml.lake_writer", place.root, str(place.folder / "locks")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = {name: subprocess.Popen([*words, name, how, str(count)], **pipes) for name in WRITERS}
    for process in processes.values():
        assert process.stdout.readline() == "ready\n"
    for process in processes.values():
        process.stdin.write("go\n")
        process.stdin.flush()
    found = {name: process.communicate()[0] for name, process in processes.items()}
    assert [process.returncode for process in processes.values()] == [0, 0]
    return {name: json.loads(versions) for name, versions in found.items()}


def test_two_processes_that_append_at_once_lose_no_commit(place):
    place.lake.append("audit/log", pl.DataFrame({"writer": ["-"], "n": [0], "partition_key": ["-"]}))
    versions = written_at_once(place, "append", 12)
    assert sorted(versions["a"] + versions["b"]) == list(range(1, 25))
    assert versions["a"] != list(range(1, 13)), "they did not write at once"
    for name in WRITERS:
        told = [place.lake.metadata("audit/log", version) for version in versions[name]]
        assert told == [{"writer": name, "n": n} for n in range(12)]
    rows = place.lake.read("audit/log").collect()
    assert sorted(rows.select("writer", "n").rows()) == [("-", 0), *((w, n) for w in WRITERS for n in range(12))]


def test_audit_rows_of_two_processes_are_numbered_apart_and_in_order(place):
    written_at_once(place, "order", 10)
    rows = place.lake.read("audit/log").collect().sort(ORDER)
    assert rows[ORDER].is_unique().all()
    for name in WRITERS:
        assert rows.filter(writer=name)["n"].to_list() == list(range(10))


def test_two_processes_replace_their_partitions_side_by_side(place):
    written_at_once(place, "replace", 6)
    assert sorted(place.lake.read("raw/x").collect().select("writer", "n").rows()) == [("a", 5), ("b", 5)]
    history = place.lake.history("raw/x")
    assert [commit["version"] for commit in history] == list(range(11, -1, -1))
    assert set(place.lake.partition_versions("raw/x")) == set(WRITERS)


def test_a_vacuum_takes_what_nobody_keeps_and_leaves_what_somebody_does(place):
    lake = place.lake
    for value in range(3):
        lake.replace("raw/x", ROW.with_columns(value=pl.lit(value, pl.Int64)), ["2013-01"])
    keeper = Housekeeping(lake)
    told = keeper.vacuum("raw/x", [1], timedelta(0), dry_run=True)
    assert list(told) == lake.files_of("raw/x", 0)["2013-01"]
    assert keeper.versions_with("raw/x", told) == [0]
    assert keeper.vacuum("raw/x", [1], timedelta(0), dry_run=False) == told
    assert [lake.lost("raw/x", version) for version in range(3)] == [list(told), [], []]
    with pytest.raises(LookupError, match=r"at version 0 lacks 1 .*whole are the versions \[2, 1\]"):
        lake.read("raw/x", 0)
    assert lake.restore("raw/x", 1) == lake.version("raw/x")
    assert lake.read("raw/x").collect()["value"].to_list() == [1]


def test_a_table_grown_by_many_appends_is_compacted_and_its_snapshot_goes_on(place):
    for value in range(12):
        place.lake.append("audit/log", pl.DataFrame({"value": [value]}))
    assert place.lake.snapshot("audit/log")["value"].sort().to_list() == list(range(12))
    assert Housekeeping(place.lake).compact("audit/log") == 12
    place.lake.append("audit/log", pl.DataFrame({"value": [12]}))
    assert place.lake.snapshot("audit/log")["value"].sort().to_list() == list(range(13))


def test_tables_are_found_where_they_are_and_nothing_else_is(place):
    assert place.lake.tables() == []
    place.lake.append("audit/log", ROW)
    place.lake.replace("raw/x", ROW, ["2013-01"])
    place.write("raw/notes/readme.txt", b"no table")
    assert place.lake.tables() == ["audit/log", "raw/x"]
    lake, name = table_at(place.lake.path("raw/x"))
    assert (lake.version(name), lake.read(name).collect().height) == (0, 1)


def test_a_lake_copied_from_a_folder_keeps_versions_and_history(place, tmp_path):
    local = Lake(tmp_path / "lake")
    for value in range(12):
        local.replace("raw/x", ROW.with_columns(value=pl.lit(value, pl.Int64)), ["2013-01"], {"value": value})
    files = [path for path in (tmp_path / "lake" / "raw").rglob("*") if path.is_file()]
    for file in files:
        place.write(str(file.relative_to(tmp_path / "lake")), file.read_bytes())
    assert place.lake.history("raw/x") == local.history("raw/x")
    assert [place.lake.read("raw/x", version).collect()["value"][0] for version in (0, 11)] == [0, 11]
    assert place.lake.replace("raw/x", ROW, ["2013-01"]) == 12


def test_a_history_read_again_asks_only_for_what_is_new(place, monkeypatch):
    for value in range(5):
        place.lake.append("audit/log", pl.DataFrame({"value": [value]}))
    assert len(place.lake.history("audit/log")) == 5
    place.lake.append("audit/log", pl.DataFrame({"value": [5]}))
    asked = []
    client = place.lake.storage._client
    monkeypatch.setattr(client, "get_object", lambda get=client.get_object, **what: asked.append(what) or get(**what))
    assert len(place.lake.history("audit/log")) == 6
    assert len(asked) <= 1


def test_who_only_reads_needs_no_folder_of_locks_and_who_writes_is_told(place):
    place.lake.append_in_order("audit/log", pl.DataFrame({"value": [1]}))
    reader = Lake(place.root)
    assert reader.read("audit/log").collect()["value"].to_list() == [1]
    with pytest.raises(LookupError, match=r"opened to be read.*audit/log.*folder of locks"):
        reader.append_in_order("audit/log", pl.DataFrame({"value": [2]}))


WRONG = {
    "a wrong secret": ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch.*AWS_SECRET_ACCESS_KEY"),
    "an unknown key": ({"AWS_ACCESS_KEY_ID": "nobody"}, "InvalidAccessKeyId.*AWS_ACCESS_KEY_ID"),
    "nothing there": ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "Could not connect.*see AWS_ENDPOINT_URL"),
    "no address": ({"AWS_ENDPOINT_URL": "nonsense"}, "Invalid endpoint: nonsense.*see AWS_ENDPOINT_URL"),
    "plain http": ({"AWS_ALLOW_HTTP": "false"}, "set AWS_ALLOW_HTTP=true"),
}


@pytest.mark.parametrize(
    ("what", "act"),
    [(what, act) for what in WRONG for act in ("read", "history", "append", "tables") if what != "plain http"]
    + [("plain http", "read"), ("plain http", "append")],  # which Delta alone minds
)
def test_an_object_store_that_lets_us_not_in_says_so_within_seconds(place, monkeypatch, what, act):
    change, message = WRONG[what]
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    acts = {
        "read": lambda lake: lake.read("raw/x"),
        "history": lambda lake: lake.history("raw/x"),
        "append": lambda lake: lake.append("raw/x", ROW),
        "tables": lambda lake: lake.tables(),
    }
    started = time.monotonic()
    with pytest.raises(StorageUnreachable, match=f"the lake {place.root} .*{message}"):
        acts[act](Lake(place.root))
    assert time.monotonic() - started < 10


def test_a_bucket_that_is_not_there_is_named_with_the_remedy(s3):
    for act in (lambda lake: lake.read("raw/x"), lambda lake: lake.append("raw/x", ROW), lambda lake: lake.tables()):
        with pytest.raises(OSError, match=r"NoSuchBucket.*make the bucket nobody-made-it"):
            act(Lake("s3://nobody-made-it/lake"))


def test_a_server_that_would_lose_commits_is_refused_before_anything_is_written(place, monkeypatch):
    client = place.lake.storage._client
    heedless = client.put_object
    with monkeypatch.context() as patch:
        patch.setattr(client, "put_object", lambda IfNoneMatch, **what: heedless(**what))
        with pytest.raises(OSError, match=r"the lake s3://lake/.* ignores `If-None-Match: \*`.*SeaweedFS or AWS S3"):
            place.lake.append("raw/x", ROW)
    assert place.lake.tables() == []
    assert place.lake.append("raw/x", ROW) == 0


def test_a_store_that_went_away_is_not_taken_for_a_damaged_table(place, monkeypatch):
    place.lake.append("raw/x", ROW)
    gone = Lake(place.root)
    gone.history("raw/x")
    place.lake.append("raw/x", ROW)
    monkeypatch.setattr(gone.storage._client, "get_object", unplugged)
    with pytest.raises(StorageUnreachable, match="cannot be reached"):
        gone.history("raw/x")


def unplugged(**what):
    from botocore.exceptions import EndpointConnectionError

    raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")


@pytest.mark.parametrize(
    "address", ["gs://bucket/lake", "s3://", "s3:///lake", "s3://bucket/with space", "s3://b/a%20b"]
)
def test_an_address_that_no_lake_has_is_refused(address):
    with pytest.raises(ValueError, match="neither s3://bucket/prefix nor a folder"):
        Settings(lake=address)


def test_a_home_has_its_own_lake_unless_another_is_named_and_a_moved_home_always(tmp_path):
    assert Settings(home=tmp_path).lake == str(tmp_path / "lake")
    settings = Settings(home=tmp_path, lake="s3://lake/headwater/")
    assert settings.lake == "s3://lake/headwater"
    assert settings.embedded_in(tmp_path / "copy").lake == str(tmp_path / "copy" / "lake")
