"""A drafted feature or view: where its column stands, when it is a new version of the view, and what is refused."""

import pytest

from assets.new_feature import _LAST_IN_SQL, Column, new_feature
from assets.new_view import new_view
from assets.plan_manifest import with_files
from assets.resources import Platform
from ml.feature_views import load_feature_views
from ml.models.flight_delay import FLIGHT_DELAY
from ml.settings import Settings
from ml.sources import SOURCES, source_named
from serving.build_plan import build_plan
from serving.model_repository import ModelRepository


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
