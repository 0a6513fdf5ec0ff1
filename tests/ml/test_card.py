import json

import polars as pl
import pytest
import torch

from ml.candidate import make_candidate
from ml.card import MARKDOWN_FILE, PAGE_FILE, ModelCard
from ml.card_pictures import CALIBRATION, IMPORTANCE, THRESHOLD
from ml.markdown import inlined, page, plain, table
from ml.recording import DESCRIPTION_LENGTH
from ml.registry import Registry
from ml.spec import Costs
from tests.ml.synthetic import SPEC, training_rows

CPU = torch.device("cpu")
DECIDING = SPEC.model_copy(
    update={
        "slices": ("carrier", "departure_local"),
        "limits": ("No rain | no <b>snow</b>.",),
        "costs": Costs(action="call", false_alarm=1, miss=4, unit="complaints"),
    }
)
MINUTES = SPEC.model_copy(update={"name": "minutes", "task": "regression"})
PROVENANCE = {
    "training_set": "/lake/lateness/training_set",
    "training_set_version": 3,
    "training_set_hash": "c0ffee" * 10,
    "published/plane": 2,
    "git_commit": "abc",
    "git_dirty": True,
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    return Registry(f"sqlite:///{folder}/mlflow.db", folder / "artifacts")


@pytest.fixture(scope="module")
def candidate(registry, tmp_path_factory):
    return make_candidate(DECIDING, training_rows().lazy(), registry, PROVENANCE, CPU, tmp_path_factory.mktemp("out"))


@pytest.fixture(scope="module")
def regression(registry, tmp_path_factory):
    noisy = pl.Series([float(n % 7) for n in range(4000)])
    rows = training_rows(MINUTES).with_columns(late=pl.col("late") * 30.0 + noisy)
    return make_candidate(MINUTES, rows.lazy(), registry, PROVENANCE, CPU, tmp_path_factory.mktemp("out"))


def test_the_card_is_with_the_run_as_markdown_pictures_and_one_page_that_needs_nothing_else(registry, candidate):
    version = registry.version("lateness", candidate.version)
    markdown = registry.artifact(version, MARKDOWN_FILE).read_text()
    html = registry.artifact(version, PAGE_FILE).read_text()
    for picture in (CALIBRATION, IMPORTANCE, THRESHOLD):
        assert registry.artifact(version, picture).read_bytes().startswith(b"\x89PNG")
        assert f"]({picture})" in markdown
    assert html.count('src="data:image/png;base64,') == 3
    assert 'src="card' not in html
    assert "href=" not in html


def test_the_card_says_what_was_measured(candidate):
    text = candidate.card.markdown
    assert "A made-up model" in text
    assert "team:tests" in text
    assert f"| ROC AUC | {candidate.validation.roc_auc:.4f} [" in text
    assert f"{candidate.test.roc_auc:.4f} [" in text
    assert "| test | 2013-05-01 | 2013-06-01 |" in text
    assert f"{candidate.test.rows:,}" in text
    assert "| 2013-05 |" in text
    assert "| carrier | a |" in text
    assert "departure_local_hour" not in text  # no hour has enough rows
    assert "`plane__delay` (0." in text
    assert candidate.decision.summary in text
    assert "To act is to call" in text


def test_the_card_names_its_limits_and_its_origin_as_they_are(candidate):
    text = candidate.card.markdown
    assert r"- No rain \| no \<b\>snow\</b\>." in text
    assert "`carrier` (3)" in text
    assert "Most often missing" in text
    assert "`/lake/lateness/training_set`, version 3" in text
    assert "`" + "c0ffee" * 10 + "`" in text
    assert "published/plane 2" in text
    assert "`abc` with uncommitted changes (`git.diff`)" in text
    assert candidate.run_id in text
    assert "x86_64 CPU" in text or "CPU," in text


def test_mlflow_shows_the_card_as_the_versions_description(registry, candidate):
    entry = registry.client.get_model_version("lateness", candidate.version)
    assert entry.description == candidate.card.description
    assert len(entry.description) <= DESCRIPTION_LENGTH
    assert "## How good it is" in entry.description
    assert "## Where it comes from" in entry.description
    assert "![" not in entry.description
    assert PAGE_FILE in entry.description


def test_a_long_card_drops_whole_sections_from_the_description_and_says_where_they_are():
    sections = {"What it answers": "a" * 100, "Limits": "b" * 6000, "Rows": "c" * 100}
    found = ModelCard("x", sections, {}).description
    assert "a" * 100 in found
    assert "c" * 100 in found
    assert "bbb" not in found
    assert PAGE_FILE in found


def test_the_decision_is_on_the_version_and_the_run(registry, candidate):
    version = registry.version("lateness", candidate.version)
    assert float(version.tags["decision_threshold"]) == candidate.decision.threshold
    assert version.metrics["decision_threshold"] == pytest.approx(candidate.decision.threshold)
    assert version.metrics["decision_cost_per_row_test"] == pytest.approx(candidate.decision.test.cost)
    assert version.metrics["decision_cost_per_row_test"] < version.metrics["decision_cost_per_row_never_test"]
    assert candidate.as_dict()["decision_threshold"] == candidate.decision.threshold
    json.dumps(candidate.as_dict())


def test_a_regression_has_its_own_metrics_and_nothing_to_decide(registry, regression):
    text = regression.card.markdown
    for title, value in (("RMSE", regression.test.rmse), ("MAE", regression.test.mae)):
        assert title in text
        assert f"{value:.4f}" in text or f"{value:,.2f}" in text
    assert "## When to act" not in text
    assert THRESHOLD not in regression.card.pictures
    assert "decision_threshold" not in registry.version("minutes", regression.version).tags
    assert "states none" in text


def test_text_from_a_spec_stays_text():
    hostile = "<script>alert(1)</script> [a](http://x) | *b* `c`"
    shown = page("t", f"{plain(hostile)}\n\n{table(['x'], [[plain(hostile)]])}", {})
    assert "<script>" not in shown
    assert "<a " not in shown
    assert "<em>" not in shown
    assert plain("late_share_3h of _this_") == r"late_share_3h of \_this\_"


def test_pictures_go_where_the_text_links_to_them():
    assert inlined("![p](p.png) [q](q.png)", {"p.png": b"x"}) == "![p](data:image/png;base64,eA==) [q](q.png)"
