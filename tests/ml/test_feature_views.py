import copy
import json
from datetime import timedelta

import pytest

from ml.feature_views import FeatureView, load_feature_views, parse_ttl
from ml.packed import Field

TIMES = ("event_timestamp", "created_timestamp")
MODEL = {
    "name": "gauge_state",
    "alias": "gauge_state",
    "resource_type": "model",
    "description": "Last reading of each gauge.",
    "patch_path": "headwater://models/features/gauge_state.yml",
    "original_file_path": "models/features/gauge_state.sql",
    "config": {
        "meta": {
            "feature_view": {
                "entities": {"gauge": "gauge_id"},
                "ttl": "36h",
                "owner": "team:hydrology",
                "online": True,
            }
        }
    },
    "columns": {
        name: {"name": name, "data_type": data_type, "description": f"The {name}."}
        for name, data_type in {
            "gauge_id": "bigint",
            "level": "DOUBLE",
            "alarm": "boolean",
            "river": "varchar",
            **dict.fromkeys(TIMES, "timestamp with time zone"),
            "partition_key": "varchar",
        }.items()
    },
}
STAGING = {"resource_type": "model", "name": "stg", "config": {"meta": {}}, "columns": {}}


def manifest_of(tmp_path, model):
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"nodes": {"a": model, "b": STAGING}}))
    return path


def changed(*path, to=None):
    """A copy of MODEL with the entry at `path` replaced, or removed if `to` is None."""
    model = copy.deepcopy(MODEL)
    place = model
    for step in path[:-1]:
        place = place[step]
    if to is None:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return model


def test_a_view_is_what_its_yaml_says(tmp_path):
    assert load_feature_views(manifest_of(tmp_path, MODEL)) == (
        FeatureView(
            name="gauge_state",
            entities=("gauge",),
            join_keys=("gauge_id",),
            join_key_kinds=("int",),
            ttl=timedelta(hours=36),
            owner="team:hydrology",
            online=True,
            description="Last reading of each gauge.",
            fields=(Field("level", "float"), Field("alarm", "bool"), Field("river", "string")),
        ),
    )


META = ("config", "meta", "feature_view")


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (changed(*META, "entities"), "feature_view.entities"),
        (changed(*META, "owner", to=""), "feature_view.owner"),
        (changed(*META, "online", to="yes"), "feature_view.online"),
        (changed(*META, "entities", to={}), "feature_view.entities"),
        (changed(*META, "entities", to={"gauge": 1}), "feature_view.entities"),
        (changed(*META, "entities", to={"a": "gauge_id", "b": "gauge_id"}), "feature_view.entities"),
        (changed(*META, "ttl", to="3 days"), "feature_view.ttl"),
        (changed(*META, "ttl", to="0d"), "feature_view.ttl"),
        (changed(*META, "tll", to="3d"), "tll"),
        (changed(*META, to="gauge"), "config.meta.feature_view"),
        (changed("description", to=" "), "description of feature view 'gauge_state'"),
        (changed("columns", "level", "description"), "description of column 'level'"),
        (changed("columns", "level", "description", to=""), "description of column 'level'"),
        (changed("columns", "gauge_id"), "gauge_id"),
        (changed("columns", "created_timestamp", "data_type", to="date"), "created_timestamp"),
        (changed("columns", "level", "data_type"), "level"),
        (changed("columns", "level", "data_type", to="geometry"), "geometry"),
        (changed("columns", "gauge_id", "data_type", to="double"), "gauge_id"),
    ],
)
def test_a_wrong_declaration_is_refused_with_its_file_and_field(tmp_path, model, named):
    with pytest.raises(ValueError, match=rf"models/features/gauge_state.yml: .*{named}"):
        load_feature_views(manifest_of(tmp_path, model))


def test_no_manifest_names_the_remedy(tmp_path):
    with pytest.raises(LookupError, match="dbt parse"):
        load_feature_views(tmp_path / "manifest.json")


def test_a_damaged_manifest_is_refused(tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text("{")
    with pytest.raises(ValueError, match="not a dbt manifest"):
        load_feature_views(path)


@pytest.mark.parametrize(("text", "ttl"), [("90s", 90), ("30m", 1800), ("6h", 21600), ("3d", 259200)])
def test_a_ttl_is_a_number_with_its_unit(text, ttl):
    assert parse_ttl(text) == timedelta(seconds=ttl)
