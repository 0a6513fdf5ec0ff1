"""A search in this process: its trials, their runs in MLflow, folds, the report, a study that is damaged or full."""

import json
import re
import shutil
import subprocess
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from optuna.trial import TrialState, create_trial

from ml.folds import make_folds
from ml.lake import Lake
from ml.registry import PARENT_RUN, Registry
from ml.search import _one_line, _rows_before_test
from ml.search_report import outcome_of, told
from ml.search_space import Choice, Range, SearchSpace
from ml.search_study import open_study
from ml.search_trial import Trials, answers_file, work
from tests.ml.synthetic import SPEC, training_rows

ROWS = training_rows(count=1500)
SPACE = SearchSpace(
    entries={
        "network.hidden": Choice(values=((4,), (16,))),
        "training.learning_rate": Range(low=1e-4, high=1e20, log=True),
        "training.epochs": Range(low=2, high=4),
    }
)


@pytest.fixture(scope="module")
def registry(tmp_path_factory) -> Registry:
    folder = tmp_path_factory.mktemp("mlflow")
    return Registry(f"sqlite:///{folder}/mlflow.db", folder / "artifacts")


def trials_in(
    folder: Path, registry: Registry, rows: pl.DataFrame = ROWS, seconds: float = 60.0, folds: int = 1
) -> Trials:
    with registry.recording(SPEC.name) as run:
        search = run.run_id
    study = open_study(folder / "study", seed=1)
    cut = make_folds(SPEC, rows, folds)
    return Trials(SPEC, SPACE, cut, study, registry, search, torch.device("cpu"), time.monotonic() + seconds)


def run_of(trials: Trials, number: int):
    return trials.registry.client.get_run(trials.study.trials[number].user_attrs["run_id"])


def queue(trials: Trials, **changes) -> None:
    own = SPACE.own(SPEC)
    trials.study.study.enqueue_trial({**own, **{f"training.{name}": value for name, value in changes.items()}})


def test_the_first_trial_is_the_spec_as_it_is_and_every_trial_is_a_run_inside_the_search(tmp_path, registry):
    trials = trials_in(tmp_path, registry)
    trials.study.want_as_it_is(SPACE.own(SPEC))
    queue(trials, learning_rate=1e20)
    work(trials, most=2)
    first, second = trials.study.trials
    assert SPACE.applied(first.params, SPEC) == SPEC
    assert trials.study.reference == first
    run = run_of(trials, 0)
    assert run.info.status == "FINISHED"
    assert run.data.tags["state"] == "complete"
    assert run.data.tags[PARENT_RUN] == trials.search
    assert run.data.params["training.learning_rate"] == "0.01"
    assert run.data.metrics["validation_loss"] == pytest.approx(first.value)
    losses = [m.value for m in trials.registry.client.get_metric_history(run.info.run_id, "epoch_validation_loss")]
    assert len(losses) == SPEC.training.epochs
    assert min(losses) == pytest.approx(first.value)
    assert second.state == TrialState.FAIL
    failed = run_of(trials, 1)
    assert failed.info.status == "FAILED"
    assert re.search("loss of model 'lateness' is (nan|inf)", failed.data.tags["reason"])


def test_a_trial_worse_than_the_median_of_others_is_given_up_but_never_the_spec_as_it_is(tmp_path, registry):
    trials = trials_in(tmp_path, registry)
    for _ in range(5):  # what others had at each tenth of their schedule: unreachably good
        good = {step: 0.1 for step in range(1, 11)}
        trials.study.study.add_trial(
            create_trial(value=0.1, params=SPACE.own(SPEC), distributions=SPACE.distributions, intermediate_values=good)
        )
    queue(trials)
    trials.study.want_as_it_is(SPACE.own(SPEC))
    work(trials, most=2)
    given_up, reference = trials.study.trials[5:]
    assert given_up.state == TrialState.PRUNED
    assert 1 < max(given_up.intermediate_values) < 10
    assert run_of(trials, 5).info.status == "FINISHED"
    assert run_of(trials, 5).data.tags["state"] == "pruned"
    assert reference.state == TrialState.COMPLETE


