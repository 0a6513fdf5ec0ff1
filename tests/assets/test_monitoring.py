"""The monitoring stage on a lake of its own: when labels count, what is written, who is judged, and what starts it."""

from datetime import timedelta

import dagster as dg
import polars as pl
import pytest

from assets.monitor import monitor_job, monitor_sensor, told, write_page
from assets.monitoring import predictions_asset
from assets.outcomes import outcomes_assets
from assets.performance import performance_asset
from assets.performance_checks import CHECKS, judge_windows, performance_checks
from checks.guard import GateClosed
from tests.assets.monitoring_world import MODEL, MONDAY, ROWS, World, week_is_final

OUTCOMES, PERFORMANCE = "example/outcomes", "example/performance"


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "home")


@pytest.fixture(scope="module")
def seasoned(tmp_path_factory):
    """Three weeks: two calm ones and one whose answers are too high and whose features moved."""
    made = World(tmp_path_factory.mktemp("seasoned"))
    made.register()
    for week in (0, 1):
        made.answer(week)
    made.answer(2, too_high=0.8, moved=60.0)
    made.publish()
    made.move(week_is_final(2))
    made.bring()
    return made


def judged(world, names=tuple(CHECKS)):
    return [j for window in judge_windows(world.platform, MODEL, names, "run") for j in window]


def verdicts(world):
    return {(v.partition, v.check): v for v, _ in world.platform.verdicts.newest_verdicts(PERFORMANCE)}


def test_a_label_counts_when_its_answer_is_old_enough_and_never_before_it_is_known(world):
    frame = world.answer(0)
    first = frame.row(0, named=True)
    world.outcomes[first["tailnum"]]["label_timestamp"] = first["time"] + timedelta(hours=30)
    world.publish()
    world.move(first["time"] + timedelta(hours=24))
    world.bring()
    (row,) = world.read("outcomes").to_dicts()  # others are younger, whose labels have come though
    assert (row["prediction_id"], row["late"], row["loss"], row["id"]) == ("N0-0", None, None, "N0-0")
    world.move(first["time"] + timedelta(hours=30))
    world.bring()
    found = world.read("outcomes").filter(prediction_id="N0-0")
    assert found["late"].item() in (0, 1)
    assert found["loss"].item() > 0
    now = world.platform.clock.now()
    assert (world.read("outcomes")["label_timestamp"].drop_nulls() <= now).all()
    assert (world.read("outcomes")["time"] <= now - timedelta(hours=24)).all()


def test_a_late_correction_replaces_the_label_and_the_table_of_then_keeps_what_was_known(world):
    world.answer(0)
    world.publish()
    world.move(week_is_final(0))
    assert world.bring() == (["2013-09", "2013-10"], ["2013-09-30"])
    before = world.platform.lake.version(OUTCOMES)
    old = world.read("outcomes").filter(prediction_id="N0-800").row(0, named=True)
    world.outcomes["N0-800"] |= {"late": 1 - old["late"], "label_timestamp": week_is_final(0)}
    world.publish()
    assert world.bring() == (["2013-10"], ["2013-09-30"])
    new = world.read("outcomes").filter(prediction_id="N0-800").row(0, named=True)
    assert (new["late"], new["label_timestamp"]) == (1 - old["late"], week_is_final(0))
    then = world.platform.lake.read(OUTCOMES, before).filter(pl.col("prediction_id") == "N0-800").collect()
    assert then["late"].item() == old["late"]


def test_what_has_not_changed_is_not_written_again(world):
    world.answer(0)
    world.answer(1)
    world.publish()
    world.move(week_is_final(1))
    assert world.bring() == (["2013-09", "2013-10"], ["2013-09-30", "2013-10-07"])
    assert world.bring() == ([], [])
    world.publish()  # another version of the same rows
    assert world.bring() == ([], [])


def test_an_outcome_that_never_comes_stays_null_and_shadows_are_not_answers(world):
    world.answer(0)
    world.outcomes["N0-3"] |= {"late": None, "label_timestamp": None}
    del world.outcomes["N0-4"]
    world.answer(1, answered=False, variant="shadow")
    world.publish()
    world.move(week_is_final(1))
    world.bring()
    rows = world.read("outcomes")
    assert rows.height == ROWS
    unlabelled = rows.filter(pl.col("late").is_null()).sort("prediction_id")
    assert unlabelled["prediction_id"].to_list() == ["N0-3", "N0-4"]
    assert unlabelled["id"].to_list() == ["N0-3", None]
    counted = world.read("performance").filter(slice="all", metric="rows")
    assert counted.select("rows", "labelled").row(0) == (ROWS, ROWS - 2)


