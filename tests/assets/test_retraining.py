"""The retraining sensor: what it asks for, once, what holds it back, and how it goes on after what broke."""

import json
from datetime import timedelta

import dagster as dg
import polars as pl
import pytest

from assets.retraining import retraining_job, retraining_schedules, retraining_sensor
from ml.scoring import example_feed
from ml.upkeep import RetrainingSettings
from ml.verdicts import Verdict
from tests.assets.monitoring_world import MODEL, MONDAY, World, week_is_final
from tests.serving.example import RAW, write_graph

POLICY = RetrainingSettings(signals=("calibration", "feature_drift"), breaches=2, of=3, cooldown_days=21)
KEPT = MODEL.model_copy(update={"retraining": POLICY})
WEEK = timedelta(days=7)


class Loop:
    """The sensor on a small world, verdicts as the checks record them, and runs as the daemon starts them."""

    def __init__(self, home, instance):
        self.world, self.instance = World(home), instance
        self.platform = self.world.platform
        self.sensor = retraining_sensor(KEPT, retraining_job(KEPT))
        self.platform.manifest.parent.mkdir(parents=True)
        self.platform.manifest.write_text(json.dumps(_manifest()))

    def judge(self, week, breached, content="rows", check="calibration"):
        start = MONDAY + week * WEEK
        evidence = {
            "version": "1",
            "content": f"{content} {week}",
            "summary": "a refit would have saved 4% of the loss",
        }
        verdict = Verdict("example/performance", week, check, not breached, f"{start:%Y-%m-%d}", False, evidence)
        self.platform.verdicts.record([verdict])
        self.world.move(week_is_final(week))

    def ask(self):
        context = dg.build_sensor_context(instance=self.instance, resources={"platform": self.platform})
        (found,) = self.sensor(context)
        return found

    def run(self, request, ends_well):
        """Have a run of that request end, as Dagster records it."""

        @dg.op
        def work():
            if not ends_well:
                raise RuntimeError("no memory on the GPU")

        @dg.job
        def done():
            work()

        return done.execute_in_process(instance=self.instance, tags=request.tags, raise_on_error=False)

    def register(self, as_of):
        """Register version 1 on a training set that was made as of an instant, as a training run does."""
        learned = self.platform.lake.replace("example/training_set", pl.DataFrame({"a": [1]}), None, {"as_of": as_of})
        onnx = write_graph(self.platform.settings.root / "trained" / "model.onnx", -3.0)
        with self.platform.registry.recording("example") as run:
            run.register(onnx, example_feed(onnx, pl.DataFrame([RAW]), 1), {"training_set_version": learned})

    def pass_gates(self, *checks):
        self.platform.verdicts.record(Verdict("example/model", 1, check, True) for check in checks)

    def events(self):
        return self.platform.loop_log.rows("example")["event"].to_list()


def publish(platform, name):
    month = "2013-09"
    version = platform.lake.replace(f"features/{name}", pl.DataFrame({"a": [1], "partition_key": [month]}), [month])
    platform.publications.publish(name, {month: version}, "tests")


def _manifest():
    def model(name, *parents):
        kind = {"resource_type": "model", "alias": name, "unique_id": f"model.{name}"}
        return {**kind, "depends_on": {"nodes": list(parents)}, "config": {}}

    nodes = [
        model("aircraft", "model.stg_flights"),
        model("runway", "source.gauges"),
        model("t", "model.stg_flights"),
        model("stg_flights", "source.flights"),
        model("elsewhere", "source.other"),
    ]
    sources = {f"source.{name}": {"name": name} for name in ("flights", "gauges", "other")}
    return {"nodes": {node["unique_id"]: node for node in nodes}, "sources": sources, "metadata": {}}


@pytest.fixture
def loop(tmp_path):
    quiet = {"telemetry": {"enabled": False}}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=quiet) as instance:  # a schedule needs one on disk
        yield Loop(tmp_path / "home", instance)


