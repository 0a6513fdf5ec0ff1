import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from pydantic import ValidationError

from ml.models import MODELS
from ml.search_space import SPACE, Choice, Range, SearchSpace
from ml.spec import ModelSpec, NetworkSettings, TrainingSettings
from tests.ml.synthetic import SPEC


def with_settings(network: dict, training: dict) -> ModelSpec:
    return SPEC.model_copy(update={"network": NetworkSettings(**network), "training": TrainingSettings(**training)})


@pytest.mark.parametrize("spec", [*MODELS, SPEC], ids=lambda spec: spec.name)
def test_a_models_own_settings_are_in_its_space_and_come_back_to_the_last_digit(spec):
    space = SPACE.around(spec)
    study = optuna.create_study()
    study.enqueue_trial(space.own(spec))
    trial = study.ask(space.distributions)
    assert trial.params == space.own(spec)
    assert space.applied(trial.params, spec) == spec


def test_a_setting_outside_its_range_widens_the_range():
    spec = with_settings({"hidden": (7, 5), "dropout": 0.9}, {"learning_rate": 0.123456789, "weight_decay": 0.0})
    space = SPACE.around(spec)
    assert space.distributions["network.dropout"] == FloatDistribution(0.0, 0.9)
    assert space.distributions["training.learning_rate"] == FloatDistribution(1e-4, 0.123456789, log=True)
    assert space.distributions["training.weight_decay"].log is False
    assert space.applied(space.own(spec), spec) == spec


def test_a_trials_values_become_settings_that_people_can_read_and_the_rest_stays():
    space = SearchSpace(
        entries={
            "network.hidden": Choice(values=((8,), (16, 4))),
            "network.bins": Range(low=4, high=8),
            "training.learning_rate": Range(low=1e-3, high=1e-1, log=True),
        }
    )
    assert space.distributions["network.bins"] == IntDistribution(4, 8)
    drawn = {"network.hidden": "[16, 4]", "network.bins": 5, "training.learning_rate": 0.012345678}
    spec = space.applied(drawn, SPEC)
    assert spec.network == SPEC.network.model_copy(update={"hidden": (16, 4), "bins": 5})
    assert spec.training == SPEC.training.model_copy(update={"learning_rate": 0.0123})
    assert spec.model_copy(update={"network": SPEC.network, "training": SPEC.training}) == SPEC


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"network.dropot": Range(low=0, high=0.5)}, r"no field 'network.dropot'; NetworkSettings has \['"),
        ({"gates.min_score": Range(low=0, high=0.5)}, "'gates.min_score' is not of the form part.field; parts are"),
        ({"network.dropout": Range(low=0, high=1.5)}, "network.dropout cannot be 1.5: Input should be less than or"),
        ({"training.batch_size": Choice(values=(64, "many"))}, "training.batch_size cannot be 'many'"),
        ({"training.seed": Range(low=1, high=9)}, "training.seed is not searched: the best of many seeds is luck"),
        ({"training.shift_kept": Range(low=0, high=1)}, "training.shift_kept is not searched: the validation loss"),
    ],
)
def test_an_entry_that_does_not_fit_its_field_is_refused_by_name(entries, message):
    with pytest.raises(ValidationError, match=message):
        SearchSpace(entries=entries)


@pytest.mark.parametrize(("low", "high", "log"), [(2, 1, False), (1, 1, False), (0, 1, True)])
def test_a_range_that_holds_nothing_is_refused(low, high, log):
    with pytest.raises(ValidationError, match="is empty, or logarithmic and not above 0"):
        Range(low=low, high=high, log=log)
