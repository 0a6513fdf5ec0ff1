"""What is due to be told, from audit trails in a real lake, by the replayed clock; nothing is sent here."""

from datetime import timedelta
from typing import get_args

import pytest

from checks.alert_kinds import KINDS
from checks.alerts import Memory, due
from ml.loop_log import Event
from tests.alert_trail import Trail

QUIET = timedelta(hours=24)


class Listener(Trail):
    """A sink that takes everything at once, and was there before the trail."""

    memory: Memory | None = Memory()

    def hear(self, least="info"):
        notices, self.memory = due(self.memory, self.trails(), self.clock.now(), QUIET, least)
        return notices

    def heard(self, least="info"):
        return [(n.status, n.alert.kind, n.alert.asset, n.alert.version) for n in self.hear(least)]


@pytest.fixture
def trail(tmp_path):
    return Listener(tmp_path)


def test_a_failed_blocking_check_is_told_with_what_to_do(trail):
    trail.judged()
    (notice,) = trail.hear()
    alert = notice.alert
    assert (notice.status, alert.kind, alert.severity) == ("new", "check_failed", "critical")
    assert alert.title == "raw/flights[2013-03] version 4 failed the check history"
    assert alert.summary == "40% fewer rows than the months before"
    assert "materialize raw/flights[2013-03] again" in alert.remedy
    assert "make quarantine TABLE=raw/flights MONTH=2013-03" in alert.remedy


def test_the_same_is_told_once_its_end_once_and_again_when_it_breaks_anew(trail):
    trail.judged()
    assert [status for status, *_ in trail.heard()] == ["new"]
    trail.judged(version=5)
    assert trail.heard() == []
    trail.judged(passed=True, version=6)
    (over,) = trail.hear()
    assert (over.status, over.why) == ("ended", "version 6 passes history")
    trail.judged(passed=True, version=6)
    assert trail.heard() == []
    trail.judged(version=7)
    assert trail.heard() == [("new", "check_failed", "raw/flights", "7")]


def test_what_broke_and_recovered_unheard_is_told_as_over(trail):
    trail.judged()
    trail.hours(1)
    trail.judged(passed=True, version=5)
    (over,) = trail.hear()
    assert (over.status, over.alert.version, over.since) == ("ended", "4", trail.clock.now() - timedelta(hours=1))


def test_other_checks_and_months_have_alerts_of_their_own(trail):
    trail.judged()
    trail.judged(check="expectations")
    trail.judged(partition="2013-04")
    assert len(trail.hear()) == 3


def test_a_check_that_only_warns_is_not_told(trail):
    trail.judged(table="published/aircraft_state", check="feature_drift", blocking=False)
    trail.judged(passed=True)
    assert trail.heard() == []


def test_a_reminder_comes_after_the_quiet_hours_by_the_replayed_clock(trail):
    trail.judged()
    assert len(trail.hear()) == 1
    trail.hours(23.9)
    assert trail.heard() == []
    trail.hours(0.1)
    (reminder,) = trail.hear()
    assert (reminder.status, reminder.since) == ("reminder", trail.clock.now() - QUIET)
    assert trail.heard() == []
    trail.hours(24)
    again = trail.hear()
    assert [n.status for n in again] == ["reminder"]
    assert again[0].id != reminder.id


def test_reminders_of_one_day_come_together(trail):
    for table in ("raw/flights", "raw/weather", "raw/planes"):
        trail.judged(table=table)
        trail.hear()
        trail.hours(1)
    trail.hours(21)
    assert len(trail.hear()) == 3
    trail.hours(20)
    assert trail.hear() == []


def test_a_clock_that_is_set_back_neither_floods_nor_silences(trail):
    trail.judged()
    trail.hear()
    trail.hours(-24 * 300)
    assert trail.heard() == []
    trail.hours(24)
    assert [status for status, *_ in trail.heard()] == ["reminder"]


def test_one_does_not_remind_of_what_a_person_lets_pass_until_that_ends(trail):
    trail.judged()
    trail.overridden(hours=72)
    assert [kind for _, kind, *_ in trail.heard()] == ["check_failed", "override"]
    trail.hours(71)
    assert trail.heard() == []
    trail.hours(1)
    assert trail.heard() == [("reminder", "check_failed", "raw/flights", "4")]


def test_data_written_again_under_an_override_is_told_anew(trail):
    trail.judged()
    trail.overridden()
    trail.hear()
    trail.judged(version=5)
    assert trail.heard() == [("new", "check_failed", "raw/flights", "5")]


def test_an_override_says_who_why_and_until_when_and_its_early_end_is_told(trail):
    trail.judged()
    trail.overridden(hours=2)
    override = trail.hear()[1].alert
    assert override.summary == "history by ada until 2013-10-01 02:00 UTC: a known outage"
    assert "make overrides" in override.remedy
    trail.end_override()
    assert trail.heard() == [("new", "override_ended", "raw/flights", "4")]


def test_a_window_of_answers_that_breaches_is_one_alert_until_a_later_window_holds(trail):
    trail.window("2013-09-02", passed=False)
    assert trail.heard() == [("new", "performance", "flight_delay/performance", "1")]
    trail.window("2013-09-09", passed=False)
    trail.window("2013-09-02", passed=True)  # late labels of the window before
    assert trail.heard() == []
    trail.window("2013-09-16", passed=True)
    assert trail.heard() == [("ended", "performance", "flight_delay/performance", "1")]
    trail.window("2013-09-09", passed=False)
    assert trail.heard() == []


