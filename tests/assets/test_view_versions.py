"""Two versions of a view on nine real days: built by dbt, published, joined and read online side by side.

One file, though a long one: the home with both versions is built by dbt once for all of it.
"""

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from assets.column_lineage import ENTRY, SCHEMA
from assets.definitions import definitions_for
from assets.features import dbt_resource
from assets.resources import Platform
from assets.rollback import roll_back
from assets.runs import materialize
from assets.views import accept, admit_build, admit_publish, admit_use, listing, record_published
from checks.guard import GateClosed
from checks.required import FEATURES, RAW
from ml.clock import ReplayClock
from ml.feature_store import historical_features, published_versions
from ml.lake import WHOLE
from ml.models.flight_delay import FLIGHT_DELAY
from ml.online_publish import push_until, rebuild
from ml.online_rows import open_online_rows
from ml.settings import Settings
from ml.sources import SOURCES
from ml.spec import ModelSpec
from ml.verdicts import Verdict
from ml.view_log import ViewLog
from serving.build_plan import build_plan
from serving.model_repository import ModelRepository
from serving.online_features import OnlineFeatures
from tests.ml.test_dbt_features import MONTHS, PROJECT, land_rows, sliced

SQL, YAML = "models/features/aircraft_state.sql", "models/features/aircraft_state.yml"
STAGING = "models/staging/stg_nycflights__flights.sql"
V2_SQL = "models/features/aircraft_state_v2.sql"
V2_YAML = """
    versions:
      - v: 1
        defined_in: aircraft_state
      - v: 2
        columns:
          - include: all
            exclude: [last_dep_delay]
          - name: last_dep_delay
            description: Departure of the leg later than scheduled, in seconds.
            data_type: double
            data_tests: [not_null]
          - name: last_carrier
            description: Carrier that flew the leg.
            data_type: varchar
            data_tests: [not_null]
"""
ORDER = ["tailnum", "event_timestamp", "created_timestamp"]
NOON, NIGHT = datetime(2013, 3, 9, 17, tzinfo=UTC), datetime(2013, 3, 10, 4, tzinfo=UTC)


@dataclass
class Home:
    """A home with a dbt project of its own, and a model that reads a version of aircraft_state."""

    folder: Path
    built: dg.ExecuteInProcessResult | None = None  # the build of both versions
    lake: str = ""  # its own
    models: tuple[ModelSpec, ...] = ()

    @property
    def project(self):
        return self.folder / "dbt_project"

    @property
    def platform(self):
        return Platform(Settings(home=self.folder / "home", lake=self.lake), self.project)

    def edit(self, file, old, new):
        path = self.project / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        self.platform.manifest.unlink()

    def declare_second_version(self):
        text = (self.project / YAML).read_text()
        self.edit(YAML, text, text + V2_YAML)
        sql = (self.project / SQL).read_text()
        seconds = "cast(dep_delay as double) * 60 as last_dep_delay"
        sql = sql.replace("cast(dep_delay as double) as last_dep_delay", f"{seconds},\n    carrier as last_carrier")
        (self.project / V2_SQL).write_text(sql)

    def retire_first_version(self):
        lines = "      - v: 1\n        defined_in: aircraft_state\n"
        self.edit(YAML, lines, "")
        (self.project / SQL).unlink()

    def parse(self):
        """What `make setup` does: dbt's manifest, if there is none for the files as they are."""
        if self.platform.manifest.exists():
            return
        dbt_resource(self.platform)  # sets dbt's environment
        words = ["parse", "--quiet", "--project-dir", str(self.project), "--profiles-dir", str(self.project)]
        words += ["--target", self.platform.dbt_output.name]
        log = ["--log-path", str(self.folder / "logs")]
        done = subprocess.run([ROOT_DBT, *words, *log], capture_output=True, text=True, env=os.environ)
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, *keys, months=MONTHS[1:]):
        """Materialize in one run of `months`, on what dbt declares now."""
        self.parse()
        made = definitions_for(self.platform, models=self.models)
        # Nine days are no month: only dbt's tests, which are part of the build, judge them here.
        definitions = dg.Definitions(assets=made.assets, resources=made.resources, loggers=made.loggers)
        with dg.DagsterInstance.ephemeral() as instance:
            result = materialize(definitions, instance, [dg.AssetKey(key.split("/")) for key in keys], months)
        for table in (key for key in keys if key.startswith("features/")):
            versions = self.platform.lake.partition_versions(table, months)
            others = [check for check in FEATURES if check != "dbt_tests"]
            passed = [Verdict(table, version, check, True, p) for p, version in versions.items() for check in others]
            self.platform.verdicts.record(passed)
        return result

    def deploy(self, version, view="aircraft_state", model="delay"):
        """What a deployment leaves in the serving home: Triton is not asked here."""
        platform, repository = self.platform, ModelRepository(self.platform.settings.serving_home)
        features = tuple(f"{view}:{field.name}" for v in platform.feature_views if v.name == view for field in v.fields)
        spec = FLIGHT_DELAY.model_copy(update={"name": model, "features": features, "elapsed": ()})
        revision = repository.next_revision(model)
        plan = build_plan(spec, platform.feature_views, revision, version, self.folder / "m.onnx", platform.settings)
        repository.write_plan(plan)
        repository.point(plan, proven=True)
        return plan

    def published(self, name):
        return self.platform.publications.read(name).collect().sort(ORDER)

    def events(self, name="aircraft_state"):
        entries = ViewLog(self.platform.lake, self.platform.clock).entries().get(name, [])
        return [(entry.event, entry.changes) for entry in entries]


