"""`make model-ci`: verdicts on made-up answers, what is compared and kept, and what is refused."""

import json
import os
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from assets.model_ci_cache import Cache
from assets.model_ci_report import Report
from assets.model_ci_run import months_between, split_of
from assets.model_ci_side import PREDICTIONS_FILE, RESULT
from assets.model_ci_trees import resolve
from assets.model_ci_verdict import Finding, common_rows
from assets.model_ci_work import trained_by
from ml.models.flight_delay import FLIGHT_DELAY
from ml.seed_comparison import compare_seeds
from ml.task import Binary

DAYS, A_DAY, SEEDS = 28, 200, 3
ROWS = DAYS * A_DAY


@pytest.fixture(scope="module")
def world():
    """Labels of 28 days, each with its own rate, and what can be known about them."""
    random = np.random.default_rng(5)
    day = np.repeat(np.arange(DAYS), A_DAY)
    known = random.normal(size=ROWS) + 0.5 * random.normal(size=DAYS)[day]
    label = (random.random(ROWS) < 1 / (1 + np.exp(1 - known))).astype(float)
    return label, known, day


def answers(known, blur, seed_blur, seeds=SEEDS, first=0):
    """Answers that know `known` less well the greater the blur; each seed has its own luck besides."""
    shared = np.random.default_rng(1).normal(size=ROWS)
    for seed in range(first, first + seeds):
        random = np.random.default_rng(100 + seed)
        luck = seed_blur * abs(random.normal())
        yield 1 / (1 + np.exp(-(known + blur * shared + luck * random.normal(size=ROWS))))


def compared(world, base, change):
    label, _, day = world
    sides = [[Binary().scorer(label, answer) for answer in side] for side in (base, change)]
    return compare_seeds(*sides, ROWS, day)


def test_a_truly_worse_and_a_truly_better_change_are_told_from_noise(world):
    good, bad = list(answers(world[1], 0.5, 0.1)), list(answers(world[1], 1.2, 0.1, first=10))
    worse, better = compared(world, good, bad), compared(world, bad, good)
    assert worse.verdict == "worse"
    assert better.verdict == "better"
    assert worse.low < worse.difference < worse.high < 0 < better.low
    assert worse.difference == pytest.approx(-better.difference)


def test_the_same_code_with_other_seeds_is_noise_though_one_pair_of_seeds_looks_better(world):
    base, change = list(answers(world[1], 0.5, 0.5)), list(answers(world[1], 0.5, 0.5, first=10))
    found = compared(world, base, change)
    assert found.verdict == "within noise"
    assert found.seeds_error > 0
    label = world[0]
    scores = [[Binary().scorer(label, a)(np.ones(ROWS)) for a in side] for side in (base, change)]
    assert max(scores[0]) > min(scores[1])
    assert max(scores[1]) > min(scores[0])


def test_the_interval_takes_in_the_noise_of_seeds_and_that_of_days(world):
    calm = compared(world, list(answers(world[1], 0.5, 0.0)), list(answers(world[1], 0.6, 0.0)))
    lucky = compared(world, list(answers(world[1], 0.5, 0.8)), list(answers(world[1], 0.6, 0.8, first=10)))
    assert calm.seeds_error == pytest.approx(0, abs=1e-12)
    assert calm.days_error > 0
    assert lucky.high - lucky.low > 2 * (calm.high - calm.low)


def test_equal_training_is_called_different_about_as_often_as_promised():
    """Scores drawn from one distribution, 3 seeds a side: at 95%, about 1 in 20 intervals leave out zero."""
    random = np.random.default_rng(11)
    wrong = 0
    for _ in range(400):
        sides = [[lambda weight, value=value: value for value in random.normal(0.7, 0.01, SEEDS)] for _ in range(2)]
        wrong += compare_seeds(*sides, 10, np.arange(10), resamples=20).verdict != "within noise"
    assert 0.02 < wrong / 400 < 0.09


def test_one_seed_a_side_has_no_noise_to_tell(world):
    (only,) = answers(world[1], 0.5, 0.1, seeds=1)
    with pytest.raises(ValueError, match="at least 2 a side"):
        compared(world, [only], [only])