def test_two_breached_windows_ask_for_one_retraining_as_of_the_last_midnight_whose_labels_have_come(loop):
    loop.judge(0, breached=True)
    assert isinstance(loop.ask(), dg.SkipReason)
    loop.judge(1, breached=True)
    request = loop.ask()
    assert request.run_config["ops"]["example__training_set"]["config"]["as_of"] == (MONDAY + 2 * WEEK).isoformat()
    assert "calibration: a refit would have saved 4%" in request.tags["headwater/reason"]
    assert loop.ask().run_key == request.run_key  # no run began meanwhile: Dagster takes a key once
    assert loop.events() == ["retrain"]


def test_the_same_data_ask_once_and_a_cooldown_holds_the_next_back(loop):
    for week in (0, 1):
        loop.judge(week, breached=True)
    loop.run(loop.ask(), ends_well=True)
    assert "answered with a retraining before" in loop.ask().skip_message
    assert loop.events() == ["retrain", "trained", "held"]
    loop.judge(2, breached=True)
    assert "cooldown for 14.0 more days" in loop.ask().skip_message
    for week in (3, 4):
        loop.judge(week, breached=True)
    assert isinstance(loop.ask(), dg.RunRequest)


def test_a_run_that_fails_is_asked_for_again_three_times_and_then_told(loop):
    for week in (0, 1):
        loop.judge(week, breached=True)
    keys = []
    for _ in range(3):
        request = loop.ask()
        keys.append(request.run_key)
        loop.run(request, ends_well=False)
    assert len(set(keys)) == 3
    assert isinstance(loop.ask(), dg.SkipReason)
    assert loop.events()[:2] == ["retrain", "failed"]
    (told,) = loop.platform.loop_log.rows("example").filter(event="failed")["reason"]
    assert told.startswith("given up: it failed 3 times, at last in run ")


def test_a_run_that_was_killed_is_asked_for_again_and_its_key_is_new(loop):
    for week in (0, 1):
        loop.judge(week, breached=True)
    nothing = dg.GraphDefinition("nothing").to_job()
    keys = []
    for _ in range(4):
        request = loop.ask()
        keys.append(request.run_key)
        killed = loop.instance.create_run_for_job(nothing, tags=request.tags)
        assert "is under way" in loop.ask().skip_message
        loop.instance.report_run_failed(killed)
    assert len(set(keys)) == 4
    assert isinstance(loop.ask(), dg.RunRequest)


def test_a_run_killed_after_training_goes_on_from_the_gates_and_the_version_says_why_it_was_trained(loop):
    for week in (0, 1):
        loop.judge(week, breached=True)
    request = loop.ask()
    as_of = request.run_config["ops"]["example__training_set"]["config"]["as_of"]
    loop.register(as_of)
    loop.run(request, ends_well=False)
    again = loop.ask()
    assert again.run_config == {}
    assert again.asset_selection == [dg.AssetKey(["example", "deployment"])]
    assert {key.name for key in again.asset_check_keys} == {"promotion", "serving_drift"}
    loop.pass_gates("promotion", "serving_drift")
    assert loop.ask().asset_check_keys == []
    loop.run(loop.ask(), ends_well=True)
    assert isinstance(loop.ask(), dg.SkipReason)
    assert loop.events()[:2] == ["retrain", "trained"]
    tags = loop.platform.registry.version("example", "1").tags
    assert "calibration: a refit would have saved 4%" in tags["retraining_reason"]


def test_a_refused_version_ends_its_retraining_though_the_run_failed(loop):
    for week in (0, 1):
        loop.judge(week, breached=True)
    request = loop.ask()
    loop.register(request.run_config["ops"]["example__training_set"]["config"]["as_of"])
    loop.pass_gates("serving_drift")
    refusal = Verdict("example/model", 1, "promotion", False, evidence={"summary": "not calibrated"})
    loop.platform.verdicts.record([refusal])
    loop.run(request, ends_well=False)
    assert isinstance(loop.ask(), dg.SkipReason)
    (told,) = loop.platform.loop_log.rows("example").filter(event="refused")["reason"]
    assert told == "promotion: not calibrated"


