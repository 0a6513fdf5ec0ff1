from types import ModuleType

import pytest

from ml.models import MODELS, _spec_of, model_named
from ml.models.flight_delay import FLIGHT_DELAY
from ml.spec import Costs, ModelSpec
from tests.ml.synthetic import SPEC


def test_every_file_is_a_model():
    assert [spec.name for spec in MODELS] == ["arrival_delay", "cancellation", "flight_delay"]
    assert model_named("flight_delay") is FLIGHT_DELAY


def test_a_file_without_a_spec_of_its_name_is_refused_by_name():
    empty = ModuleType("late")
    with pytest.raises(ValueError, match=r"ml/models/late.py must hold one ModelSpec with name='late'; it holds 0"):
        _spec_of(empty, "late")
    empty.OTHER = FLIGHT_DELAY
    with pytest.raises(ValueError, match="holds 0"):
        _spec_of(empty, "late")


def test_a_model_that_stands_on_anothers_spec_is_still_its_own():
    module = ModuleType("lateness")
    module.FLIGHT_DELAY, module.LATENESS = FLIGHT_DELAY, SPEC
    assert _spec_of(module, "lateness") is SPEC


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slices": ("distance",)}, r"slices by \['distance'\]"),
        ({"task": "regression", "costs": Costs(action="a", false_alarm=1, miss=2, unit="dollars")}, "binary task"),
        ({"gates": {"min_score": 0.9, "max_score": 0.8}}, "min_score is not below max_score"),
    ],
)
def test_parts_of_a_spec_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ModelSpec.model_validate({**SPEC.model_dump(), **change})