@pytest.mark.parametrize(
    "check", ["performance", "calibration", "prediction_drift", "served_drift", "novelty", "serving_health"]
)
def test_each_check_on_answers_is_told_under_its_name(trail, check):
    trail.window("2013-09-02", passed=False, check=check)
    assert [kind for _, kind, *_ in trail.heard()] == [check]


def test_a_refused_version_is_told_once_whoever_says_so(trail):
    model = {"table": "flight_delay/model", "version": 7, "partition": ""}
    trail.judged(**model, check="promotion")
    trail.judged(**model, check="serving_drift")
    trail.happened("refused", version="7", reason="no better than version 6")
    assert trail.heard() == [("new", "refused", "flight_delay/model", "7")]
    trail.judged(**model, check="promotion")
    assert trail.heard() == []
    trail.hours(48)
    assert trail.heard() == []  # nothing reminds of what is over
    trail.judged(**model, check="promotion")
    assert trail.heard() == [("new", "refused", "flight_delay/model", "7")]


def test_a_canary_that_broke_a_bound_is_one_alert(trail):
    model = {"table": "flight_delay/model", "version": 7, "partition": ""}
    trail.judged(**model, check="canary", blocking=False, evidence={"faulty": True})
    trail.judged(**model, check="promotion", evidence={"left_service": True})
    trail.happened("reverted", version="7")
    assert trail.heard() == [("new", "reverted", "flight_delay/model", "7")]


def test_a_canary_that_nobody_could_judge_is_one_alert_too(trail):
    model = {"table": "flight_delay/model", "version": 7, "partition": ""}
    trail.judged(**model, check="canary", blocking=False, evidence={"faulty": False})
    assert trail.heard() == [("new", "reverted", "flight_delay/model", "7")]
    trail.happened("reverted", version="7", key="plan 4")
    assert trail.heard() == []


def test_a_window_with_too_little_to_judge_ends_nothing(trail):
    trail.window("2013-09-02", passed=False)
    trail.hear()
    trail.window("2013-09-09", passed=True, not_judged="12 answers of at least 500")
    assert trail.heard() == []


def test_training_sets_that_were_refused_are_told_apart(trail):
    for key in ("2013-09-02", "2013-09-09"):
        trail.happened("refused", key=key)
    assert len(trail.hear()) == 2


def test_waiting_for_approval_is_reminded_of_until_somebody_approved(trail):
    trail.happened("waiting", version="7", key="7:champion", reason="a person approves champions")
    (notice,) = trail.hear()
    assert (notice.alert.kind, notice.alert.remedy) == (
        "waiting",
        "make approve NAME=flight_delay VERSION=7 STEP=champion",
    )
    trail.hours(24)
    assert [status for status, *_ in trail.heard()] == ["reminder"]
    trail.happened("approved", version="7")
    assert trail.heard() == [("ended", "waiting", "flight_delay/model", "7")]


def test_a_newer_version_ends_the_waiting_of_the_one_before(trail):
    trail.happened("waiting", version="7")
    trail.hear()
    trail.happened("waiting", version="8")
    assert sorted(trail.heard()) == [
        ("ended", "waiting", "flight_delay/model", "7"),
        ("new", "waiting", "flight_delay/model", "8"),
    ]


def test_every_event_of_the_loop_is_told_or_is_left_out_on_purpose(trail):
    events = get_args(Event)
    for event in events:
        trail.happened(event, version="7", key=f"{event}-7")
    told = {notice.alert.kind for notice in trail.hear()}
    assert set(events) - told == {"trained", "shadow", "canary", "approved"}


def test_a_sink_hears_only_what_is_grave_enough_and_no_end_of_the_rest(trail):
    trail.happened("retrain", key="2013-09")
    trail.window("2013-09-02", passed=False)
    trail.judged()
    assert [kind for _, kind, *_ in trail.heard("critical")] == ["check_failed"]
    trail.window("2013-09-09", passed=True)
    assert trail.heard("critical") == []


def test_a_new_sink_is_told_what_is_wrong_now_and_nothing_of_the_past(trail):
    trail.memory = None
    trail.happened("failed", key="an old one")
    trail.judged()
    trail.judged(partition="2013-04")
    trail.judged(passed=True, version=5, partition="2013-04")
    assert trail.heard() == [("new", "check_failed", "raw/flights", "4")]
    trail.happened("failed", key="another")
    assert [kind for _, kind, *_ in trail.heard()] == ["failed"]


def test_the_gravest_come_first_and_what_is_over_last(trail):
    trail.judged(table="raw/planes")
    trail.hear()
    trail.judged(table="raw/planes", passed=True)
    trail.happened("champion", version="7")
    trail.happened("held", version="8")
    trail.judged()
    assert [kind for _, kind, *_ in trail.heard()] == ["check_failed", "held", "champion", "check_failed"]


def test_every_kind_has_words_that_can_be_filled_in(trail):
    from checks.alert_kinds import Alert

    for kind in KINDS:
        alert = Alert(kind, "flight_delay/model", "so", trail.clock.now(), 1, "", "2013-03", "7", "history")
        assert "{" not in alert.title + alert.remedy
