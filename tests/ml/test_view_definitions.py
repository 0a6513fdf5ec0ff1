import copy
import json

import pytest

from ml.feature_views import load_feature_views, require_features
from ml.view_definitions import differences, load_definitions, parse_definition, plain_sql
from tests.ml.test_feature_views import MODEL

ALL = {"package_name": "headwater", "depends_on": {"nodes": [], "macros": []}}
SQL = """
-- The last reading of each gauge.
select gauge_id, level, 'a  b' as river from {{ ref('stg_gauges') }} where {{ in_months() }}
"""
STAGING = {
    **ALL,
    "unique_id": "model.headwater.stg_gauges",
    "resource_type": "model",
    "name": "stg_gauges",
    "alias": "stg_gauges",
    "config": {"meta": {}},
    "original_file_path": "models/staging/stg_gauges.sql",
    "raw_code": "select * from {{ source('rivers', 'gauges') }}",
}
IN_MONTHS, MONTHS_GIVEN = (
    {
        **ALL,
        "unique_id": f"macro.headwater.{name}",
        "resource_type": "macro",
        "name": name,
        "original_file_path": "macros/months.sql",
        "macro_sql": f"{{% macro {name}() -%}} {{# it's for months #}} true {{%- endmacro %}}",
    }
    for name in ("in_months", "months_given")
)


def manifest():
    """A view on a staging model, by a macro that uses another, and by one of dbt's own."""
    in_months = {**IN_MONTHS, "depends_on": {"macros": ["macro.headwater.months_given"]}}
    used = ["macro.headwater.in_months", "macro.dbt.is_incremental"]
    view = {
        **copy.deepcopy(MODEL),
        "unique_id": "model.headwater.gauge_state",
        "package_name": "headwater",
        "raw_code": SQL,
        "depends_on": {"nodes": ["model.headwater.stg_gauges"], "macros": used},
    }
    built_in = {**IN_MONTHS, "unique_id": "macro.dbt.is_incremental", "package_name": "dbt", "name": "is_incremental"}
    macros = [in_months, copy.deepcopy(MONTHS_GIVEN), built_in]
    return {
        "nodes": {node["unique_id"]: node for node in (view, copy.deepcopy(STAGING))},
        "macros": {macro["unique_id"]: macro for macro in macros},
    }


@pytest.fixture
def define(tmp_path):
    """Write a manifest and return its one definition."""

    def one(content):
        path = tmp_path / "manifest.json"
        path.write_text(json.dumps(content))
        (definition,) = load_definitions(path).values()
        return definition

    return one


def view_of(content):
    return content["nodes"]["model.headwater.gauge_state"]


def texts(old, new):
    return [difference.text for difference in differences(old, new)]


def test_a_definition_holds_keys_columns_ttl_and_the_sql_of_all_that_makes_it(define):
    definition = define(manifest())
    assert (definition.view, definition.version, definition.name) == ("gauge_state", 1, "gauge_state")
    assert definition.join_keys == ("gauge_id",)
    assert definition.columns == (("gauge_id", "int"), ("level", "float"), ("alarm", "bool"), ("river", "string"))
    assert definition.ttl_seconds == 36 * 3600
    names = [part.name for part in definition.parts]
    assert names == ["gauge_state", "macro in_months", "macro months_given", "stg_gauges"]


def test_a_definition_survives_json(define):
    definition = define(manifest())
    assert parse_definition(definition.to_json()) == definition


@pytest.mark.parametrize(
    "sql",
    [
        "select gauge_id, level, 'a  b' as river from {{ ref('stg_gauges') }} where {{ in_months() }}",
        "{# it's Jinja #}SELECT gauge_id,\n  level, -- metres\n 'a  b' AS river /* two\nlines */ from\n"
        "{{ref('stg_gauges')}} where {{ in_months( ) }}",
    ],
)
def test_comments_white_space_and_the_case_of_keywords_change_nothing(define, sql):
    content = manifest()
    view_of(content)["raw_code"] = sql
    before, after = define(manifest()), define(content)
    assert texts(before, after) == []
    assert before.rows == after.rows