ROOT_DBT = str(Path(__file__).parents[2] / ".venv" / "bin" / "dbt")


@pytest.fixture(scope="module")
def published_once(tmp_path_factory):
    """Version 1 built and published for February and March of the real days."""
    home = Home(tmp_path_factory.mktemp("versions"))
    shutil.copytree(PROJECT, home.project, ignore=shutil.ignore_patterns("target", "logs"))
    platform = home.platform
    ReplayClock(platform.settings.clock_file).set(datetime(2013, 3, 20, tzinfo=UTC))
    land_days(platform)
    home.run("staging/stg_nycflights__flights", "features/aircraft_state")
    home.run("published/aircraft_state")
    return home


def land_days(platform):
    """Land the nine days of every source, and let them pass their gates."""
    for source in SOURCES:
        land_rows(platform.lake, platform.clock, source.name, sliced(source.name))
        partitions = [WHOLE] if source.partition is None else MONTHS
        versions = platform.lake.partition_versions(source.table)
        passed = [Verdict(source.table, versions[p], check, True, p) for p in partitions for check in RAW]
        platform.verdicts.record(passed)


@pytest.fixture
def home(published_once, tmp_path):
    """A copy of it that a test may spoil."""
    shutil.copytree(published_once.folder, tmp_path / "copy")
    return Home(tmp_path / "copy")


@pytest.fixture(scope="module")
def published_twice(published_once, tmp_path_factory):
    """Version 2 declared beside version 1, while a model reads version 1; both built and published."""
    folder = tmp_path_factory.mktemp("both")
    shutil.copytree(published_once.folder, folder / "copy")
    home = Home(folder / "copy")
    home.deploy("1")
    home.declare_second_version()
    home.built = home.run("features/aircraft_state", "features/aircraft_state_v2")
    home.run("published/aircraft_state", "published/aircraft_state_v2")
    return home


@pytest.fixture
def both(published_twice, tmp_path):
    """A copy of it that a test may spoil."""
    shutil.copytree(published_twice.folder, tmp_path / "both")
    return Home(tmp_path / "both")


def answers(home, plan, tails):
    """What the router's reader gets at NIGHT for a plan's one view, in the order of the tail numbers."""
    reader = OnlineFeatures(plan.online_store, plan.views)
    (rows,) = reader.read({"tailnum": tails}, NIGHT, time.perf_counter() + 10).values()
    names = [field.name for field in plan.views[0].fields]
    return [dict(zip(names, row, strict=True)) for row in zip(*rows.values, strict=True)]


def newest(frame, now):
    """The last leg of each aircraft that landed within three days before `now`."""
    known = frame.filter((pl.col("event_timestamp") <= now) & (pl.col("created_timestamp") <= now))
    last = known.sort("event_timestamp", "created_timestamp").group_by("tailnum").last()
    return last.filter(pl.lit(now) - pl.col("event_timestamp") <= pl.duration(days=3))


