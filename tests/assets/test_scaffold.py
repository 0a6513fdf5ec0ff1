"""Scaffolds: what they write loads and is formatted, what they refuse they refuse in one line, with nothing written."""

import dataclasses
import gzip
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from assets.guesses import key_of, reader_of, schema_of, time_of
from assets.new_feature import _LAST_IN_SQL, Column, new_feature
from assets.new_files import Draft, held
from assets.new_model import new_model
from assets.new_outcome import new_outcome
from assets.new_source import months_told, new_source
from assets.new_view import new_view
from assets.plan import model_plan, plan_of, printed, source_plan
from assets.plan_manifest import with_files
from assets.resources import Platform
from assets.scaffold import _finish, _parser, scaffold
from checks import tables
from checks.outcome import Outcome
from checks.table_check import TableCheck
from ml import sources
from ml.feature_views import load_feature_views
from ml.models.cancellation import CANCELLATION
from ml.models.flight_delay import FLIGHT_DELAY
from ml.months import Months
from ml.settings import Settings
from ml.source import Source
from ml.sources import SOURCES, source_named
from serving.build_plan import build_plan
from serving.model_repository import ModelRepository
from tests.assets.tree import planned_assets

ROOT = Path(__file__).parents[2]
RUFF = [str(Path(sys.executable).parent / "ruff")]
GAUGES = "station,day,level\nUpper,2013-01-30,101.5\nUpper,2013-02-01,99\nLower,2013-02-01,NA\n"


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    """The platform of a home in which nothing has run, with dbt's manifest."""
    empty = Platform(Settings(home=tmp_path_factory.mktemp("scaffold")))
    with with_files(empty, {}) as parsed:
        empty.manifest.parent.mkdir(parents=True)
        empty.manifest.write_text(parsed.manifest.read_text())
    return empty


@pytest.fixture
def gauges(tmp_path):
    path = tmp_path / "gauges.csv"
    path.write_text(GAUGES)
    return str(path)


def assert_formatted(text):
    for words in (["format", "--check", "-"], ["check", "--no-cache", "-"]):
        ended = subprocess.run([*RUFF, *words], input=text, cwd=ROOT, capture_output=True, text=True)
        assert ended.returncode == 0, text + ended.stdout + ended.stderr


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_what_is_guessed_of_the_shipped_files_is_what_people_declared(source):
    schema = schema_of(reader_of(source.reader.origin))
    assert schema == source.schema
    rows = source.read()
    assert len(key_of(rows, time_of(rows))) <= len(source.key)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a,b\n", "has no rows"),
        ("a,b\nx,1.5\nx,1.5\n", "name a row: rows repeat"),
        ("a,b\nx,1\nx,1,2\n", "does not fit its declaration"),
        ("a;b\nx;1,5\n", "has one column named 'a;b'; is ';' the separator"),
        ("a\tb\nx\t1\n", r"is '\\t' the separator"),
        ("\x00\xff", "a"),
    ],
)
def test_rows_that_cannot_be_declared_are_refused_by_file(tmp_path, content, problem):
    path = tmp_path / "rows.csv"
    path.write_text(content)
    with pytest.raises((ValueError, LookupError), match=problem) as refused:
        new_source("rows", str(path))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "file", "problem"),
    [
        ("flights", "gauges.csv", "a source 'flights' exists"),
        ("River", "gauges.csv", "cannot be the name of a source; take lower_snake_case"),
        ("class", "gauges.csv", "cannot be the name of a source"),
        ("../up", "gauges.csv", "cannot be the name of a source"),
        ("", "gauges.csv", "cannot be the name of a source"),
        ("river", "nowhere.csv", "no file"),
        ("river", "gauges.xlsx", "neither .csv, .csv.gz, .csv.zip nor .parquet; convert it"),
    ],
)
def test_a_source_of_a_bad_name_or_without_a_file_is_refused(gauges, tmp_path, name, file, problem):
    (tmp_path / "gauges.xlsx").write_text("?")
    with pytest.raises((ValueError, LookupError), match=problem):
        new_source(name, str(tmp_path / file))