@pytest.mark.parametrize(
    ("kind", "unique_id", "field", "said"),
    [
        ("nodes", "model.headwater.gauge_state", "raw_code", "its SQL (models/features/gauge_state.sql)"),
        ("nodes", "model.headwater.stg_gauges", "raw_code", "the SQL of stg_gauges (models/staging/stg_gauges.sql)"),
        (
            "macros",
            "macro.headwater.months_given",
            "macro_sql",
            "the SQL of macro months_given (macros/months.sql)",
        ),
    ],
)
def test_other_sql_is_another_definition_and_says_where(define, kind, unique_id, field, said):
    changed = manifest()
    changed[kind][unique_id][field] += " limit 7"
    before, after = define(manifest()), define(changed)
    assert texts(before, after) == [said]
    assert before.rows != after.rows


def test_white_space_inside_a_text_counts():
    assert plain_sql("select 'a  b'") != plain_sql("select 'a b'")


def test_jinja_with_quotes_that_sql_cannot_pair_is_still_compared():
    odd = '{% set a = "it\'s" %} select 1'
    assert plain_sql(odd) == plain_sql(odd.replace(" ", "  "))
    assert plain_sql(odd) != plain_sql(odd.replace("1", "2"))


def test_columns_added_removed_retyped_and_reordered_are_told_apart(define):
    def columns(change):
        content = manifest()
        view_of(content)["columns"] = change(view_of(content)["columns"])
        return texts(define(manifest()), define(content))

    extra = {"flow": {"name": "flow", "data_type": "double", "description": "Litres a second."}}
    assert columns(lambda c: {**c, **extra}) == ["added column flow"]
    assert columns(lambda c: {n: v for n, v in c.items() if n not in ("alarm", "river")}) == [
        "removed columns alarm, river"
    ]
    whole = {"level": {"name": "level", "data_type": "bigint", "description": "Level, in whole metres."}}
    assert columns(lambda c: {**c, **whole}) == ["column level is int, was float"]
    assert columns(lambda c: dict(reversed(c.items()))) == ["the columns stand in another order"]


def test_ttl_and_going_offline_are_changes_that_leave_the_rows_alone(define):
    content = manifest()
    view_of(content)["config"]["meta"]["feature_view"].update(ttl="90s", online=False)
    before, after = define(manifest()), define(content)
    assert texts(before, after) == ["ttl 90s, was 36h", "no longer online"]
    assert texts(after, before) == ["ttl 36h, was 90s"]
    assert before.rows == after.rows


def test_owner_and_description_may_change(define):
    content = manifest()
    view_of(content)["description"] = "Better words."
    view_of(content)["config"]["meta"]["feature_view"]["owner"] = "team:lakes"
    assert define(content) == define(manifest())


def test_declaring_versions_leaves_the_first_as_it_was(define):
    content = manifest()
    view_of(content).update(version=1, unique_id="model.headwater.gauge_state.v1")
    assert define(content) == define(manifest())


def versioned(tmp_path, version, alias):
    path = tmp_path / "manifest.json"
    content = manifest()
    view_of(content).update(version=version, alias=alias)
    path.write_text(json.dumps(content))
    return path


def test_a_later_version_is_a_view_of_its_own_name(tmp_path):
    (view,) = load_feature_views(versioned(tmp_path, 2, "gauge_state_v2"))
    assert (view.name, view.base, view.version) == ("gauge_state_v2", "gauge_state", 2)


@pytest.mark.parametrize(("version", "alias"), [("beta", "gauge_state_vbeta"), (1.5, "g"), (0, "g"), (2, "gauges")])
def test_a_version_that_is_no_number_or_has_another_table_is_refused_with_its_file(tmp_path, version, alias):
    with pytest.raises(ValueError, match=r"models/features/gauge_state.yml: .*version"):
        load_feature_views(versioned(tmp_path, version, alias))


def test_a_model_that_reads_what_is_not_declared_is_told_what_is(tmp_path):
    views = load_feature_views(versioned(tmp_path, 1, "gauge_state"))
    require_features("flood", ["gauge_state:level"], views)
    with pytest.raises(LookupError, match=r"'flood' reads feature view 'gauge_state_v2'.*\['gauge_state'\]"):
        require_features("flood", ["gauge_state_v2:level"], views)
    with pytest.raises(LookupError, match=r"'flow' of feature view 'gauge_state', which has \['level'"):
        require_features("flood", ["gauge_state:flow"], views)