def test_publishing_a_second_version_leaves_the_first_as_it_was(published_once, both):
    assert both.published("aircraft_state").equals(published_once.published("aircraft_state"))
    assert both.events() == [("declared", "")]
    assert both.events("aircraft_state_v2") == [("declared", "")]


def test_both_versions_have_their_own_tests_and_columns(published_twice):
    events = {event.asset_key.path[-1]: event for event in published_twice.built.get_asset_materialization_events()}
    lineage = {
        name: events[name].materialization.metadata["dagster/column_lineage"].value.deps_by_column
        for name in ("aircraft_state", "aircraft_state_v2")
    }
    assert lineage["aircraft_state_v2"]["last_carrier"] == [
        dg.TableColumnDep(dg.AssetKey(["staging", "stg_nycflights__flights"]), "carrier")
    ]
    assert "last_carrier" not in lineage["aircraft_state"]
    shown = events["aircraft_state_v2"].materialization.metadata[ENTRY].value
    assert "| last_carrier | staging/stg_nycflights__flights.carrier | raw/flights.carrier |" in shown
    types = {c.name: c.type for c in events["aircraft_state_v2"].materialization.metadata[SCHEMA].value.columns}
    assert (types["event_timestamp"], types["last_dep_delay"]) == ("timestamp (UTC)", "Float64")
    verdicts = published_twice.platform.verdicts
    tests = {
        name: {test["column"] for test in verdicts.newest(table, 0, "2013-03", "dbt_tests").evidence["tests"]}
        for name in lineage
        for table in [f"features/{name}"]
    }
    assert tests["aircraft_state_v2"] - tests["aircraft_state"] == {"last_dep_delay", "last_carrier"}


def test_both_versions_are_joined_at_the_same_moments(both):
    platform, legs = both.platform, newest(both.published("aircraft_state"), NIGHT).head(300)
    moments = legs.select("tailnum", event_timestamp=pl.lit(NIGHT))
    store = platform.feature_store(published_versions(platform.publications, platform.feature_views))
    wanted = ["aircraft_state:last_dep_delay", "aircraft_state_v2:last_dep_delay", "aircraft_state_v2:last_carrier"]
    joined = historical_features(store, moments, wanted)
    assert joined["aircraft_state__last_dep_delay"].equals(legs["last_dep_delay"], check_names=False)
    assert joined["aircraft_state_v2__last_dep_delay"].equals(legs["last_dep_delay"] * 60, check_names=False)
    assert joined["aircraft_state_v2__last_carrier"].null_count() == 0


def test_plans_of_both_versions_are_answered_as_events_are_pushed(both):
    plans = {"aircraft_state": both.deploy("1"), "aircraft_state_v2": both.deploy("2", "aircraft_state_v2")}
    platform, online = both.platform, open_online_rows(both.platform.settings.online_store)
    views = [view for view in platform.feature_views if view.base == "aircraft_state"]
    rebuild(views, platform.publications, online, NOON)
    push_until(views, platform.publications, online, NOON, NIGHT)
    for name, plan in plans.items():
        fields = ["tailnum", *(field.name for field in plan.views[0].fields)]
        noon, night = (newest(both.published(name), now).select(fields).sort("tailnum") for now in (NOON, NIGHT))
        assert night.join(noon, on=fields, how="anti").height > 100  # the afternoon moved them
        assert answers(both, plan, night["tailnum"].to_list()) == night.drop("tailnum").to_dicts()


def test_a_silent_change_is_refused_before_the_build_and_at_publishing(home):
    home.deploy("7")
    before = home.published("aircraft_state")
    home.edit(SQL, "cast(arr_delay as double)", "cast(arr_delay + 1 as double)")
    said = (
        r"(?s)models/features/aircraft_state.yml: view 'aircraft_state' has changed \(its SQL "
        r"\(models/features/aircraft_state.sql\)\) while in use by delay version 7 \(champion\).*"
        r"aircraft_state_v2.sql.*- v: 1\n +defined_in: aircraft_state\n +- v: 2"
    )
    with pytest.raises(GateClosed, match=said):
        home.run("features/aircraft_state")
    with pytest.raises(GateClosed, match=said):
        home.run("published/aircraft_state")
    with pytest.raises(GateClosed, match=r"delay/deployment refuses: .*has changed"):
        admit_use(home.platform, "delay/deployment", ["aircraft_state"])
    assert home.published("aircraft_state").equals(before)


