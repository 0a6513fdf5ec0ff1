"""The study of a search on disk: trials that several processes draw from, and that outlive all of them.

Here: opening it, drawing trials, and those left behind by processes that were killed. Not here: what a trial does
(ml/search_trial.py) and reading the outcome (ml/search_report.py).

It is a SQLite database in WAL mode: a process killed in the middle of a write leaves nothing half written and no
lock, as the kernel drops it. Optuna's journal file has neither: a torn line makes it unreadable, and the lock file
of a dead process holds the others up for 30 seconds. The home must be on a local disk, as for MLflow's database.
"""

import fcntl
import os
import shutil
import sqlite3
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

AS_IT_IS = "as_it_is"  # the trial whose settings are the spec's own
CUT = "cut"  # a trial that the end of the minutes cut short
REASON = "reason"
RUN = "run_id"  # its run in MLflow
SEARCH = "search"  # the MLflow run of the search that began it
WORKER = "worker"  # the process that runs it

_TRIES = "tries"
_MOST_TRIES = 2  # of settings whose process was killed: they may be what kills it
_BUSY_SECONDS = 30
_LOCK_SECONDS = 8.0  # workers of a killed search end within 5
_OPEN_RUN = "open_run"

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter("ignore", ExperimentalWarning)


@dataclass(frozen=True)
class SearchStudy:
    """An open study in `folder`; the loss is minimised."""

    folder: Path
    study: optuna.Study

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials, by number."""
        return self.study.get_trials(deepcopy=False)

    @property
    def complete(self) -> list[FrozenTrial]:
        """Those that ran to their end, best first."""
        done = [trial for trial in self.trials if trial.state == TrialState.COMPLETE]
        return sorted(done, key=lambda trial: (trial.value, trial.number))

    @property
    def reference(self) -> FrozenTrial | None:
        """The finished trial of the spec as it is."""
        return next((trial for trial in self.complete if trial.user_attrs.get(AS_IT_IS)), None)

    def begin(
        self, distributions: dict[str, BaseDistribution], search: str, most: int | None, until: float
    ) -> optuna.Trial | None:
        """Draw the next trial, one process at a time.

        None when `search` (a run's id) has begun `most`, or when its minutes are over: a trial of it was cut, or even
        the fastest so far would not end before `until` (time.monotonic, which all processes of a machine share).
        """
        with _locked(self.folder / "draw.lock", fcntl.LOCK_EX):
            begun = [trial for trial in self.trials if trial.user_attrs.get(SEARCH) == search]
            fastest = min((t.duration.total_seconds() for t in self.complete if t.duration), default=0.0)
            over = time.monotonic() + fastest >= until or any(trial.user_attrs.get(CUT) for trial in begun)
            if over or (most is not None and len(begun) >= most):
                return None
            trial = self.study.ask(distributions)
            trial.set_user_attr(SEARCH, search)
            trial.set_user_attr(WORKER, os.getpid())
            return trial

    def want_as_it_is(self, own: dict[str, Any]) -> None:
        """Put the spec's own values first, unless they ran or are about to."""
        over = (TrialState.FAIL, TrialState.PRUNED)
        if not any(trial.user_attrs.get(AS_IT_IS) and trial.state not in over for trial in self.trials):
            self.study.enqueue_trial(own, user_attrs={AS_IT_IS: True})

    def again(self, trial: FrozenTrial, tries: int = 1) -> None:
        """Queue a trial's settings once more, for the try of this number."""
        settings = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        if settings:
            as_it_is = {AS_IT_IS: True} if trial.user_attrs.get(AS_IT_IS) else {}
            self.study.enqueue_trial(settings, user_attrs={**as_it_is, _TRIES: tries})

    def give_up(self, worker: int | None = None) -> list[FrozenTrial]:
        """Mark the running trials of a process that ended (None: of all) as failed; queue their settings again.

        Settings whose process was killed twice are not tried a third time.
        """
        found = [t for t in self.trials if t.state == TrialState.RUNNING]
        found = [t for t in found if worker is None or t.user_attrs.get(WORKER) == worker]
        for trial in found:
            self.study.tell(trial.number, state=TrialState.FAIL)
            tries = trial.user_attrs.get(_TRIES, 1)
            if tries < _MOST_TRIES:
                self.again(trial, tries + 1)
        return found

    def replace_open_run(self, run_id: str | None) -> str | None:
        """Remember which run of MLflow is open for the search; return the one that was never closed."""
        left: str | None = self.study.user_attrs.get(_OPEN_RUN)
        self.study.set_user_attr(_OPEN_RUN, run_id)
        return left


@contextmanager
def only_search(folder: Path) -> Iterator[int]:
    """Hold the study's folder alone; yields the lock's descriptor, for workers to hold it too while they live.

    Raises LookupError if another search holds it, also if only a worker of one that was killed is still ending.
    """
    folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            with _locked(folder / "search.lock", fcntl.LOCK_EX | fcntl.LOCK_NB) as descriptor:
                yield descriptor
                return
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise LookupError(f"another search is running on {folder}; wait for it, or end it") from error
            time.sleep(0.2)


def open_study(folder: Path, seed: int, fresh: bool = False) -> SearchStudy:
    """Open the study in `folder`, created if missing; `fresh` begins anew and puts the old one aside.

    Raises LookupError if its file is damaged.
    """
    file = folder / "study.db"
    if fresh:
        _put_aside(folder)
    (folder / "answers").mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(file, timeout=_BUSY_SECONDS)) as database:
            database.execute("PRAGMA journal_mode=WAL")
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found)
    except sqlite3.OperationalError:  # a full disk, a folder that may not be written
        raise
    except sqlite3.DatabaseError as error:
        raise LookupError(
            f"study {file} is damaged ({error}); search with --fresh, which puts it aside, or restore it from a copy"
        ) from error
    storage = optuna.storages.RDBStorage(
        f"sqlite:///{file}", engine_kwargs={"connect_args": {"timeout": _BUSY_SECONDS}}
    )
    study = optuna.create_study(
        storage=storage,
        study_name=folder.name,
        load_if_exists=True,
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
    )
    return SearchStudy(folder, study)


def _put_aside(folder: Path) -> None:
    previous = folder / "previous"
    shutil.rmtree(previous, ignore_errors=True)
    previous.mkdir(parents=True)
    for path in [*folder.glob("study.db*"), folder / "answers"]:
        if path.exists():
            path.rename(previous / path.name)


@contextmanager
def _locked(path: Path, how: int) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, how)
        yield descriptor
    finally:
        os.close(descriptor)
