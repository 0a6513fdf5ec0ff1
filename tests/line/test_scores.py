"""Batch inference on the real year: as the server answers, whole, gated, and stale when it should be."""

import re
import shutil
from datetime import timedelta
from functools import cache

import dagster as dg
import numpy as np
import polars as pl
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from assets.definitions import definitions_for
from assets.in_use import versions_in_use
from assets.resources import Platform
from assets.runs import materialize
from assets.score_inputs import admitted, questions
from assets.staleness import outdated_scores
from checks.guard import GateClosed
from ml.batch_scores import Graph, score_rows
from ml.lake import WHOLE
from ml.models import model_named
from ml.models.flight_delay import FLIGHT_DELAY
from ml.scoring import score
from ml.settings import Settings
from ml.verdicts import Verdict
from tests.line.conftest import Line, move_addresses

KEY, TABLE, MONTH = dg.AssetKey(["flight_delay", "scores"]), "flight_delay/scores", "2013-10"
DEPLOYMENT = dg.AssetKey(["flight_delay", "deployment"])
LEFT_OUT = ("logs", "reports", "profiles", "predictions", "scores", "warehouse.duckdb")


@pytest.fixture(scope="module")
def scored(line, tmp_path_factory):
    """A copy of the line, with what serves, in which October has been scored."""
    home = tmp_path_factory.mktemp("scores") / "home"
    shutil.copytree(line.home, home, ignore=shutil.ignore_patterns(*LEFT_OUT))
    copy = Line(home, line.ports)
    move_addresses(line.settings, copy.settings)
    again(copy)
    return copy


@cache
def definitions_at(home):
    return definitions_for(Platform(Settings(home=home)))


def again(line):
    result = materialize(definitions_at(line.home), line.instance, [KEY], [MONTH])
    return result.asset_materializations_for_node("flight_delay__scores")[0], result.get_asset_check_evaluations()


def rows_of(line):
    return line.platform.lake.read(TABLE, partitions=[MONTH]).collect()


def write(line, rows, **facts):
    """Write a month as scoring did not make it."""
    platform = line.platform
    version = platform.lake.partition_versions(TABLE)[MONTH]
    platform.lake.replace(TABLE, rows, [MONTH], platform.lake.metadata(TABLE, version) | facts)


def checked(line):
    """Run the checks alone, on what the table holds."""
    definitions = definitions_at(line.home)
    checks = definitions.resolve_asset_graph().get_check_keys_for_assets({KEY})
    job = definitions.resolve_implicit_global_asset_job_def()
    subset = job.get_subset(asset_selection=set(), asset_check_selection=checks)
    result = subset.execute_in_process(instance=line.instance, partition_key=MONTH, raise_on_error=False)
    return {e.check_name: (e.passed, e.description) for e in result.get_asset_check_evaluations()}


def test_every_flight_of_the_month_is_scored_once_the_cancelled_ones_too(scored):
    flights = scored.platform.publications.read("flight_outcomes")
    asked = pl.col("prediction_time").dt.strftime("%Y-%m") == MONTH
    october = flights.filter(asked).collect()
    rows = rows_of(scored)
    assert sorted(rows["flight_id"]) == sorted(october["flight_id"])
    assert set(october.filter(cancelled=1)["flight_id"]) <= set(rows["flight_id"])
    assert rows["decision"].to_list() == (rows["probability"] >= np.float32(champion(scored).threshold)).to_list()
    assert set(rows["model_version"]) == {"1"}


def champion(line):
    return line.platform.registry.champion("flight_delay")


def test_a_score_is_what_the_server_answered_at_that_moment(line, scored):
    answers = line.platform.lake.read("flight_delay/predictions").collect()
    keys = ["tailnum", "flight_number", "origin", "carrier"]
    asked = answers.select(*keys, pl.col("time").alias("prediction_time"), pl.col("probability").alias("served"))
    both = asked.join(rows_of(scored), on=[*keys, "prediction_time"])
    assert both.height >= 9  # one of the ten was asked on 30 September, by the clock of October's
    assert (both["served"] - both["probability"]).abs().max() < 1e-6


def test_a_score_is_the_training_sets_to_the_bit_however_rows_are_cut(scored):
    platform = scored.platform
    learned = platform.lake.read("flight_delay/training_set").collect()
    sample = learned.join(rows_of(scored), on="flight_id", how="semi").head(3001)
    graph = Graph(platform.registry.onnx_path(champion(scored)))
    whole = graph.answers(sample)
    assert np.array_equal(whole, np.concatenate([graph.answers(part) for part in sample.iter_slices(257)]))
    assert np.array_equal(whole[:100], np.concatenate([graph.answers(row) for row in sample[:100].iter_slices(1)]))
    ours = sample.select("flight_id").join(rows_of(scored), on="flight_id", how="left")["probability"]
    assert np.array_equal(whole, ours.to_numpy())
    assert np.allclose(whole, score(graph.onnx, sample), atol=1e-6, rtol=0)


def test_scores_do_not_depend_on_how_much_memory_there_is(scored, tmp_path):
    platform = scored.platform
    inputs = admitted(platform, FLIGHT_DELAY, MONTH)
    asked = questions(platform, FLIGHT_DELAY, inputs, MONTH)
    told: list[str] = []
    store = platform.feature_store(inputs.sources)
    made = score_rows(asked, inputs.graph, inputs.version, MONTH, store, tmp_path, 9_000, told.append)
    assert len(made.files) == len(told) > 3
    version = platform.lake.partition_versions(TABLE)[MONTH]
    assert made.content == platform.lake.metadata(TABLE, version)["content"]