def test_a_trial_that_the_end_of_the_minutes_cuts_is_first_in_the_next_search(tmp_path, registry):
    trials = trials_in(tmp_path, registry)
    drawn = trials.study.begin(SPACE.distributions, trials.search, None, trials.until)
    assert drawn is not None
    assert replace(trials, until=time.monotonic()).run(drawn) is None
    cut, waiting = trials.study.trials
    assert (cut.state, waiting.state) == (TrialState.PRUNED, TrialState.WAITING)
    assert run_of(trials, 0).data.tags["reason"].startswith("the minutes of the search were over")
    work(trials, most=None)
    assert len(trials.study.trials) == 2, "its minutes are over: it must not begin the same trial again"
    work(replace(trials, search="the next"), most=1)
    assert trials.study.trials[1].params == drawn.params
    assert trials.study.trials[1].state == TrialState.COMPLETE


def test_no_trial_begins_after_the_minutes_or_the_number_asked_for(tmp_path, registry):
    trials = trials_in(tmp_path, registry, seconds=0.0)
    work(trials, most=None)
    assert not trials.study.trials


def test_rows_of_the_test_window_change_nothing(tmp_path, registry):
    inside = pl.col(SPEC.outcome.prediction_time) >= SPEC.split.test.start
    label = SPEC.outcome.label
    corrupted = ROWS.with_columns(
        pl.when(inside).then(1 - pl.col(label)).otherwise(pl.col(label)).alias(label),
        pl.when(inside).then(1e30).otherwise(pl.col("distance")).alias("distance"),
        pl.when(inside).then(pl.lit("zz")).otherwise(pl.col("carrier")).alias("carrier"),
    )
    assert not corrupted.equals(ROWS)
    found = []
    for name, rows in {"real": ROWS, "corrupted": corrupted}.items():
        Lake(tmp_path / name).replace("lateness/training_set", rows, metadata={"content": "same"})
        read, _ = _rows_before_test(SPEC, str(tmp_path / name / "lateness/training_set"), 0)
        assert read[SPEC.outcome.prediction_time].max() < SPEC.split.test.start
        trials = trials_in(tmp_path / name, registry, read)
        trials.study.want_as_it_is(SPACE.own(SPEC))
        work(trials, most=1)
        found.append(trials.study.trials[0].value)
    assert found[0] == found[1]


def test_folds_follow_each_other_in_time_and_the_last_is_the_specs_own(tmp_path):
    folds = make_folds(SPEC, ROWS, 3)
    outcome = SPEC.outcome
    for fold in folds:
        first = fold.validation[outcome.prediction_time].min()
        assert fold.train[outcome.prediction_time].max() < first
        assert fold.train[outcome.label_timestamp].max() <= first
    for earlier, later in pairwise(folds):
        assert earlier.validation[outcome.prediction_time].max() < later.validation[outcome.prediction_time].min()
        assert earlier.train.height < later.train.height
    assert folds[-1].validation.equals(make_folds(SPEC, ROWS)[0].validation)
    with pytest.raises(ValueError, match="9 folds do not fit model 'lateness': its train window holds 3"):
        make_folds(SPEC, ROWS, 9)


def test_with_folds_the_loss_is_their_mean(tmp_path, registry):
    trials = trials_in(tmp_path, registry, folds=2)
    trials.study.want_as_it_is(SPACE.own(SPEC))
    work(trials, most=1)
    client, run = trials.registry.client, run_of(trials, 0)
    histories = [client.get_metric_history(run.info.run_id, f"fold_{n}_epoch_validation_loss") for n in (1, 2)]
    least = [min(metric.value for metric in history) for history in histories]
    assert trials.study.trials[0].value == pytest.approx(np.mean(least))


