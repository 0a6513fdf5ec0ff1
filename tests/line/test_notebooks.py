"""The shipped notebooks run clean on what the demo left, and say what the platform's own parts say."""

from datetime import timedelta

import dagster as dg
import nbformat
import polars as pl
import pytest

from assets.drill_registry import slip_through
from assets.notebook_home import Home, ReadPlatform
from assets.notebook_run import NOTEBOOKS, execute
from assets.reports import address_of
from checks.drift_statistics import compare

SHIPPED = ("drift_review", "explore", "model_review")


@pytest.fixture(scope="module")
def home(line):
    return Home(ReadPlatform(line.settings))


def require_clean(notebook, page):
    cells = nbformat.read(notebook, 4).cells
    complaints = [o.text for c in cells for o in c.get("outputs", []) if o.get("name") == "stderr"]
    assert complaints == []
    assert "<table" in page.read_text()


@pytest.mark.parametrize("name", ["drift_review", "explore"])
def test_it_runs_clean_and_shows_a_picture(line, name, tmp_path):
    done = execute(name, {}, line.settings, tmp_path / name)
    require_clean(done.notebook, done.page)
    assert done.picture.startswith(b"\x89PNG")


def test_one_command_executes_a_notebook_as_its_asset_which_links_to_the_page(copied):
    done = copied.command("make", "notebook", "NAME=model_review", "VERSION=1")
    assert done.returncode == 0, done.stdout + done.stderr
    page = copied.settings.reports / "notebooks" / "model_review-flight_delay-v1.html"
    assert f"page: {page}" in done.stdout
    event = copied.instance.get_latest_materialization_event(dg.AssetKey(["flight_delay", "model_review"]))
    metadata = event.asset_materialization.metadata
    require_clean(metadata["executed notebook"].value, page)
    assert metadata["page"].value == address_of(copied.settings, page)
    assert "data:image/png;base64," in metadata["preview"].value


def test_there_are_no_others():
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == list(SHIPPED)


def test_a_feature_asked_for_before_its_row_was_known_has_the_value_of_the_row_before(home):
    rows = home.read("published/aircraft_state").filter(pl.col("tailnum") == "N725MQ").collect()
    known = rows.sort("event_timestamp").tail(50)
    just_before = known.select("tailnum", pl.col("event_timestamp") - timedelta(microseconds=1))
    feature = ["aircraft_state:last_arr_delay"]
    then = home.as_of(known.select("tailnum", "event_timestamp"), feature)["aircraft_state__last_arr_delay"]
    before = home.as_of(just_before, feature)["aircraft_state__last_arr_delay"]
    fresh = known["event_timestamp"].diff() < timedelta(days=3)
    assert then.to_list() == known["last_arr_delay"].to_list()
    assert before.filter(fresh).to_list() == known["last_arr_delay"].shift().filter(fresh).to_list()
    assert fresh.sum() > 10


def test_the_drift_review_draws_the_very_windows_that_the_check_judged(home):
    drift = home.drift("flight_delay", "2013-07")
    rows = drift.of_month().to_dicts()
    assert len({(row["view"], row["column"]) for row in rows}) > 10
    for row in rows[:5]:
        assert compare(*drift.pair(row).sides).distance == pytest.approx(row["distance"]), row
    with pytest.raises(LookupError, match="no verdict of 'feature_drift' on '2015-07'"):
        home.drift("flight_delay", "2015-07")


def test_the_model_review_has_the_metrics_that_the_model_was_registered_with(home):
    review = home.review("flight_delay")
    champion = review.reviewed
    measured = dict(review.metrics().iter_rows())
    assert champion.aliases == ("champion",)
    assert measured["roc_auc"] == pytest.approx(champion.metrics["test_roc_auc"], abs=1e-6)
    assert {"promotion", "serving_drift", "leakage"} <= set(review.gates()["check"])
    assert review.gates()["passed"].all()
    with pytest.raises(LookupError, match="no version 99 of model 'flight_delay'"):
        home.review("flight_delay", "99")


def test_a_notebook_cannot_let_a_batch_pass(home):
    with pytest.raises(PermissionError, match="was opened to be read"):
        home.platform.publications.publish("aircraft_state", {"2013-01": 0}, actor="a notebook")


def test_a_challenger_stands_beside_the_champion_on_the_same_rows(copied):
    version = slip_through(copied.platform, "flight_delay", "1", shift=0.7)
    copied.platform.registry.challenge("flight_delay", version)
    review = Home(ReadPlatform(copied.settings)).review("flight_delay")
    metrics = review.metrics()
    assert metrics.columns == ["metric", "version 2 (challenger)", "version 1 (champion)"]
    _, challenger, champion = metrics.row(by_predicate=pl.col("metric") == "calibration_error")
    assert challenger > 5 * champion, "the gates let it slip; the review shows it"
    assert {len(answers) for answers in review.answers.values()} == {review.contest.rows.height}
