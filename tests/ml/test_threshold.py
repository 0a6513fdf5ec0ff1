import numpy as np
import pytest

from ml.spec import Costs
from ml.threshold import ALWAYS, NEVER, CostCurve, Rows, consequences, decide, readable, theory

COSTS = Costs(action="call", false_alarm=1, miss=4, unit="complaints")


def rows(count: int, seed: int, low: float = 0.0, high: float = 1.0) -> Rows:
    """Calibrated probabilities between `low` and `high` on 40 days."""
    random = np.random.default_rng(seed)
    probability = random.uniform(low, high, count)
    label = (random.random(count) < probability).astype(float)
    return Rows(label, probability, random.integers(0, 40, count))


def slow_cost(costs: Costs, threshold: float, given: Rows) -> float:
    """The definition, row by row."""
    total = 0.0
    for label, probability in zip(given.labels, given.probabilities, strict=True):
        acts = probability >= threshold
        total += costs.false_alarm if acts and label == 0 else costs.miss if not acts and label == 1 else 0.0
    return total / len(given.labels)


def test_every_point_of_the_curve_is_what_acting_from_there_costs_and_the_best_is_the_least():
    given = rows(60, seed=1)
    tied = Rows(given.labels, given.probabilities.round(1), given.groups)
    for some in (given, tied):
        curve = CostCurve(COSTS, some.labels, some.probabilities)
        costs = curve(np.ones(60))
        slow = [slow_cost(COSTS, float(threshold), some) for threshold in curve.thresholds]
        np.testing.assert_allclose(costs, slow)
        assert (np.diff(curve.thresholds) < 0).all()
        assert slow_cost(COSTS, curve.best(np.ones(60)), some) == min(slow)
    assert len(CostCurve(COSTS, tied.labels, tied.probabilities).thresholds) <= 12


def test_weights_count_like_repeated_rows():
    given, weight = rows(200, seed=2), np.random.default_rng(0).integers(0, 3, 200)
    repeated = CostCurve(COSTS, *(np.repeat(part, weight) for part in (given.labels, given.probabilities)))
    assert CostCurve(COSTS, given.labels, given.probabilities)(weight.astype(float)).min() == pytest.approx(
        repeated(np.ones(weight.sum())).min()
    )


def test_with_calibrated_probabilities_the_choice_is_near_theory_and_saves_on_rows_it_has_not_seen():
    found = decide(COSTS, rows(20_000, seed=3), rows(20_000, seed=4))
    assert theory(COSTS) == found.theory == 0.2
    assert found.threshold == pytest.approx(0.2, abs=0.06)
    assert found.low <= found.threshold <= found.high
    assert found.test.cost == pytest.approx(found.test.at_theory, rel=0.05)
    assert found.test.cost < min(found.test.never, found.test.always)
    assert 0 < found.test.saving.low < found.test.saving.value < found.test.saving.high
    assert found.test.precision is not None
    assert found.test.precision < found.test.recall  # a miss is dear
    assert "Act from a probability of 0." in found.summary


def test_consequences_are_the_definition():
    given = rows(300, seed=5)
    found = consequences(COSTS, 0.3, given)
    acts = given.probabilities >= 0.3
    assert found.cost == pytest.approx(slow_cost(COSTS, 0.3, given))
    assert found.never == pytest.approx(4 * given.labels.mean())
    assert found.always == pytest.approx(1 - given.labels.mean())
    assert found.saving.value == pytest.approx(min(found.never, found.always) - found.cost)
    assert found.precision == pytest.approx(given.labels[acts].mean())
    assert found.recall == pytest.approx(given.labels[acts].sum() / given.labels.sum())
    assert found.acted == pytest.approx(acts.mean())


def test_where_nothing_is_worth_an_action_it_says_never():
    found = decide(COSTS, rows(5000, seed=6, high=0.05), rows(5000, seed=7, high=0.05))
    assert found.threshold == NEVER > 1
    assert found.summary.startswith("Never act: on validation rows")
    assert found.test.acted == 0
    assert found.test.precision is None
    assert "decision_precision_test" not in found.as_metrics()
    assert found.test.saving.value == 0
    assert readable(found.threshold) == "never"


def test_where_everything_is_worth_an_action_it_says_always():
    found = decide(COSTS, rows(5000, seed=8, low=0.6), rows(5000, seed=9, low=0.6))
    assert found.threshold == ALWAYS
    assert found.summary.startswith("Always act: on validation rows")
    assert found.test.acted == found.test.recall == 1
    assert readable(found.threshold) == "always"


def test_a_choice_that_does_not_save_on_test_rows_is_said_not_to():
    validation = rows(5000, seed=10)
    coin = np.random.default_rng(11).permutation(validation.labels)
    found = decide(COSTS, validation, Rows(coin, validation.probabilities, validation.groups))
    assert found.test.saving.low <= 0
    assert "no cheaper, beyond noise" in found.summary


def test_all_metrics_are_numbers():
    metrics = decide(COSTS, rows(1000, seed=12), rows(1000, seed=13)).as_metrics()
    assert {"decision_threshold", "decision_cost_per_row_validation", "decision_cost_per_row_test"} <= set(metrics)
    assert all(np.isfinite(value) for value in metrics.values())


def test_labels_of_one_class_are_refused():
    given = rows(50, seed=14)
    with pytest.raises(ValueError, match="need both classes"):
        decide(COSTS, Rows(np.zeros(50), given.probabilities, given.groups), given)