def test_labels_that_have_not_passed_their_gates_are_not_read(world):
    world.answer(0)
    world.move(week_is_final(0))
    with pytest.raises(GateClosed, match="example/outcomes cannot read published/t: nothing published"):
        world.bring()
    assert not world.platform.lake.exists(OUTCOMES)


def test_a_text_that_was_missing_finds_its_outcome(world):
    world.answer(0, tailnum=[""] + [f"N0-{n}" for n in range(1, ROWS)])
    world.outcomes[""]["tailnum"] = None
    world.publish()
    world.move(week_is_final(0))
    world.bring()
    assert world.read("outcomes").filter(prediction_id="N0-0")["late"].item() is not None


def test_the_running_window_is_marked_and_not_judged(world):
    world.answer(0)
    world.publish()
    world.move(MONDAY + timedelta(days=5))
    assert world.bring()[1] == ["2013-09-30"]
    assert world.read("performance")["final"].to_list()[0] is False
    assert judged(world) == []
    assert "running" in told(world.platform, MODEL)
    world.move(week_is_final(0))
    assert world.bring()[1] == ["2013-09-30"]
    assert world.read("performance")["final"].all()


def test_each_window_is_judged_once_and_its_verdicts_bear_its_first_day(seasoned):
    first = judged(seasoned)
    found = verdicts(seasoned)
    assert {partition for partition, _ in found} == {"2013-09-30", "2013-10-07", "2013-10-14"}
    assert {check for _, check in found} == set(CHECKS)
    warned = {key for key, verdict in found.items() if not verdict.passed}
    faults = {"calibration", "served_drift", "prediction_drift", "novelty"}
    assert {p for p, _ in warned} == {"2013-10-14"}
    assert {c for _, c in warned} <= faults
    assert ("2013-10-14", "served_drift") in warned
    about = found["2013-10-14", "performance"].evidence
    assert (about["version"], about["rows"], about["start"], about["end"]) == (
        "1",
        ROWS,
        "2013-10-14T00:00:00+00:00",
        "2013-10-21T00:00:00+00:00",
    )
    assert about["roc_auc"]["low"] < about["roc_auc"]["value"] < about["held_out"] + 0.1
    assert "not_judged" in found["2013-09-30", "calibration"].evidence
    assert len(first) == 18
    count = seasoned.platform.verdicts.rows(PERFORMANCE).height
    assert {j.partition for j in judged(seasoned)} == {"2013-10-14"}  # shown again, not recorded again
    assert seasoned.platform.verdicts.rows(PERFORMANCE).height == count
    page = seasoned.platform.settings.reports / "monitoring" / "example-2013-10-14-window-v1.html"
    assert "<b>served_drift</b> warns" in page.read_text()
    assert [path.name for path in page.parent.glob("*-window-*")] == [page.name]  # the calm weeks have none
    table = told(seasoned.platform, MODEL)
    assert [line.split()[0] for line in table.split("\n")[1:]] == ["window", "2013-09-30", "2013-10-07", "2013-10-14"]
    assert "served_drift" in table.splitlines()[-1]
    assert table.splitlines()[2].endswith("nothing")


def test_a_page_can_be_asked_for_and_records_nothing(seasoned):
    count = seasoned.platform.verdicts.rows(PERFORMANCE).height
    page = write_page(seasoned.platform, MODEL, "2013-10-07")
    assert "<b>performance</b> holds: version 1, 2013-10-07 to 2013-10-14" in page.read_text()
    page.unlink()
    assert seasoned.platform.verdicts.rows(PERFORMANCE).height == count
    with pytest.raises(LookupError, match="no window of example begins on 2013-10-08; there are: 2013-09-30, 2013"):
        write_page(seasoned.platform, MODEL, "2013-10-08")


def test_a_check_that_crashes_has_failed_and_is_no_breach_and_is_tried_again(world):
    world.answer(0)
    world.publish()
    world.move(week_is_final(0))
    world.bring()
    judged(world)  # no version is registered: there are no held-out answers
    found = verdicts(world)
    crashed = found["2013-09-30", "performance"]
    assert not crashed.passed
    assert "content" not in crashed.evidence
    assert "no version 1 of model 'example'" in crashed.evidence["summary"]
    assert found["2013-09-30", "serving_health"].passed
    assert "performance crashed" in told(world.platform, MODEL)
    world.register()
    judged(world)
    assert "content" in verdicts(world)["2013-09-30", "performance"].evidence