def reported(folder: Path, better: float):
    """Report on a study of the spec as it is and one trial that answers `better` (0: the same, 1: the labels)."""
    folds = make_folds(SPEC, ROWS)
    study = open_study(folder, seed=1)
    labels = folds[0].validation[SPEC.outcome.label].to_numpy()
    plain = np.random.default_rng(1).random(len(labels))
    noise = np.random.default_rng(2).normal(size=len(labels)) * 0.02
    for number, answers in enumerate((plain, plain + noise + better * labels)):
        params = {**SPACE.own(SPEC), "training.epochs": 4 - number}
        study.study.add_trial(
            create_trial(
                value=0.5 - number * 0.1,
                params=params,
                distributions=SPACE.distributions,
                user_attrs={"as_it_is": number == 0, "seconds": 90.0},
            )
        )
        np.savez(answers_file(folder, number), answers.clip(0, 1))
    return outcome_of(SPEC, SPACE, folds, study)


def test_the_report_tells_a_gain_from_noise_and_says_what_to_paste(tmp_path):
    found = reported(tmp_path / "gain", better=0.5)
    lines = "\n".join(told(found, train_seconds=60))
    assert found.beyond_noise
    assert "better beyond noise: ROC AUC +" in lines
    assert "the best of 2 on these very rows" in lines
    assert "ml/models/lateness.py:" in lines
    pasted = re.search(r"training=(TrainingSettings\(.*\)),", lines)
    assert pasted is not None
    assert eval(pasted[1], {"TrainingSettings": type(SPEC.training)}) == found.best_spec.training
    assert "HEADWATER_TRAIN_SECONDS=60" in lines
    assert json.loads(json.dumps(found.as_dict()))["training"]["epochs"] == 3
    noise = reported(tmp_path / "noise", better=0.0)
    assert not noise.beyond_noise
    assert "within noise: ROC AUC" in "\n".join(told(noise, train_seconds=100))


def test_the_report_says_when_nothing_beats_the_spec_and_what_mattered(tmp_path, registry):
    trials = trials_in(tmp_path, registry)
    trials.study.want_as_it_is(SPACE.own(SPEC))
    work(trials, most=1)
    for number in range(8):
        params = {**SPACE.own(SPEC), "training.learning_rate": 10.0**number}
        trials.study.study.add_trial(create_trial(value=5.0 + number, params=params, distributions=SPACE.distributions))
    found = outcome_of(SPEC, SPACE, trials.folds, trials.study)
    assert found.as_it_is
    assert "the best trial is the spec as it is: nothing to change" in told(found, train_seconds=60)
    assert max(found.importance, key=found.importance.__getitem__) == "training.learning_rate"


def test_a_damaged_study_is_refused_and_fresh_puts_it_aside(tmp_path):
    open_study(tmp_path, seed=1).study.enqueue_trial({})
    file = tmp_path / "study.db"
    for path in tmp_path.glob("study.db-*"):
        path.unlink()
    file.write_bytes(b"not a database at all" * 500)
    with pytest.raises(LookupError, match=r"study .*study.db is damaged .*; search with --fresh"):
        open_study(tmp_path, seed=1)
    assert not open_study(tmp_path, seed=1, fresh=True).trials
    assert (tmp_path / "previous" / "study.db").read_bytes().startswith(b"not a database")


def ask_often(study) -> None:
    for _ in range(100):
        study.ask(SPACE.distributions)


def test_a_full_disk_is_said_and_the_study_goes_on_after_it(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a file system: {mounted.stderr.decode().strip()}")
    try:
        study = open_study(disk / "study", seed=1)
        ballast = disk / "ballast"
        ballast.write_bytes(b"\0" * shutil.disk_usage(disk).free)
        with pytest.raises(Exception, match="during the commit") as raised:
            ask_often(study.study)
        assert "make room on the disk and run again: the search goes on" in _one_line(raised.value)
        ballast.unlink()
        again = open_study(disk / "study", seed=1)
        again.study.tell(again.study.ask(SPACE.distributions), 1.0)
        assert len(again.complete) == 1
        del study, again
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
