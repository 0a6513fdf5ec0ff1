from datetime import UTC, datetime, timedelta

import pytest

from checks.retraining import Past, Sighting, decide
from ml.upkeep import RetrainingSettings

FIRST = datetime(2013, 4, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
POLICY = RetrainingSettings(signals=("performance", "calibration"), breaches=2, of=3, cooldown_days=21, budget=3)


def windows(pattern, signal="performance", version="1"):
    """One window a letter: B is breached, any other is not."""
    starts = [FIRST + n * WEEK for n in range(len(pattern))]
    return [
        Sighting(signal, version, start, start + WEEK, letter == "B", f"{signal} {start:%m-%d}", "worse")
        for start, letter in zip(starts, pattern, strict=True)
    ]


def after(pattern):
    return FIRST + len(pattern) * WEEK + timedelta(days=1)


def decided(pattern, past=(), policy=POLICY, **more):
    return decide(policy, "1", windows(pattern), past, after(pattern), **more)


@pytest.mark.parametrize(
    ("pattern", "action"),
    [
        ("", "none"),
        ("B", "none"),
        ("B.B", "retrain"),
        ("BB", "retrain"),
        ("B..B", "none"),
        ("BB.", "retrain"),  # one calm window does not lower what two raised
        ("BB..", "none"),
        ("BB..B", "none"),
        ("BB.B", "retrain"),
    ],
)
def test_two_of_three_windows_raise_a_signal_and_two_calm_ones_lower_it(pattern, action):
    assert decided(pattern).action == action


def test_windows_of_another_version_or_signal_do_not_add_up():
    of_two = windows("B.") + windows(".B", "calibration")
    assert decide(POLICY, "1", of_two, (), after("..")).action == "none"
    before = windows("BB", version="0") + windows("..")
    assert decide(POLICY, "1", before, (), after("..")).action == "none"
    unheard = windows("BB", "prediction_drift")
    assert decide(POLICY, "1", unheard, (), after("..")).action == "none"


def test_the_reason_names_every_raised_signal():
    both = windows("BB") + windows("BB", "calibration")
    decision = decide(POLICY, "1", both, (), after(".."))
    assert decision.reason == "performance: worse; calibration: worse"
    assert len(decision.raised) == 4


def test_the_same_data_are_answered_once():
    first = decided("BB")
    again = decided("BB", [Past(FIRST - timedelta(days=90), first.key)])
    assert (again.action, again.key) == ("held", first.key)
    assert "before" in again.reason
    assert decided("BBB").key != first.key


def test_cooldown_and_budget_hold_a_retraining_back_and_say_so():
    now = after("BB")
    assert "cooldown for 11.0 more days" in decided("BB", [Past(now - timedelta(days=10), "x")]).reason
    assert decided("BB", [Past(now - timedelta(days=22), "x")]).action == "retrain"
    spent = [Past(now - timedelta(days=days), str(days)) for days in (30, 60, 90)]
    assert "budget of 3 retrainings in 365 days" in decided("BB", spent).reason
    assert decided("BB", [*spent[:2], Past(now - timedelta(days=400), "old")]).action == "retrain"


def test_bad_data_are_no_drift():
    decision = decided("BB", bad_data=["raw/flights[2013-04] is in quarantine: units", "another"])
    assert decision.action == "held"
    assert "bad data, not drift: raw/flights[2013-04] is in quarantine: units and 1 more" in decision.reason


def test_a_schedule_asks_without_any_signal_once_for_what_there_is_to_learn_from():
    policy = POLICY.model_copy(update={"schedule": "0 6 1 * *", "cooldown_days": 0.0})
    now = after("..")
    due = decided("..", policy=policy, scheduled="june")
    assert (due.action, due.reason) == ("retrain", "schedule 0 6 1 * *")
    answered = [Past(now - timedelta(days=30), due.key)]
    assert "answered with a retraining before" in decided("..", answered, policy, scheduled="june").reason
    assert decided("..", answered, policy, scheduled="july").action == "retrain"


def test_bad_data_and_cooldown_hold_a_schedule_back_too():
    now = after("..")
    assert decided("..", bad_data=["units"], scheduled="june").action == "held"
    assert "cooldown" in decided("..", [Past(now - timedelta(days=1), "x")], scheduled="june").reason


def test_the_newest_word_on_a_window_counts():
    first, second = windows("BB")
    restated = Sighting("performance", "1", second.start, second.end, breached=False, content="restated")
    assert decide(POLICY, "1", [first, second, restated], (), after("..")).action == "none"