def test_windows_with_few_labels_are_not_judged(world):
    world.answer(0, rows=150)
    world.publish()
    world.move(week_is_final(0))
    world.bring()
    assert judged(world) == []
    assert told(world.platform, MODEL).endswith("not judged")


def test_the_whole_stage_runs_through_dagster(seasoned, tmp_path):
    assets = [predictions_asset(MODEL), performance_asset(MODEL), *outcomes_assets(MODEL), performance_checks(MODEL)]
    others = [dg.AssetSpec(["example", "deployment"]), dg.AssetSpec(["published", "t"])]
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        done = dg.materialize([*assets, *others], instance=instance, resources={"platform": seasoned.platform})
        assert done.success
        shown = {e.check_name: e for e in done.get_asset_check_evaluations()}
        assert set(shown) == {*CHECKS, "freshness"}
        assert (shown["served_drift"].passed, shown["served_drift"].severity) == (False, dg.AssetCheckSeverity.WARN)
        assert "2013-10-14 to 2013-10-21" in shown["served_drift"].description
        assert "report" in shown["served_drift"].metadata
        assert {"plot", "evidence"} <= shown["performance"].metadata.keys()
        (made,) = done.asset_materializations_for_node("example__performance")
        assert "data:image/png" in made.metadata["score and calibration"].value
        assert "2013-10-14" in made.metadata["windows"].value
        (rows,) = done.asset_materializations_for_node("example__outcomes")
        assert rows.metadata["with a label"].value == 3 * ROWS


def test_the_sensor_starts_once_a_day_and_names_the_window_that_has_matured(world):
    job = dg.define_asset_job("example_monitor", selection=dg.AssetSelection.assets(["example", "predictions"]))
    sensor = monitor_sensor(MODEL, job)
    cursor = None

    def look():
        nonlocal cursor
        context = dg.build_sensor_context(cursor=cursor, resources={"platform": world.platform})
        (found,) = sensor(context)
        cursor = context.cursor
        return found

    world.move(week_is_final(0) + timedelta(days=2))
    assert look().run_key == "example:window 2013-09-30"
    assert isinstance(look(), dg.SkipReason)
    world.move(week_is_final(0) + timedelta(days=3))
    assert look().run_key == "example:day 2013-10-09"
    world.move(week_is_final(1))
    assert look().run_key == "example:window 2013-10-07"
    world.move(week_is_final(4))
    assert look().run_key == "example:window 2013-10-28"
    assert isinstance(look(), dg.SkipReason)


def test_the_job_holds_the_three_tables_and_all_their_checks():
    parts = [predictions_asset(MODEL), performance_asset(MODEL), *outcomes_assets(MODEL)]
    assets = [part for part in parts if not isinstance(part, dg.AssetChecksDefinition)]
    checks = [performance_checks(MODEL), *(part for part in parts if isinstance(part, dg.AssetChecksDefinition))]
    wired = dg.Definitions(assets=assets, asset_checks=checks, jobs=[monitor_job(MODEL)], resources={"platform": None})
    layer = wired.resolve_job_def("example_monitor").asset_layer
    assert {key.path[-1] for key in layer.selected_asset_keys} == {"predictions", "outcomes", "performance"}
    assert {key.name for key in layer.asset_graph.asset_check_keys} == {*CHECKS, "freshness"}


def test_freshness_tells_of_labels_and_answers_that_lag_behind_the_clock(world):
    world.answer(0)
    world.publish()
    (check,) = [part for part in outcomes_assets(MODEL) if isinstance(part, dg.AssetChecksDefinition)]

    def look(instant):
        world.move(instant)
        with dg.DagsterInstance.ephemeral() as instance:
            asset = dg.AssetSpec(["example", "outcomes"])
            done = dg.materialize(
                [asset, check],
                instance=instance,
                resources={"platform": world.platform},
                selection=dg.AssetSelection.checks(*check.check_keys),
            )
            (found,) = done.get_asset_check_evaluations()
            return found

    fresh = look(MONDAY + timedelta(days=7, hours=3))
    assert fresh.passed, fresh.description
    late = look(MONDAY + timedelta(days=9))
    assert not late.passed
    assert "answers: is fresh" in late.description
    assert "labels: is late" in late.description
    assert "answers: is late" in look(MONDAY + timedelta(days=15)).description
