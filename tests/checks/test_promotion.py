"""The promotion gate on held-out rows of known truth: who passes, who is refused, and what the verdict shows."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure

from checks.contest import Contest
from checks.model_file import ModelFile
from checks.promotion import check_promotion
from checks.promotion_evidence import write_evidence
from checks.promotion_plot import draw
from checks.promotion_slices import judge_slices
from ml.models.flight_delay import FLIGHT_DELAY as SPEC

ROWS = 6000
UNSLICED = SPEC.model_copy(update={"slices": ()})
IMPORTANCE = pl.DataFrame({"feature": ["a", "b"], "loss": [0.05, 0.01], "share": [0.2, 0.04]})
SOUND = ModelFile("0" * 64, 1e-7, 5.0, IMPORTANCE)


def judge(rows, candidate, champion=None, spec=UNSLICED, trouble="", **file):
    measured = dataclasses.replace(SOUND, **file)
    return check_promotion(Contest(spec, rows, candidate, champion, trouble), measured).outcome


@pytest.fixture(scope="module")
def held_out():
    """Held-out rows whose labels are drawn from known probabilities, and those probabilities."""
    random = np.random.default_rng(3)
    signal = random.normal(-2.0, 1.2, ROWS)
    truth = 1 / (1 + np.exp(-signal))
    start = datetime(2013, 10, 1, tzinfo=UTC)
    rows = pl.DataFrame(
        {
            SPEC.outcome.prediction_time: [start + timedelta(minutes=20 * i) for i in range(ROWS)],
            SPEC.outcome.label: (random.random(ROWS) < truth).astype(int),
        }
    )
    return rows, truth, signal


def noisy(signal, scale, seed=5):
    blurred = signal + np.random.default_rng(seed).normal(0, scale, ROWS)
    return 1 / (1 + np.exp(-blurred))


def reasons(outcome):
    return {row["rule"] for row in outcome.table if not row["passed"]}


def test_the_first_good_candidate_passes_without_a_champion(held_out):
    rows, truth, _ = held_out
    outcome = judge(rows, truth)
    assert outcome.passed, outcome.summary


def test_a_candidate_that_beats_the_champion_beyond_noise_passes(held_out):
    rows, truth, signal = held_out
    assert judge(rows, truth, noisy(signal, 1.5)).passed


def test_a_candidate_that_only_knows_better_how_often_it_happens_is_better(held_out):
    rows, truth, signal = held_out
    stale = 1 / (1 + np.exp(-(signal - 0.7)))  # the same order, too low throughout
    assert judge(rows, truth, stale).passed
    assert reasons(judge(rows, stale, truth)) == {"better than the champion", "calibrated"}


def test_a_lower_loss_does_not_buy_a_worse_order(held_out):
    rows, _, signal = held_out
    stale = 1 / (1 + np.exp(-(signal - 1.5)))
    blurred = noisy(signal, 0.4)
    outcome = judge(rows, blurred, stale)
    assert "better than the champion" in reasons(outcome)
    assert "-0." in outcome.summary.partition("log loss")[0].rpartition("ROC AUC")[2]  # the loss is lower indeed


def test_the_same_model_again_is_refused(held_out):
    rows, truth, _ = held_out
    outcome = judge(rows, truth, truth)
    assert reasons(outcome) == {"better than the champion"}
    assert "not better than the champion beyond noise" in outcome.summary


def test_a_worse_candidate_is_refused(held_out):
    rows, truth, signal = held_out
    assert "better than the champion" in reasons(judge(rows, noisy(signal, 0.8), truth))


def test_a_result_too_good_to_be_true_is_refused(held_out):
    rows, *_ = held_out
    leak = np.where(rows[SPEC.outcome.label].to_numpy() == 1, 0.99, 0.01)
    assert "ROC AUC is believable" in reasons(judge(rows, leak))


def test_chance_and_overconfidence_are_refused(held_out):
    rows, truth, _ = held_out
    chance = np.random.default_rng(9).random(ROWS)
    assert {"ROC AUC is high enough", "calibrated"} <= reasons(judge(rows, chance))
    assert reasons(judge(rows, np.sqrt(truth))) == {"calibrated"}


def test_a_champion_that_cannot_be_scored_is_a_refusal_not_a_walkover(held_out):
    rows, truth, _ = held_out
    outcome = judge(rows, truth, trouble="champion, version 1: rows lack ['gone'], which the model reads")
    assert reasons(outcome) == {"better than the champion"}
    assert "rows lack ['gone']" in outcome.summary


def test_what_is_wrong_with_the_file_is_refused_by_name(held_out):
    rows, truth, _ = held_out
    leak = IMPORTANCE.with_columns(share=pl.Series([0.61, 0.04]))
    assert reasons(judge(rows, truth, importance=leak)) == {"no feature carries it alone"}
    assert "a carries 61% of the score" in judge(rows, truth, importance=leak).summary
    for difference in (None, 2e-5, float("nan")):
        assert reasons(judge(rows, truth, onnx_difference=difference)) == {"ONNX answers as torch"}
    assert reasons(judge(rows, truth, row_us=50.1)) == {"cheap enough"}


def test_broken_rules_come_first_and_the_score_has_its_interval(held_out):
    rows, truth, _ = held_out
    table = judge(rows, truth, row_us=99.0).table
    assert [row["passed"] for row in table] == [False] + [True] * 5
    low, high = (float(end) for end in table[1]["observed"].partition("[")[2].rstrip("]").split(", "))
    assert low < judge(rows, truth).evidence["metrics"]["roc_auc"] < high


SLICED = SPEC.model_copy(update={"slices": ("origin", "scheduled_departure_local")})


def sliced_rows(count, shares, seed=4):
    """Rows over 60 days with an origin each (a share of them by name) and hours, their labels from known odds."""
    random = np.random.default_rng(seed)
    signal = random.normal(-1.5, 1.2, count)
    start = datetime(2013, 10, 1, tzinfo=UTC)
    seconds = np.sort(random.integers(0, 60 * 86_400, count))
    return signal, pl.DataFrame(
        {
            SPEC.outcome.prediction_time: [start + timedelta(seconds=int(s)) for s in seconds],
            SPEC.outcome.label: (random.random(count) < 1 / (1 + np.exp(-signal))).astype(int),
            "origin": random.choice(list(shares), count, p=list(shares.values())),
            "carrier": ["AA"] * count,
            "dest": ["MIA"] * count,
            "scheduled_departure_local": random.integers(0, 24, count) * 3600,
        }
    )


def spoilt_where(signal, where, scale=4.0):
    """Answers as good as can be, but noise `where`."""
    noise = np.random.default_rng(8).normal(0, scale, len(signal))
    return 1 / (1 + np.exp(-np.where(where, signal + noise, signal)))


def test_a_candidate_that_gains_everywhere_but_on_one_slice_is_refused_and_the_slice_named():
    signal, rows = sliced_rows(20_000, {"EWR": 0.45, "JFK": 0.45, "LGA": 0.1})
    at_lga = rows["origin"].to_numpy() == "LGA"
    candidate, champion = spoilt_where(signal, at_lga), spoilt_where(signal, ~at_lga, 1.5)
    outcome = judge(rows, candidate, champion, SLICED)
    assert reasons(outcome) == {"no slice lost"}
    assert "worst origin=LGA (" in outcome.summary
    assert outcome.plot.startswith(b"\x89PNG")


def test_noise_on_thirty_slices_refuses_nobody():
    """Equally good models, on slices of 300 rows and more: of 6 draws none may lose one of 30 slices."""
    for seed in range(6):
        signal, rows = sliced_rows(9_000, {f"O{n}": 1 / 6 for n in range(6)}, seed)
        random = np.random.default_rng(seed)
        blurred = [1 / (1 + np.exp(-signal - random.normal(0, 1.0, len(signal)))) for _ in range(2)]
        found = judge_slices(Contest(SLICED, rows, *blurred))
        assert found["lost"].sum() == 0, found.row(0, named=True)
        assert found.height > 30


def test_slices_too_small_to_tell_are_judged_together():
    """Twenty origins of 300 rows, all clearly worse, each within its own noise or not: together they are lost."""
    signal, rows = sliced_rows(12_000, {"EWR": 0.5, **{f"S{n}": 0.025 for n in range(20)}})
    small = rows["origin"].to_numpy() != "EWR"
    candidate, champion = spoilt_where(signal, small, 1.2), spoilt_where(signal, ~small, 1.2)
    found = judge_slices(Contest(SLICED, rows, candidate, champion)).filter(field="origin")
    together = found.filter(value="(20 small ones)").row(0, named=True)
    assert together["lost"]
    assert found.filter(~pl.col("lost")).height > 10


def test_values_too_rare_for_an_interval_are_one_slice():
    signal, rows = sliced_rows(12_000, {"EWR": 0.9, **{f"R{n}": 0.01 for n in range(10)}})
    rare = rows["origin"].to_numpy() != "EWR"
    found = judge_slices(Contest(SLICED, rows, spoilt_where(signal, rare), spoilt_where(signal, ~rare, 0.5)))
    origins = found.filter(field="origin")
    assert set(origins["value"]) == {"EWR", "(others)"}
    assert origins.filter("lost")["value"].to_list() == ["(others)"]
    assert origins.filter(value="(others)")["rows"].item() == rare.sum()


def test_without_a_champion_slices_are_shown_and_refuse_nobody():
    signal, rows = sliced_rows(12_000, {"EWR": 0.5, "JFK": 0.5})
    outcome = judge(rows, spoilt_where(signal, rows["origin"].to_numpy() == "JFK"), spec=SLICED)
    assert "no slice lost" not in reasons(outcome)
    (shown,) = [row["observed"] for row in outcome.table if row["rule"] == "no slice lost"]
    assert "no champion; lowest ROC AUC" in shown
    assert "on origin=JFK" in shown


@pytest.mark.parametrize(
    ("champion", "trouble", "said"),
    [
        (None, "", "no other champion to compare with"),
        (None, "it reads a column that they lack", "champion cannot be scored on these rows"),
        (0.1, "", ""),
    ],
)
def test_the_picture_says_why_nobody_is_beside_the_candidate(held_out, champion, trouble, said, monkeypatch):
    rows, truth, _ = held_out
    drawn = []
    monkeypatch.setattr("checks.promotion_plot.picture", lambda on, *_, **__: drawn.append(title_of(on)))
    beside = None if champion is None else np.full(ROWS, champion)
    draw(Contest(UNSLICED, rows, truth, beside, trouble), pl.DataFrame())
    assert drawn == [said]


def title_of(drawing):
    """Return the title over the left of the two panels."""
    axes = Figure().subplots(1, 2)
    drawing(*axes)
    return axes[0].get_title()


def test_the_evidence_pack_holds_the_verdict_with_all_slices(tmp_path):
    signal, rows = sliced_rows(12_000, {"EWR": 0.5, "JFK": 0.5})
    contest = Contest(SLICED, rows, spoilt_where(signal, False), spoilt_where(signal, True))
    judged = check_promotion(contest, dataclasses.replace(SOUND, row_us=60.0))
    write_evidence(tmp_path, judged, {"model": "flight_delay", "version": "3", "run": "abc"})
    names = {"verdict.json", "verdict.md", "verdict.png", "slices.csv", "importance.csv"}
    assert {path.name for path in tmp_path.iterdir()} == names
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    assert (verdict["verdict"], verdict["version"], verdict["run"]) == ("refused", "3", "abc")
    assert {"JFK", "hour 6"} <= {one["value"] for one in verdict["slices"]}
    assert len(verdict["slices"]) == pl.read_csv(tmp_path / "slices.csv").height == judged.slices.height
    text = (tmp_path / "verdict.md").read_text()
    assert "# Promotion of flight_delay version 3: refused" in text
    assert "| cheap enough | 60.00 us of CPU a row" in text
    assert "raise serving.max_row_us" in text
