from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from ml.models import MODELS, model_named
from ml.spec import ModelSpec, NetworkSettings, Split, Window, column_of
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