def test_a_drafted_source_reads_its_file_and_knows_no_row_too_early(gauges):
    draft, source = new_source("gauges", gauges)
    assert_formatted(draft.files["ml/sources/gauges.py"])
    assert (source.key, source.schema["day"], source.read().height) == (("station", "day"), pl.Date(), 3)
    assert source.known_at(source.read()).dt.to_string("%F %T").to_list()[0] == "2013-01-31 00:00:00"
    assert months_told(source) == "2013-01 to 2013-02"


def test_another_separator_is_seen_in_packed_files_too(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.csv.zip", "w") as archive:
        archive.writestr("a.csv", "a;b\nx;1\n")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a;b\nx;1\n"))
    for name in ("a.csv.zip", "a.csv.gz"):
        with pytest.raises(ValueError, match="is ';' the separator"):
            new_source("a", str(tmp_path / name))


def test_zipped_and_parquet_files_are_declared_too(tmp_path, gauges):
    with zipfile.ZipFile(tmp_path / "gauges.csv.zip", "w") as archive:
        archive.write(gauges, "gauges.csv")
    rows = pl.read_csv(gauges, try_parse_dates=True, null_values=["NA"])
    rows.with_columns(at=pl.col("day").cast(pl.Datetime("us"))).write_parquet(tmp_path / "gauges.parquet")
    for file, columns in (("gauges.csv.zip", 3), ("gauges.parquet", 4)):
        draft, source = new_source("gauges", str(tmp_path / file))
        assert_formatted(draft.files["ml/sources/gauges.py"])
        assert source.read().shape == (3, columns)
    rows.with_columns(at=pl.col("day").cast(pl.Datetime("ns"))).write_parquet(tmp_path / "odd.parquet")
    with pytest.raises(ValueError, match=r"odd.parquet: columns \{'at': .* write them as"):
        new_source("odd", str(tmp_path / "odd.parquet"))


def test_the_months_of_a_source_are_those_of_its_file(tmp_path):
    path = tmp_path / "old.csv"
    path.write_text("day,level\n1850-03-01,1\n1850-04-01,2\n1850-07-01,2\n")
    draft, source = new_source("old", str(path))
    assert_formatted(draft.files["ml/sources/old.py"])
    assert source.months == Months("1850-03", "1850-07", without=("1850-05", "1850-06"))


def test_a_model_on_the_outcome_table_loads_and_leaves_the_label_out_of_what_it_reads(platform):
    draft, spec = new_model(platform, "late_landing")
    assert_formatted(draft.files["ml/models/late_landing.py"])
    assert (spec.outcome.label, spec.outcome.table) == ("arrived_late", "flight_outcomes")
    told = {field.name for field in spec.request} | set(spec.features)
    assert not told & {"arrived_late", "arr_delay", "cancelled"}
    assert not [name for name in spec.features if name.endswith(("_at", "_since"))]
    assert spec.split.train.end <= spec.split.validation.start
    keys = planned_assets(printed("it", model_plan(platform, spec)))
    assert "late_landing/deployment" in keys
    assert all(key.startswith("late_landing/") for key in keys)


def test_a_model_like_another_takes_over_what_that_one_says(platform):
    for base in (FLIGHT_DELAY, CANCELLATION):
        draft, spec = new_model(platform, "late_landing", like=base.name)
        assert_formatted(draft.files["ml/models/late_landing.py"])
        own = {"name": spec.name, "description": spec.description, "owner": spec.owner}
        assert spec == base.model_copy(update=own)


# A table with outcomes that names no label, and a view on the same key.
STATIONS = {
    "models/features/floods.yml": """
models:
  - name: floods
    description: Each day answers what was asked the day before.
    config: {meta: {outcome: {row_id: day, owner: "team:rivers"}}}
    columns: [{name: day, data_type: varchar, description: The day.},
      {name: tailnum, data_type: varchar, description: Key of the view.},
      {name: asked_at, data_type: bigint, description: "When it was asked, in seconds since the epoch (UTC)."},
      {name: is_flood, data_type: bigint, description: 1 if the river rose.},
      {name: prediction_time, data_type: timestamptz, description: A day before.},
      {name: label_timestamp, data_type: timestamptz, description: The day's end.}]
""",
    "models/features/floods.sql": "select 1 as day from {{ source('nycflights', 'planes') }}",
}


def test_a_table_that_names_no_label_gives_its_first_number_that_is_no_instant(platform):
    with with_files(platform, STATIONS) as planned:
        with pytest.raises(LookupError, match=r"which table has the outcomes\?; say TABLE="):
            new_model(planned, "flood")
        draft, spec = new_model(planned, "flood", table="floods")
        assert_formatted(draft.files["ml/models/flood.py"])
        assert (spec.outcome.label, spec.task, spec.request[0].name) == ("is_flood", "binary", "tailnum")
        assert set(spec.views) == {"aircraft", "aircraft_departure", "aircraft_state"}
        assert "flood/deployment" in planned_assets(printed("it", model_plan(planned, spec)))


@pytest.mark.parametrize(
    ("name", "given", "problem"),
    [
        ("flight_delay", {}, r"a model 'flight_delay' exists \(ml/models/flight_delay.py\)"),
        ("9lives", {}, "cannot be the name of a model"),
        ("late", {"like": "nobody"}, "no model 'nobody'; ml/models holds"),
        ("published", {}, "'published' is the name of a stage; take another one for the model"),
        ("weather", {}, "'weather' is the name of raw/weather"),
        ("aircraft_state", {"like": "flight_delay"}, "'aircraft_state' is the name of table aircraft_state"),
        ("late", {"table": "flights"}, r"its .yml says so in config.meta.outcome \(docs/bring-your-own-data.md\)"),
        ("late", {"table": "nothing"}, r"no table with outcomes 'nothing'; say TABLE=<one of \['flight_outcomes'\]>"),
    ],
)
def test_a_model_that_is_taken_or_on_nothing_is_refused(platform, name, given, problem):
    with pytest.raises((ValueError, LookupError), match=problem):
        new_model(platform, name, **given)


@pytest.mark.parametrize(
    ("view", "name", "problem"),
    [
        ("nothing", "speed", "no feature view 'nothing'"),
        ("aircraft_state", "last_dest", "has a column 'last_dest'"),
        ("aircraft_state", "Top Speed", "cannot be the name of a feature"),
    ],
)
def test_a_feature_of_no_view_or_of_a_taken_name_is_refused(platform, view, name, problem):
    with pytest.raises((ValueError, LookupError), match=problem):
        new_feature(platform, view, Column(name))


def test_a_feature_of_a_view_that_a_model_in_use_reads_is_a_new_version_of_it(platform, tmp_path):
    used = Platform(Settings(home=tmp_path))
    used.manifest.parent.mkdir(parents=True)
    used.manifest.write_text(platform.manifest.read_text())
    plan = build_plan(FLIGHT_DELAY, used.feature_views, 1, "1", tmp_path / "model.onnx", used.settings)
    repository = ModelRepository(used.settings.serving_home)
    repository.write_plan(plan)
    repository.point(plan, proven=True)
    column = Column("last_speed", "last_distance / last_air_time")
    draft, name = new_feature(used, "aircraft_state", column)
    assert name == "aircraft_state_v2"
    assert list(draft.new) == ["dbt_project/models/features/aircraft_state_v2.sql"]
    assert list(draft.changed) == ["dbt_project/models/features/aircraft_state.yml"]
    with with_files(used, draft.of_dbt) as planned:
        views = {view.name: [field.name for field in view.fields] for view in load_feature_views(planned.manifest)}
    assert views["aircraft_state_v2"] == [*views["aircraft_state"], "last_speed"]
    in_place, name = new_feature(platform, "aircraft_state", column)  # nobody reads it in this home
    assert (name, len(in_place.changed), in_place.new) == ("aircraft_state", 2, {})


def test_a_column_stands_before_the_times_that_a_macro_writes():
    found = _LAST_IN_SQL.search("select\n    level,\n    {{ times_of('day') }}\nfrom days")
    assert found[0] == "    {{ times_of('day') }}"


def test_a_column_is_cast_to_the_type_that_is_declared_for_it():
    counted = Column("heavy", "count(*)", "bigint")
    assert counted.line == "cast(count(*) as bigint) as heavy,\n"
    assert "data_type: bigint" in counted.entry(0)


def test_every_view_can_take_a_column(platform):
    for view in platform.feature_views:
        draft, _ = new_feature(platform, view.name, Column("speed", "1 / 2"))
        (sql,) = (text for name, text in draft.files.items() if name.endswith(".sql"))
        lines = [line.strip() for line in sql.splitlines()]
        assert lines[lines.index("cast(1 / 2 as double) as speed,") + 1].endswith("event_timestamp,")


@pytest.mark.parametrize(
    ("view", "entity", "read", "problem"),
    [
        ("aircraft", "aircraft:tailnum", "planes", "a feature view 'aircraft' exists"),
        ("plane_facts", "aircraft:tail", "planes", "'planes' has no column of text or whole numbers"),
        ("plane_facts", "aircraft:tailnum", "ships", "FROM=ships: no such table; a view reads a staging model"),
    ],
)
def test_a_view_that_exists_or_stands_on_nothing_is_refused(platform, view, entity, read, problem):
    with pytest.raises((ValueError, LookupError), match=problem):
        new_view(platform, SOURCES, view, entity, read)


def test_a_view_stands_on_a_staging_model_as_well_as_on_a_raw_table(platform):
    raw = new_view(platform, SOURCES, "plane_facts", "aircraft:tailnum", "planes")
    staged = new_view(platform, SOURCES, "plane_seats", "aircraft:tailnum", "stg_nycflights__planes", "seats")
    with with_files(platform, {**raw.of_dbt, **staged.of_dbt}) as planned:
        views = {view.name: [field.name for field in view.fields] for view in load_feature_views(planned.manifest)}
    assert views["plane_facts"] == [name for name in source_named("planes").schema if name != "tailnum"]
    assert views["plane_seats"] == ["seats"]


def test_a_model_stands_on_a_drafted_table_with_outcomes(platform, capsys):
    words = ["outcome", "--name=old_planes", "--entity=aircraft:tailnum", "--from=planes", "--label=year < 1990"]
    scaffold(platform, _parser().parse_args([*words, "--dry-run"]))
    told = capsys.readouterr().out
    assert planned_assets(told) == ["features/old_planes"]
    assert "then make table NAME=old_planes, and make new-model NAME=<a model> TABLE=old_planes" in told
    draft = new_outcome(platform, SOURCES, "old_planes", "aircraft:tailnum", "planes", "year < 1990")
    assert "cast(year < 1990 as bigint) as label," in draft.files["dbt_project/models/features/old_planes.sql"]
    with with_files(platform, draft.of_dbt) as planned:
        text, spec = new_model(planned, "is_old", table="old_planes")
        assert_formatted(text.files["ml/models/is_old.py"])
        assert (spec.outcome.row_id, spec.outcome.label, spec.task) == ("row_id", "label", "binary")
        assert [field.name for field in spec.request] == ["tailnum"]
    number = new_outcome(platform, SOURCES, "plane_age", "tailnum", "planes", kind="double")
    assert "cast(null as double) as label, -- FILL IN" in number.files["dbt_project/models/features/plane_age.sql"]
    with with_files(platform, number.of_dbt) as planned:
        assert new_model(planned, "age", table="plane_age")[1].task == "regression"


@pytest.mark.parametrize(
    ("name", "entity", "read", "problem"),
    [
        ("flight_outcomes", "aircraft:tailnum", "planes", "a table 'flight_outcomes' exists"),
        ("Floods", "aircraft:tailnum", "planes", "cannot be the name of a table with outcomes"),
        ("floods", "aircraft:tail", "planes", "'planes' has no column of text or whole numbers"),
        ("floods", "aircraft:tailnum", "ships", "FROM=ships: no such table"),
    ],
)
def test_a_table_with_outcomes_that_exists_or_stands_on_nothing_is_refused(platform, name, entity, read, problem):
    with pytest.raises((ValueError, LookupError), match=problem):
        new_outcome(platform, SOURCES, name, entity, read)


def test_what_is_in_the_tree_has_a_plan_too(platform):
    expected = {
        "planes": ["raw/planes"],
        "origin_congestion": ["features/origin_congestion", "published/origin_congestion"],
        "flight_outcomes": ["features/flight_outcomes", "published/flight_outcomes"],
    }
    for name, keys in expected.items():
        ((title, lines),) = plan_of(platform, name).items()
        assert planned_assets(printed(title, lines)) == keys
    with pytest.raises(LookupError, match="nothing is called 'nope'"):
        plan_of(platform, "nope")


def test_a_new_source_is_planned_before_it_is_there(platform, gauges):
    _, source = new_source("gauges", gauges)
    text = printed("it", source_plan(platform, source))
    assert planned_assets(text) == ["raw/gauges"]
    assert "blocked by expectations, history" in text


def test_no_file_of_somebody_is_overwritten(tmp_path):
    (tmp_path / "mine.py").write_text("mine")
    with pytest.raises(ValueError, match=r"mine.py exists and is not overwritten"):
        Draft({"new.py": "", "mine.py": ""}, root=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


def test_files_are_written_all_or_not_at_all(tmp_path):
    (tmp_path / "old.yml").write_text("old")
    with pytest.raises(OSError, match="nowhere"):
        Draft({"a.py": "a"}, {"old.yml": "new", "nowhere/b.py": "b"}, tmp_path).write()
    with pytest.raises(OSError, match="nowhere"):
        Draft({"a.py": "a", "nowhere/b.py": "b"}, {"old.yml": "new"}, tmp_path).write()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"old.yml": "old"}


@pytest.mark.parametrize(
    ("given", "command"),
    [
        ("new-model NAME=late FROM=cancellation DRY=1", 'scaffold model --name="late" --from="cancellation" --dry-run'),
        ("new-model NAME=late TABLE=outcomes", 'scaffold model --name="late" --table="outcomes"'),
        ("new-source NAME=gauges FILE=a.csv", 'scaffold source --name="gauges" --file="a.csv"'),
        (
            "new-feature VIEW=aircraft NAME=heavy SQL=seats/2 TYPE=double",
            'scaffold feature --view="aircraft" --name="heavy" --sql="seats/2" --type="double"',
        ),
        (
            "new-feature VIEW=levels ENTITY=gauge:station FROM=gauges",
            'scaffold feature --view="levels" --name="" --entity="gauge:station" --from="gauges"',
        ),
        (
            "new-outcome NAME=floods ENTITY=gauge:station FROM=gauges LABEL=level>4 DRY=1",
            'scaffold outcome --name="floods" --entity="gauge:station" --from="gauges" --label="level>4" --dry-run',
        ),
        ("plan NAME=flight_delay", 'plan "flight_delay"'),
        ("table NAME=flights MONTH=2013-03", 'table "flights" --month "2013-03"'),
    ],
)
def test_make_hands_over_what_it_was_given(given, command):
    told = subprocess.run(["make", "-n", *given.split()], cwd=ROOT, capture_output=True, text=True).stdout
    assert f"-m assets.{command}" in [" ".join(line.split()).partition(" ")[2] for line in told.splitlines()]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["model"], "say NAME=<the new model>, and TABLE="),
        (["source", "--name=bakery"], "say NAME=<the new table> FILE=<a CSV or Parquet file>"),
        (["source", "--file=bakery.csv"], "say NAME=<the new table> FILE="),
        (["feature"], "say VIEW=<a feature view> NAME=<the new column>, or VIEW=<a new view> ENTITY="),
        (["outcome", "--name=floods"], "say NAME=<the new table> ENTITY=<entity:key column> FROM="),
        (["feature", "--view=aircraft"], "say VIEW=<a feature view> NAME="),
    ],
)
def test_what_is_missing_is_asked_for(platform, words, problem):
    with pytest.raises(ValueError, match=problem):
        scaffold(platform, _parser().parse_args(words))