def test_a_change_upstream_is_refused_too_unless_somebody_says_that_the_rows_are_the_same(home):
    home.deploy("7")
    home.edit(STAGING, "select", "select 1 as one,")
    with pytest.raises(GateClosed, match=r"(?s)the SQL of stg_nycflights__flights .*python -m assets.views accept"):
        home.run("features/aircraft_state")
    changes = accept(home.platform, "aircraft_state", "an engineer", "one more column, which nothing reads")
    assert home.events()[-1] == ("accepted", changes)


def test_a_comment_or_white_space_changes_nothing(home):
    home.deploy("7")
    home.edit(SQL, "select\n", "-- The newest first.\nselect\n\n")
    home.parse()
    admit_build(home.platform, "test", ["aircraft_state"])
    staged = home.platform.lake.partition_versions("features/aircraft_state")
    guard = admit_publish(home.platform, "aircraft_state", staged)
    record_published(home.platform, guard, "aircraft_state", "test")
    assert home.events() == [("declared", "")]


def test_what_nothing_reads_may_change_but_all_its_months_together(home):
    home.edit(SQL, "cast(arr_delay as double)", "cast(arr_delay + 1 as double)")
    before = home.published("aircraft_state")
    home.run("features/aircraft_state", months=["2013-03"])
    with pytest.raises(GateClosed, match=r"built from another definition of the view in 2013-02; materialize"):
        home.run("published/aircraft_state", months=["2013-03"])
    assert home.published("aircraft_state").equals(before)
    home.run("features/aircraft_state", months=["2013-02"])
    home.run("published/aircraft_state")
    assert home.published("aircraft_state")["last_arr_delay"].equals(before["last_arr_delay"] + 1)
    assert home.events()[-1] == ("changed", "its SQL (models/features/aircraft_state.sql)")
    with pytest.raises(
        GateClosed, match=r"rollback of published/aircraft_state refuses: .*2013-02, 2013-03; roll back"
    ):
        roll_back(home.platform, "aircraft_state", 0, "test", "the rows of before")


def test_the_list_says_who_reads_each_version_and_whether_it_is_as_recorded(both):
    both.deploy("2", "aircraft_state_v2")
    rows = {line.split()[0]: line for line in listing(both.platform)}
    assert rows["aircraft_state"].endswith("as recorded")
    assert "delay version 1 (previous)" in rows["aircraft_state"]
    assert "delay version 2 (champion)" in rows["aircraft_state_v2"]
    assert rows["weather_observation"].endswith("new: not published yet")
    own = [line.split()[0] for line in listing(both.platform, "aircraft_state") if line[0] != " "]
    assert own == ["feature", "aircraft_state", "aircraft_state_v2"]
    with pytest.raises(LookupError, match=r"no feature view 'aircraft_stat'; there are: .*aircraft_state_v2"):
        list(listing(both.platform, "aircraft_stat"))
    both.edit(V2_SQL, "* 60", "* 61")
    both.parse()
    (changed,) = [line for line in listing(both.platform) if line.startswith("aircraft_state_v2")]
    assert changed.endswith(f"differs: its SQL ({V2_SQL})")


def test_a_version_is_retired_once_nothing_in_use_reads_it(both):
    both.deploy("2", "aircraft_state_v2")
    both.retire_first_version()
    # Nobody asks version 1 any more, but a rollback would.
    with pytest.raises(GateClosed, match=r"no longer declared while in use by delay version 1 \(previous\).*retrain"):
        both.run("features/aircraft_state_v2", months=["2013-03"])
    both.deploy("3", "aircraft_state_v2")
    online = open_online_rows(both.platform.settings.online_store)
    assert online.summary("aircraft_state").rows > 500
    both.run("features/aircraft_state_v2", months=["2013-03"])
    assert both.events()[-1][0] == "retired"
    assert online.summary("aircraft_state").rows == 0
    assert online.summary("aircraft_state_v2").rows > 500
    store = both.platform.feature_store({})
    assert "aircraft_state" not in [view.name for view in store.list_feature_views()]
    assert not both.published("aircraft_state").is_empty()  # until it is vacuumed
