"""A drafted table of questions and what happened, and a model on it."""

import pytest

from assets.new_model import new_model
from assets.new_outcome import new_outcome
from assets.plan_manifest import with_files
from assets.scaffold import _parser, scaffold
from ml.sources import SOURCES
from tests.assets.scaffold.formatted import assert_formatted
from tests.assets.tree import planned_assets


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