def test_whose_outcomes_were_taken_is_said_where_nobody_named_them(platform, capsys):
    scaffold(platform, _parser().parse_args(["model", "--name=late_landing", "--dry-run"]))
    assert "outcomes: flight_outcomes, the only table with outcomes; TABLE= names another" in capsys.readouterr().out
    scaffold(platform, _parser().parse_args(["model", "--name=late_landing", "--table=flight_outcomes", "--dry-run"]))
    assert "the only table with outcomes" not in capsys.readouterr().out


def module(**names):
    made = ModuleType("made")
    made.__dict__.update(names)
    return made


def test_a_file_of_sources_without_any_is_refused_by_name():
    with pytest.raises(ValueError, match=r"ml/sources/empty.py holds no Source; declare one, or name the file _"):
        list(sources._held(module(), "empty"))


def test_a_source_that_a_file_imports_is_counted_once():
    flights = source_named("flights")
    assert list(sources._held(module(A=flights, B=flights), "two")) == [flights]


def test_a_check_of_another_name_or_on_another_stage_is_refused_by_file():
    good = TableCheck("ghosts", "Ghosts do not fly.", ("raw/flights",), lambda rows, partition: Outcome(True, "none"))
    assert tables._check_of(module(CHECK=good), "ghosts") is good
    with pytest.raises(ValueError, match=r"other.py must hold one TableCheck with name='other'; it holds 0"):
        tables._check_of(module(CHECK=good), "other")
    elsewhere = dataclasses.replace(good, tables=("published/aircraft",))
    with pytest.raises(ValueError, match=r"must name raw/<source> or features/<view>, not \['published/aircraft'\]"):
        tables._check_of(module(CHECK=elsewhere), "ghosts")
    taken = dataclasses.replace(good, name="history")
    with pytest.raises(ValueError, match="every table has a check 'history'"):
        tables._check_of(module(CHECK=taken), "history")


