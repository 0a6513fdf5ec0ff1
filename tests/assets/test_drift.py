"""The drift checks on a lake of their own: which rows they compare, what they keep, what they start."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import numpy as np
import polars as pl
import pytest

from assets.drift import SERVING_DRIFT, compared_columns, judge_model, judge_month, watched_columns
from assets.drift_windows import LEARNED
from assets.gates import line_of
from assets.mirror import Judgement, evaluation
from assets.resources import Platform
from ml.scoring import example_feed
from ml.settings import Settings
from ml.spec import column_of
from ml.verdicts import Verdict
from serving.model_repository import ModelRepository
from tests.serving.example import AIRCRAFT, RAW, SPEC, example_plan, write_graph

MONTHS = ("2013-01", "2013-02", "2013-03", "2013-04")
VIEW, TABLE, TRAINING_SET = AIRCRAFT.name, f"published/{AIRCRAFT.name}", f"{SPEC.name}/training_set"


def month_of(month, shift=0.0, seed=0, count=3000):
    random = np.random.default_rng(seed + int(month[-2:]))
    at = datetime(2013, int(month[-2:]), 2, tzinfo=UTC)
    return pl.DataFrame(
        {
            "tailnum": [f"N{n}" for n in range(count)],
            "last_arrived_at": [round(at.timestamp())] * count,
            "last_delay": random.normal(10 + shift, 30, count),
            "last_dest": random.choice(["MIA", "STL", "ORD"], count),
            "event_timestamp": [at + timedelta(seconds=n) for n in range(count)],
            "created_timestamp": [at + timedelta(seconds=n) for n in range(count)],
            "partition_key": [month] * count,
        }
    )


@pytest.fixture
def platform(tmp_path):
    return Platform(Settings(home=tmp_path / "home"))


def publish(platform, frames):
    """Stage and publish months of the view, {month: rows}; return the published version."""
    version = platform.lake.replace(f"features/{VIEW}", pl.concat(frames.values()), list(frames))
    return platform.publications.publish(VIEW, dict.fromkeys(frames, version), "test").version


def judge(platform, version, month="2013-04"):
    return judge_month(platform, AIRCRAFT, [SPEC], version, month)


def promote(platform, learned_from):
    """Make version 1 of the model the champion, as the deployed plan and the audit table tell it."""
    names = [column_of(f) for f in SPEC.features] + [f.name for f in SPEC.request]
    rows = pl.DataFrame({name: [1.0, 2.0] for name in names})
    learned = platform.lake.replace(TRAINING_SET, rows, None, {"sources": {VIEW: learned_from}})
    repository = ModelRepository(platform.settings.serving_home)
    plan = example_plan(platform.settings.home)
    repository.write_plan(plan)
    repository.point(plan, proven=True)
    told = Verdict(f"{SPEC.name}/model", 1, SERVING_DRIFT, True, evidence={"summary": "", LEARNED: learned})
    platform.verdicts.record([told])


def test_a_month_is_compared_with_the_three_before_it(platform):
    version = publish(platform, {month: month_of(month) for month in MONTHS})
    outcome = judge(platform, version)
    assert outcome.passed
    assert outcome.evidence["references"]["trailing"]["window"] == "2013-01 to 2013-03"
    assert outcome.evidence["rows"] == {"current": 3000, "trailing": 9000}
    assert not platform.settings.reports.exists()
    assert "no earlier published month" in judge(platform, version, "2013-01").summary


def test_a_view_that_no_model_reads_is_told_so(platform):
    version = publish(platform, {month: month_of(month) for month in MONTHS})
    assert judge_month(platform, AIRCRAFT, [], version, "2013-04").summary == f"no model reads {VIEW} yet"


def test_a_breach_names_view_month_column_and_cause_in_summary_and_page(platform):
    months = {month: month_of(month, shift=40 if month == "2013-04" else 0) for month in MONTHS}
    outcome = judge(platform, publish(platform, months))
    assert not outcome.passed
    assert outcome.report == platform.settings.reports / "drift" / "aircraft-2013-04-v0.html"
    for words in ("aircraft 2013-04", "last_delay: whole distribution shifted by +", "sudden: "):
        assert words in outcome.summary
        assert words.split(": ")[-1] in outcome.report.read_text()
    judgement = Judgement(TABLE, 0, "feature_drift", outcome, "2013-04", blocking=False)
    shown = evaluation(platform, dg.AssetKey(TABLE.split("/")), judgement)
    assert shown.description == "aircraft 2013-04: 1 of 2 columns drifted: last_delay"
    assert shown.metadata["summary"].value == outcome.summary
    assert shown.metadata["table version"].value == "0"
    assert line_of(judgement) == f"{TABLE}[2013-04] feature_drift warns: {outcome.short}"
    assert line_of(replace(judgement, blocking=True)).endswith(f"feature_drift FAILED: {outcome.summary}")


def test_the_champions_months_are_a_reference_as_it_learned_from_them(platform):
    first = publish(platform, {"2013-01": month_of("2013-01", shift=40)})
    promote(platform, learned_from=first)
    version = publish(platform, {month: month_of(month) for month in MONTHS})
    outcome = judge(platform, version)
    found = outcome.evidence["references"]
    assert not outcome.passed
    assert (found["trailing"]["drifted"], found["champion"]["drifted"]) == (False, True)
    assert found["champion"]["window"] == "example version 1, learned from 2013-01"
    assert "trailing holds" in found["champion"]["causes"]["last_delay"]


def test_only_the_champion_is_compared_with_where_no_earlier_month_is_published(platform):
    promote(platform, learned_from=publish(platform, {"2013-01": month_of("2013-01")}))
    outcome = judge(platform, platform.publications.current(VIEW).version, "2013-01")
    assert list(outcome.evidence["references"]) == ["champion"]


def test_profiles_are_kept_and_the_rows_are_not_read_again(platform):
    version = publish(platform, {month: month_of(month) for month in MONTHS})
    first = judge(platform, version)
    for folder in Path(platform.lake.path(TABLE)).glob("partition_key=*"):
        shutil.rmtree(folder)
    assert judge(platform, version) == first


def test_republished_months_with_other_rows_are_profiled_anew(platform):
    months = {month: month_of(month) for month in MONTHS}
    assert judge(platform, publish(platform, months)).passed
    moved = publish(platform, months | {"2013-04": month_of("2013-04", shift=40)})
    assert not judge(platform, moved).passed
    assert judge(platform, moved - 1).passed


def test_a_month_without_rows_is_a_failure_unless_older_rows_hold_for_long(platform):
    from dataclasses import replace

    version = publish(platform, {month: month_of(month) for month in MONTHS[:3]})
    assert "current window has no rows" in judge(platform, version).summary
    lasting = judge_month(platform, replace(AIRCRAFT, ttl=timedelta(days=730)), [SPEC], version, "2013-04")
    assert lasting.passed


def test_what_a_model_serves_is_compared_with_what_it_learned_from_and_always_has_a_page(platform):
    random, count = np.random.default_rng(1), 4000
    hours = np.sort(random.integers(0, 24 * 89, count)).tolist()
    rows = pl.DataFrame(
        {column_of(f): random.normal(0, 1, count) for f in SPEC.features}
        | {f.name: random.normal(0, 1, count) for f in SPEC.request}
        | {"prediction_time": [datetime(2013, 1, 1, tzinfo=UTC) + timedelta(hours=h) for h in hours]}
    )
    candidate = SimpleNamespace(version="7", tags={}, training_set_version=platform.lake.replace(TRAINING_SET, rows))
    calm = judge_model(platform, SPEC, candidate)
    assert (calm.passed, calm.evidence[LEARNED]) == (True, candidate.training_set_version)
    assert calm.report.exists()
    late = pl.col("prediction_time") >= datetime(2013, 3, 1, tzinfo=UTC)
    moved = rows.with_columns(pl.when(late).then(pl.lit(None)).otherwise(c).alias(c) for c in rows.columns if "__" in c)
    broken = SimpleNamespace(version="8", tags={}, training_set_version=platform.lake.replace(TRAINING_SET, moved))
    outcome = judge_model(platform, SPEC, broken)
    assert not outcome.passed
    assert "aircraft__last_delay: no row has a value any more" in outcome.summary


def test_a_retraining_is_let_pass_where_what_serves_is_further_from_the_rows_than_it(platform):
    random, count, moment = np.random.default_rng(1), 4000, datetime(2013, 3, 31, tzinfo=UTC)
    hours = np.sort(random.integers(0, 24 * 89, count)).tolist()
    columns, watched = [column_of(f) for f in SPEC.features] + [f.name for f in SPEC.request], compared_columns(SPEC)
    rows = pl.DataFrame(
        {name: random.normal(0, 1, count) for name in columns}
        | {"prediction_time": [datetime(2013, 1, 1, tzinfo=UTC) + timedelta(hours=h) for h in hours]}
    )
    late = pl.col("prediction_time") >= SPEC.as_of(moment).split.test.start
    moved = rows.with_columns(pl.when(late).then(pl.lit(None)).otherwise(c).alias(c) for c in watched[:3])
    further = moved.with_columns(pl.when(late).then(pl.col(c)).otherwise(pl.lit(9.0)).alias(c) for c in watched[3:5])
    candidate = SimpleNamespace(
        version="2",
        tags={"as_of": moment.isoformat()},
        training_set_version=platform.lake.replace(TRAINING_SET, moved, None, {"as_of": moment.isoformat()}),
    )
    assert not judge_model(platform, SPEC, candidate).passed  # nothing serves
    serve(platform, platform.lake.replace(TRAINING_SET, further, None, {"as_of": moment.isoformat()}))
    outcome = judge_model(platform, SPEC, candidate)
    assert outcome.passed
    assert "let pass: version 1, which serves, is further from these rows" in outcome.summary
    plain = SimpleNamespace(version="2", tags={}, training_set_version=candidate.training_set_version)
    assert not judge_model(platform, SPEC, plain).passed


def serve(platform, learned):
    """Register version 1, which learned from that version of the training set, and have a plan serve it."""
    path = write_graph(platform.settings.root / "model.onnx", -3.0)
    with platform.registry.recording(SPEC.name) as run:
        run.register(path, example_feed(path, pl.DataFrame([RAW]), 1), {"training_set_version": learned})
    repository, plan = ModelRepository(platform.settings.serving_home), example_plan(platform.settings.home)
    repository.write_plan(plan)
    repository.point(plan, proven=True)


def test_times_and_seasonal_features_are_not_watched():
    assert watched_columns(VIEW, [SPEC]) == ["last_delay", "last_dest"]
