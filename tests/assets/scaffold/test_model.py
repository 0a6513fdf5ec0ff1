"""A drafted model: it loads and is formatted, and reads nothing that would not be known; what is refused."""

import pytest

from assets.new_model import new_model
from assets.plan import model_plan, printed
from assets.plan_manifest import with_files
from assets.scaffold import _parser, scaffold
from ml.models.cancellation import CANCELLATION
from ml.models.flight_delay import FLIGHT_DELAY
from tests.assets.scaffold.formatted import assert_formatted
from tests.assets.tree import planned_assets


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


def test_whose_outcomes_were_taken_is_said_where_nobody_named_them(platform, capsys):
    scaffold(platform, _parser().parse_args(["model", "--name=late_landing", "--dry-run"]))
    assert "outcomes: flight_outcomes, the only table with outcomes; TABLE= names another" in capsys.readouterr().out
    scaffold(platform, _parser().parse_args(["model", "--name=late_landing", "--table=flight_outcomes", "--dry-run"]))
    assert "the only table with outcomes" not in capsys.readouterr().out