def test_scoring_again_changes_nothing(scored):
    before = scored.platform.lake.version(TABLE)
    first = scored.instance.get_latest_materialization_event(KEY).asset_materialization
    second, checks = again(scored)
    assert scored.platform.lake.version(TABLE) == before
    assert second.tags["dagster/data_version"] == first.tags["dagster/data_version"]
    assert second.tags["dagster/data_version"].startswith("flight_delay@1:")
    assert {check.check_name: check.passed for check in checks} == {"scores_complete": True, "scores_agree": True}
    assert not any((scored.home / "scoring").iterdir())


def test_the_command_does_what_is_out_of_date_and_says_what_there_is(scored):
    done = scored.command("make", "scores", "NAME=flight_delay", f"MONTH={MONTH}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^flight_delay/scores +up to date$", done.stdout, re.MULTILINE)
    assert re.search(rf"^{MONTH} +{rows_of(scored).height:,} ", done.stdout, re.MULTILINE)


def test_scoring_asks_the_gates_of_exactly_what_it_reads(scored):
    platform = scored.platform
    staged = platform.publications.current("aircraft_state").staged

    def judge(table, version, partition, check, passed):
        found = {"summary": "a drill"}
        platform.verdicts.record([Verdict(table, version, check, passed, partition, evidence=found, run_id="run-7")])

    judge("features/aircraft_state", staged["2013-12"], "2013-12", "dbt_tests", False)  # not read for October
    admitted(platform, FLIGHT_DELAY, MONTH)
    judge("features/aircraft_state", staged["2013-09"], "2013-09", "dbt_tests", False)  # read: three days of it
    refused = r"flight_delay/scores refuses to read features/aircraft_state\[2013-09\].*'dbt_tests' failed in run run-7"
    with pytest.raises(GateClosed, match=refused):
        admitted(platform, FLIGHT_DELAY, MONTH)
    for month in ("2013-09", "2013-12"):
        judge("features/aircraft_state", staged[month], month, "dbt_tests", True)
    judge("flight_delay/model", 1, WHOLE, "promotion", False)
    with pytest.raises(
        GateClosed, match=r"flight_delay/scores refuses to read flight_delay/model version 1.*promotion"
    ):
        admitted(platform, FLIGHT_DELAY, MONTH)
    judge("flight_delay/model", 1, WHOLE, "promotion", True)


def test_what_cannot_be_scored_says_what_to_do(scored):
    platform = scored.platform
    with pytest.raises(LookupError, match=r"arrival_delay is not deployed: .*run make model NAME=arrival_delay"):
        admitted(platform, model_named("arrival_delay"), MONTH)
    late = pl.col("event_timestamp") + timedelta(days=400)
    rows = platform.publications.read("weather_observation").with_columns(late).collect()
    version = platform.lake.replace("features/weather_observation", rows, sorted(rows["partition_key"].unique()))
    before = platform.publications.current("weather_observation")
    staged = dict.fromkeys(before.staged, version)
    platform.publications.publish("weather_observation", staged, "test")
    with pytest.raises(LookupError, match=r"nothing that 2013-10 can be scored with is published of weather"):
        admitted(platform, FLIGHT_DELAY, MONTH)
    platform.publications.roll_back("weather_observation", before.version, "test", "a drill")
    admitted(platform, FLIGHT_DELAY, MONTH)


def test_a_month_scored_by_an_older_champion_is_stale(scored):
    instance = scored.instance

    def status():
        graph = definitions_at(scored.home).resolve_asset_graph()
        return CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance)).get_status(KEY, MONTH)

    assert status() == StaleStatus.FRESH
    assert outdated_scores(scored.platform, KEY) == []
    for deployed, expected in (("flight_delay@2", StaleStatus.STALE), ("flight_delay@1", StaleStatus.FRESH)):
        tags = {"dagster/data_version": deployed}
        instance.report_runless_asset_event(dg.AssetMaterialization(DEPLOYMENT, tags=tags))
        assert status() == expected
    # A rollback of the model, or of data, materializes nothing: what made the scores is compared with what serves.
    write(scored, rows_of(scored), model_version="0")
    assert outdated_scores(scored.platform, KEY) == [MONTH]


def test_what_the_scores_were_made_from_is_in_use(scored):
    in_use = versions_in_use(scored.platform)
    assert in_use.of(TABLE) == set(scored.platform.lake.partition_versions(TABLE).values())


def test_scores_that_are_wrong_are_held(scored):
    nudged = rows_of(scored).with_columns(pl.col("probability") + np.float32(1e-7))
    write(scored, pl.concat([nudged.tail(-2), nudged.tail(1)]), content="spoilt")
    found = checked(scored)  # last here: nothing after it finds the month as it was
    assert "rows without a score: 2; rows scored more than once: 1" in found["scores_complete"][1]
    assert not found["scores_agree"][0], found
    with pytest.raises(GateClosed, match=r"flight_delay/scores\[2013-10\].*'scores_complete' failed"):
        scored.platform.guard.admit("mailing", TABLE, [MONTH])
