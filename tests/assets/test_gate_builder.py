"""The builder of checks: whatever a check does, there is a verdict in the lake and the same one in Dagster."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl
import pytest

from assets.gates import Gate, gate_checks
from assets.override import end, grant
from assets.partitions import partitions_of
from assets.quarantine import COUNT, KEY
from assets.resources import Platform
from assets.runs import RANGE_END, RANGE_START
from checks.outcome import RULE, Outcome
from checks.required import RAW
from ml.clock import ReplayClock
from ml.months import Months
from ml.settings import Settings

TABLE, ASSET = "raw/gauges", dg.AssetKey(["raw", "gauges"])
YEAR = Months("2013-01", "2013-12")
NOW = datetime(2014, 1, 2, tzinfo=UTC)


def judge(batch):
    low = batch.rows.filter(pl.col("level") < 0)
    if batch.rows["level"].max() > 1000:
        raise ZeroDivisionError("levels cannot be compared")
    summary = f"{low.height} levels below 0, such as {low['level'].to_list()[:1]}"
    rules = ({"rule": "level >= 0", "passed": low.is_empty(), "observed": low.height},)
    return Outcome(low.is_empty(), summary, {"low": low.height}, rules, low.select(pl.lit("low").alias(RULE), pl.all()))


class World:
    """A raw table of a lake of its own, with one gate under each of the names that the guard asks for."""

    def __init__(self, folder):
        self.platform = Platform(Settings(home=folder, allow_overrides=True))
        ReplayClock(self.platform.settings.clock_file).set(NOW)
        self.instance = dg.DagsterInstance.ephemeral(tempdir=str(folder))
        self.levels = {}

    def run(self, *months):
        @dg.asset(key=ASSET, partitions_def=partitions_of(YEAR), backfill_policy=dg.BackfillPolicy.single_run())
        def gauges(context: dg.AssetExecutionContext) -> None:
            for month in context.partition_keys:
                rows = pl.DataFrame({"level": [5, self.levels.get(month, 1)], "partition_key": [month] * 2})
                self.platform.lake.replace(TABLE, rows, [month])

        checks = gate_checks(TABLE, [Gate(name, "levels are positive", judge) for name in RAW], months=YEAR)
        tags = {RANGE_START: months[0], RANGE_END: months[-1]} if len(months) > 1 else {}
        job = dg.Definitions(
            assets=[gauges], asset_checks=[checks], resources={"platform": self.platform}
        ).resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=self.instance,
            partition_key=months[0] if len(months) == 1 else None,
            tags=tags,
            raise_on_error=False,
        )

    def evaluation(self, month):
        from dagster._core.storage.event_log.base import PartitionKeyFilter

        key = dg.AssetCheckKey(ASSET, RAW[0])
        found = self.instance.event_log_storage.get_latest_asset_check_execution_by_key(
            [key], partition_filter=PartitionKeyFilter(key=month)
        )
        return found[key].event.dagster_event.asset_check_evaluation_data

    def admitted(self, month):
        return self.platform.guard.admit("features", TABLE, [month])


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_a_check_that_crashes_is_a_failed_verdict_with_its_traceback(world):
    world.levels["2013-01"] = 2000
    assert not world.run("2013-01").success
    verdict = world.platform.verdicts.newest(TABLE, 0, "2013-01", RAW[0])
    assert not verdict.passed
    assert "ZeroDivisionError: levels cannot be compared" in verdict.evidence["summary"]
    assert "in judge" in verdict.evidence["traceback"]
    assert not world.evaluation("2013-01").passed


def test_each_month_of_a_ranged_run_has_its_own_verdict_in_the_lake_and_in_dagster(world):
    world.levels["2013-02"] = -3
    assert not world.run("2013-01", "2013-02", "2013-03").success
    assert [world.evaluation(m).passed for m in ("2013-01", "2013-02", "2013-03")] == [True, False, True]
    assert world.admitted("2013-01")
    assert world.admitted("2013-03")
    with pytest.raises(Exception, match=r"raw/gauges\[2013-02\].*1 levels below 0"):
        world.admitted("2013-02")


def test_evidence_shows_rules_and_failing_rows_and_the_rows_are_kept(world):
    world.levels["2013-01"] = -3
    world.run("2013-01")
    shown = world.evaluation("2013-01").metadata
    assert "level >= 0" in shown["evidence"].value
    assert "-3" in shown["failing rows, the first"].value
    assert world.platform.quarantine.rows(TABLE, 0, "2013-01")["level"].to_list() == [-3] * len(RAW)


def test_the_quarantine_asset_follows_without_being_asked(world):
    def listed():
        return world.instance.get_latest_materialization_event(KEY).asset_materialization.metadata

    world.levels["2013-01"] = -3
    world.run("2013-01")
    assert listed()[COUNT].value == 1
    assert "raw/gauges[2013-01]" in listed()["held"].value
    world.levels["2013-01"] = 3
    assert world.run("2013-01").success
    assert listed()[COUNT].value == 0
    assert "released by version 1" in listed()["released or replaced"].value


def test_an_override_shows_as_a_warning_never_as_a_pass_and_ends_by_itself(world):
    world.levels["2013-01"] = -3
    world.run("2013-01")
    until = NOW + timedelta(hours=1)
    grant(world.platform, world.instance, TABLE, "2013-01", who="ada", why="gauge rebuilt", until=until)
    assert world.admitted("2013-01")
    shown = world.evaluation("2013-01")
    assert (shown.passed, shown.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert shown.metadata["overridden by"].value == "ada"
    ReplayClock(world.platform.settings.clock_file).set(until)
    with pytest.raises(Exception, match="failed in run"):
        world.admitted("2013-01")


def test_an_override_that_is_ended_shows_a_failed_check_again(world):
    world.levels["2013-01"] = -3
    world.run("2013-01")
    until = NOW + timedelta(hours=1)
    grant(world.platform, world.instance, TABLE, "2013-01", who="ada", why="gauge rebuilt", until=until)
    assert len(end(world.platform, world.instance, TABLE, "2013-01")) == len(RAW)
    shown = world.evaluation("2013-01")
    assert (shown.passed, shown.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "overridden by" not in shown.metadata
    grant(world.platform, world.instance, TABLE, "2013-01", who="bob", why="it rained", until=until)
    assert world.evaluation("2013-01").metadata["overridden by"].value == "bob"
    end(world.platform, world.instance, TABLE, "2013-01")
    with pytest.raises(Exception, match="failed in run"):
        world.admitted("2013-01")


def test_only_a_check_that_failed_can_be_overridden(world):
    world.run("2013-01")
    asked = {"who": "ada", "why": "x", "until": NOW + timedelta(hours=1)}
    with pytest.raises(LookupError, match="no failed check"):
        grant(world.platform, world.instance, TABLE, "2013-01", **asked)
    with pytest.raises(LookupError, match="has not been materialized"):
        grant(world.platform, world.instance, TABLE, "2013-05", **asked)
    world.platform.lake.replace(TABLE, pl.DataFrame({"level": [1], "partition_key": ["2013-02"]}), ["2013-02"])
    with pytest.raises(LookupError, match="never ended"):
        grant(world.platform, world.instance, TABLE, "2013-02", **asked)