def result(folder, label, task="binary", asked=0):
    folder.mkdir()
    start = datetime(2013, 1, 1, tzinfo=UTC)
    rows = {"row_id": [str(i) for i in range(len(label))], "label": label, "7": [0.5] * len(label)}
    when = [start + timedelta(hours=i + asked) for i in range(len(label))]
    pl.DataFrame(rows).with_columns(prediction_time=pl.Series(when)).write_parquet(folder / PREDICTIONS_FILE)
    (folder / RESULT).write_text(json.dumps({"task": task}))
    return folder


def test_another_label_question_or_task_is_not_compared(tmp_path):
    labels = [0, 1] * 50
    base = result(tmp_path / "base", labels)
    assert common_rows(base, result(tmp_path / "same", labels))[1] == ""
    assert "1 of 100 held-out rows have another label" in common_rows(base, result(tmp_path / "a", [1, *labels[1:]]))[1]
    assert "asked at another moment" in common_rows(base, result(tmp_path / "b", labels, asked=1))[1]
    assert "binary model became a regression" in common_rows(base, result(tmp_path / "c", labels, "regression"))[1]
    assert "only 50.0%" in common_rows(base, result(tmp_path / "d", labels[:50]))[1]
    rows, problem, told = common_rows(base, result(tmp_path / "e", labels[:98]))
    assert (rows.height, problem) == (98, "")
    assert "98 held-out rows that both sides have" in told[0]


def test_the_window_is_cut_into_three_parts_in_time_order():
    split, end = split_of(months_between("2013-01..2013-03"))
    days = [(part.end - part.start).days for part in (split.train, split.validation, split.test)]
    assert days == [45, 15, 30]
    assert (split.train.start, split.test.end) == (datetime(2013, 1, 1, tzinfo=UTC), end)
    assert end == datetime(2013, 4, 1, tzinfo=UTC)
    assert split_of(["2013-12"])[1] == datetime(2014, 1, 1, tzinfo=UTC)
    assert months_between("2013-05") == ("2013-05",)


def test_what_judges_or_serves_a_model_does_not_train_it():
    spec = FLIGHT_DELAY.model_dump(mode="json")
    assert trained_by(spec) == trained_by({**spec, "owner": "team:others", "gates": {}, "serving": {}})
    assert trained_by(spec) != trained_by({**spec, "features": spec["features"][1:]})


def test_a_cache_entry_is_whole_or_not_there_and_old_ones_go(tmp_path):
    cache = Cache(tmp_path)
    with cache.work() as folder:
        (folder / "half").mkdir()
    assert list((tmp_path / "work").iterdir()) == []
    (tmp_path / "work" / "4194305-of-a-killed-run").mkdir()  # no process has a number this high
    for number in range(6):
        with cache.work() as folder:
            (folder / "world").mkdir()
            path = cache.put("worlds", "a", f"{number:020}", folder / "world")
        os.utime(path, (number, number))
    assert list((tmp_path / "work").iterdir()) == []
    assert len(list((tmp_path / "worlds").iterdir())) == 4
    assert cache.find("worlds", "a", f"{0:020}") is None
    assert cache.find("worlds", "a", f"{5:020}") == path


def finding(verdict):
    return Finding("m", verdict, "ROC AUC", None, {}, {"score": 0.7, "loss_title": "log loss", "loss": 0.4})


def test_only_a_model_that_is_worse_or_refused_fails_the_pull_request():
    def report(*verdicts):
        cut = {name: {"start": "2013-01-01", "end": "2013-01-02"} for name in ("train", "validation", "test")}
        found = [finding(verdict) for verdict in verdicts]
        return Report("base", "change", "2013-01", cut, 3, [], found, [], 1.0)

    assert report("better", "worse").failed
    assert report("refused").failed
    assert not report("better", "within noise", "new", "gone", "not comparable").failed
    assert report("better", "worse").markdown().startswith("## Model CI: 1 worse, 1 better")
    assert json.loads(json.dumps(report("worse").as_dict()))["findings"][0]["verdict"] == "worse"


@pytest.mark.parametrize(
    "base", ["no-such-branch", "--all", "-h", "main; rm -rf .", "$(id)", "a\nb", "", "HEAD:README.md"]
)
def test_a_base_that_is_no_commit_is_refused_by_name(base):
    with pytest.raises(LookupError, match=r"no commit .*name another"):
        resolve(base)
