"""The worker processes of a search: started, watched, replaced when killed, and ended with it.

Here: processes and what the terminal shows meanwhile. Not here: what a worker does (ml/search_trial.py).
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from ml.search_study import CUT, REASON, SearchStudy

_LOOK_SECONDS = 0.3
_GRACE_SECONDS = 3.0  # of the 5 in which a process that was asked to end must have ended
_LATE_SECONDS = 20.0  # a worker that still runs so long after the minutes is stuck
_REPLACED = 3
KILLED = "its process was ended"


@dataclass
class Crew:
    """Processes that run `command` (a worker's, without its number) on one study."""

    command: Sequence[str]
    study: SearchStudy
    until: float
    lock: int
    say: Callable[[str], None]
    environment: Mapping[str, str] = field(default_factory=dict)
    workers: dict[int, subprocess.Popen] = field(default_factory=dict)
    shown: set[int] = field(default_factory=set)
    replaced: int = 0

    def run(self, count: int, threads: int) -> None:
        """Run `count` workers until all are done. Raises LookupError with the last words of one that failed."""
        self.shown = {trial.number for trial in self.study.trials if trial.state.is_finished()}
        for number in range(count):
            self._start(number, threads)
        while self.workers:
            time.sleep(_LOOK_SECONDS)
            for number, worker in list(self.workers.items()):
                if worker.poll() is not None:
                    del self.workers[number]
                    self._ended(number, worker, threads)
            self._show()
            if time.monotonic() > self.until + _LATE_SECONDS:
                self.end()

    def end(self) -> None:
        """End all workers; mark what they were at as failed."""
        for worker in self.workers.values():
            worker.terminate()
        until = time.monotonic() + _GRACE_SECONDS
        for worker in self.workers.values():
            try:
                worker.wait(max(until - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        self.workers.clear()
        self.study.give_up()

    def _start(self, number: int, threads: int) -> None:
        environment = {
            **os.environ,
            **self.environment,
            "OMP_NUM_THREADS": str(threads),
            "POLARS_MAX_THREADS": str(threads),
        }
        with _log(self.study.folder, number).open("w") as log:
            self.workers[number] = subprocess.Popen(
                [*self.command, str(number)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=(self.lock,),
                start_new_session=True,  # Ctrl-C reaches the parent alone, which ends them in order
            )

    def _ended(self, number: int, worker: subprocess.Popen, threads: int) -> None:
        if worker.returncode == 0:
            return
        if worker.returncode > 0:
            log = _log(self.study.folder, number)
            words = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise LookupError(f"worker {number} failed: {words[-1]} (its log: {log}); run again to go on")
        self.study.give_up(worker.pid)
        self.say(f"worker {number} was killed by {signal.Signals(-worker.returncode).name}")
        if self.replaced == _REPLACED:
            raise LookupError(
                f"{_REPLACED + 1} workers were killed; if the memory is too small, search with fewer --workers"
            )
        self.replaced += 1
        self._start(number, threads)

    def _show(self) -> None:
        best = self.study.complete[:1]
        for trial in self.study.trials:
            if trial.state.is_finished() and trial.number not in self.shown:
                self.shown.add(trial.number)
                self.say(_line(trial, best, self.until - time.monotonic()))


def usable_threads(workers: int) -> int:
    """Return how many threads a worker gets: the usable cores shared out, at most OMP_NUM_THREADS if that is set."""
    share = max(1, len(os.sched_getaffinity(0)) // workers)
    told = os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(told)) if told.isdigit() and int(told) else share


def worker_command(words: Sequence[str]) -> list[str]:
    """Return the command of a worker with these words; its number comes last."""
    return [sys.executable, "-m", "ml.search", *words]


def _line(trial: FrozenTrial, best: list[FrozenTrial], left: float) -> str:
    state = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}[trial.state]
    state = "cut" if trial.user_attrs.get(CUT) else state
    value = "-" if trial.value is None else f"{trial.value:.5f}"
    found = f"best {best[0].value:.5f} (trial {best[0].number})" if best else "no best yet"
    reason = trial.user_attrs.get(REASON, KILLED)
    tail = f"; {reason}" if trial.state == TrialState.FAIL else ""
    return f"trial {trial.number:>3}  {state:<8} {value:>8}  {found}  {max(left, 0) / 60:.1f} min left{tail}"


def _log(folder: Path, number: int) -> Path:
    return folder / f"worker-{number}.log"
