from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from ml.models import MODELS, model_named
from ml.spec import ModelSpec, NetworkSettings, column_of
from ml.split_windows import Split, Window
from ml.trained_spec import AS_OF, trained_spec
from ml.upkeep import Approval, RetrainingSettings
from tests.ml.synthetic import SPEC


def _changed(**fields):
    return ModelSpec.model_validate({**SPEC.model_dump(), **fields})


def _window(start: int, end: int) -> Window:
    return Window(start=datetime(2013, start, 1, tzinfo=UTC), end=datetime(2013, end, 1, tzinfo=UTC))


def test_unknown_fields_are_refused():
    with pytest.raises(ValidationError, match="hiden"):
        NetworkSettings(hiden=(8,))
    with pytest.raises(ValidationError, match="colour"):
        _changed(colour="red")


def test_a_spec_cannot_be_changed_after_it_is_made():
    with pytest.raises(ValidationError, match="frozen"):
        SPEC.name = "other"


def test_windows_without_time_zone_or_in_the_wrong_order_are_refused():
    with pytest.raises(ValidationError, match="timezone"):
        Window(start=datetime(2013, 1, 1), end=datetime(2013, 2, 1))  # noqa: DTZ001
    with pytest.raises(ValidationError, match="empty"):
        _window(2, 1)
    with pytest.raises(ValidationError, match="overlap"):
        Split(train=_window(1, 4), validation=_window(3, 5), test=_window(5, 6))


def test_references_must_resolve():
    with pytest.raises(ValidationError, match="view:feature"):
        _changed(features=("delay",))
    with pytest.raises(ValidationError, match="more than once"):
        _changed(features=(*SPEC.features, SPEC.features[0]))
    with pytest.raises(ValidationError, match="minutes"):
        _changed(elapsed=({"name": "minutes", "since": "plane:landed_at", "until": "distance"},))


def test_a_model_name_must_be_usable_as_a_folder_and_asset_name():
    with pytest.raises(ValidationError, match="pattern"):
        _changed(name="Flight delay")


def test_columns_and_views_come_from_references():
    assert column_of("plane:delay") == "plane__delay"
    assert SPEC.views == ("plane", "weather")


def test_listed_models_are_found_by_name_and_others_named_in_the_error():
    assert all(model_named(spec.name) is spec for spec in MODELS)
    with pytest.raises(LookupError, match="no model 'nothing'"):
        model_named("nothing")


def test_a_model_that_reads_fewer_views_measures_nothing_from_the_others():
    few = model_named("flight_delay").reading_only(("aircraft_state", "aircraft"))
    assert few.views == ("aircraft_state", "aircraft")
    assert {entry.since for entry in few.elapsed} == {
        "aircraft_state:last_arrived_at",
        "aircraft_state:legs_today_since",
    }
    assert ModelSpec.model_validate(few.model_dump()) == few


def test_a_retraining_learns_from_what_is_before_its_days_of_validation_and_comparison():
    spec = model_named("flight_delay")
    moved = spec.as_of(datetime(2013, 7, 1, tzinfo=UTC)).split
    assert (moved.train.start, moved.train.end) == (spec.split.train.start, datetime(2013, 6, 3, tzinfo=UTC))
    assert moved.validation == Window(start=moved.train.end, end=datetime(2013, 6, 17, tzinfo=UTC))
    assert moved.test == Window(start=moved.validation.end, end=datetime(2013, 7, 1, tzinfo=UTC))
    few = spec.model_copy(update={"retraining": RetrainingSettings(train_days=30)})
    assert few.as_of(moved.test.end).split.train.start == datetime(2013, 5, 4, tzinfo=UTC)
    with pytest.raises(ValueError, match="nothing to learn from"):
        spec.as_of(datetime(2013, 1, 20, tzinfo=UTC))


def test_a_training_set_made_for_a_retraining_is_judged_by_its_own_windows():
    spec, moment = model_named("flight_delay"), datetime(2013, 7, 1, tzinfo=UTC)
    assert trained_spec(spec, {AS_OF: moment.isoformat()}) == spec.as_of(moment)
    assert trained_spec(spec, {AS_OF: None}) is spec
    assert trained_spec(spec, {}) is spec


def test_upkeep_that_cannot_be_kept_is_refused():
    with pytest.raises(ValidationError, match="never happens"):
        RetrainingSettings(breaches=5, of=4)
    with pytest.raises(ValidationError, match="name both"):
        Approval(steps=("champion",))