def test_a_check_on_a_table_that_does_not_exist_is_refused(monkeypatch):
    lost = TableCheck("ghosts", "Ghosts do not sail.", ("raw/ships",), lambda rows, partition: Outcome(True, "none"))
    monkeypatch.setattr(tables, "CHECKS", (lost,))
    with pytest.raises(ValueError, match=r"checks/tables/ghosts.py judges \['raw/ships'\], which do not exist"):
        tables.refuse_unknown_tables(["raw/flights"])


def test_of_a_drafted_file_only_its_own_is_taken(gauges):
    text = new_source("gauges", gauges)[0].files["ml/sources/gauges.py"]
    assert held("from ml.sources.nycflights13 import FLIGHTS\n" + text, "gauges", Source).name == "gauges"


def test_what_was_written_ends_with_how_to_undo_it(tmp_path, capsys):
    (tmp_path / "state.sql").write_text("select 1")
    draft = Draft({"a.py": "", "a.yml": ""}, {"state.sql": "select 1, 2"}, tmp_path)
    _finish(draft, True, "make plan")
    assert "undo" not in capsys.readouterr().out
    _finish(draft, False, "make plan")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "to undo it: rm a.py a.yml, and take the added part out of state.sql"
    _finish(Draft({}, {"state.sql": "select 1, 2, 3"}, tmp_path), False, "make plan")
    assert capsys.readouterr().out.splitlines()[-1] == "to undo it: take the added part out of state.sql"


def test_make_parses_anew_after_a_file_of_dbt_was_removed(tmp_path):
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    declared = tmp_path / "dbt_project/models/staging/raw_gauges.yml"
    declared.parent.mkdir(parents=True)
    declared.write_text("version: 2")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/.ready").touch()

    def parsed():
        make = ["make", "-o", ".venv/.ready", "DBT=echo parsed", "HEADWATER_HOME=home", "home/dbt/manifest.json"]
        return "parsed" in subprocess.run(make, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert [parsed(), parsed()] == [True, False]
    declared.unlink()
    assert [parsed(), parsed()] == [True, False]
