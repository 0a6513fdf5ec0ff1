import json

import pytest

from ml.look_back import load_look_backs


def model(name, *parents, folder="features", **meta):
    return {
        "resource_type": "model",
        "fqn": ["project", folder, name],
        "original_file_path": f"models/{folder}/{name}.sql",
        "patch_path": f"project://models/{folder}/{name}.yml",
        "config": {"meta": meta},
        "depends_on": {"nodes": list(parents)},
    }


def manifest_of(tmp_path, **nodes):
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"nodes": nodes}))
    return path


def test_a_source_is_looked_back_upon_as_far_as_the_longest_window_built_on_it(tmp_path):
    manifest = manifest_of(
        tmp_path,
        staged=model("staged", "flights", folder="staging"),
        calm=model("calm", "weather", folder="staging"),
        month=model("month", "staged", look_back_months=2),
        hours=model("hours", "staged", "calm", look_back_months=1),
        unread=model("unread", "planes", folder="staging"),
    )
    assert load_look_backs(manifest) == {"staged": 2, "flights": 2, "month": 2, "hours": 1, "calm": 1, "weather": 1}


@pytest.mark.parametrize("meta", [{}, {"look_back_months": "2"}, {"look_back_months": -1}, {"look_back_months": True}])
def test_a_wrong_look_back_is_refused_with_file_and_field(tmp_path, meta):
    manifest = manifest_of(tmp_path, month=model("month", "flights", **meta))
    with pytest.raises(ValueError, match=r"models/features/month.yml: config.meta.look_back_months"):
        load_look_backs(manifest)


def test_no_manifest_names_the_remedy(tmp_path):
    with pytest.raises(LookupError, match="dbt parse"):
        load_look_backs(tmp_path / "manifest.json")