def test_a_check_that_crashed_asks_for_nothing(loop):
    for week in (0, 1, 2):
        start = MONDAY + week * WEEK
        crashed = Verdict(
            "example/performance", week, "calibration", False, f"{start:%Y-%m-%d}", False, {"traceback": ""}
        )
        loop.platform.verdicts.record([crashed])
    loop.world.move(week_is_final(2))
    assert "no signal" in loop.ask().skip_message


def test_bad_data_of_what_the_model_reads_are_told_apart_from_drift(loop):
    for table in ("raw/other", "raw/flights"):
        version = loop.platform.lake.replace(table, pl.DataFrame({"a": [1], "partition_key": ["2013-10"]}), ["2013-10"])
        failed = Verdict(table, version, "expectations", False, "2013-10", evidence={"summary": "delays in seconds"})
        loop.platform.verdicts.record([failed])
        if table == "raw/other":
            for week in (0, 1):
                loop.judge(week, breached=True)
            assert isinstance(loop.ask(), dg.RunRequest)  # nothing of the model's comes from there
            loop.run(loop.ask(), ends_well=True)
            assert isinstance(loop.ask(), dg.SkipReason)
    for week in (5, 6):
        loop.judge(week, breached=True)
    assert "bad data, not drift: raw/flights[2013-10] is in quarantine: expectations: delays" in loop.ask().skip_message
    assert loop.events().count("retrain") == 1


def test_drift_of_published_months_is_a_signal_too(loop):
    for number, (month, passed) in enumerate((("2013-08", False), ("2013-09", True), ("2013-10", False))):
        told = {"summary": "last_delay shifted by +40", "content": month}
        loop.platform.verdicts.record(
            [Verdict("published/aircraft", number, "feature_drift", passed, month, False, told)]
        )
    loop.world.move(MONDAY + 5 * WEEK)
    assert "aircraft[2013-10]: last_delay shifted by +40" in loop.ask().tags["headwater/reason"]


def test_a_schedule_starts_a_run_when_something_was_published_since_and_the_sensor_takes_it_up_again(loop):
    spec = KEPT.model_copy(update={"retraining": POLICY.model_copy(update={"schedule": "0 6 * * 1"})})
    (schedule,) = retraining_schedules(spec, retraining_job(spec))
    for name in ("aircraft", "runway", "t"):
        publish(loop.platform, name)

    def tick():
        at = dg.build_schedule_context(instance=loop.instance, resources={"platform": loop.platform})
        return schedule.evaluate_tick(at)

    (request,) = tick().run_requests
    assert request.tags["headwater/reason"] == "schedule 0 6 * * 1"
    loop.run(request, ends_well=False)
    again = loop.ask()
    assert again.tags["headwater/retraining"] == request.tags["headwater/retraining"]
    loop.run(again, ends_well=True)
    loop.world.move(MONDAY + 6 * WEEK)
    assert "answered with a retraining before" in tick().skip_message
    publish(loop.platform, "runway")
    assert len(tick().run_requests) == 1


def test_a_model_without_a_schedule_has_none():
    assert retraining_schedules(KEPT, retraining_job(KEPT)) == []


def test_a_model_that_is_not_deployed_has_nothing_to_keep_up(loop, tmp_path):
    nobody = KEPT.model_copy(update={"name": "nobody"})
    sensor = retraining_sensor(nobody, retraining_job(nobody))
    context = dg.build_sensor_context(instance=loop.instance, resources={"platform": loop.platform})
    (found,) = sensor(context)
    assert "nothing of nobody is deployed" in found.skip_message
