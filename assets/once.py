"""What became of a piece of work that sensors start: told by the runs that carry its name in a tag.

So that a restart of the daemon, or of the machine, neither loses the work nor has it done twice.
"""

from dataclasses import dataclass

import dagster as dg
from dagster._core.events import RunFailureReason
from dagster._core.storage.tags import RUN_FAILURE_REASON_TAG

TRIES = 3
KILLED = 10  # a machine may restart and a pod be evicted as often; a run that takes all memory must not go on for ever
_ENDED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_ITS_OWN = [
    reason.value
    for reason in (
        RunFailureReason.STEP_FAILURE,
        RunFailureReason.RUN_EXCEPTION,
        RunFailureReason.JOB_INITIALIZATION_FAILURE,
    )
]


@dataclass(frozen=True)
class Tried:
    """The runs of a piece of work: one is `under_way`, one is `done`, the others ended; by id, newest first.

    `failed` are those that failed by themselves, such as by a step whose process died, or that a person canceled;
    `killed` those that somebody else found to have ended: the run's process was killed, or never came to life.
    """

    under_way: bool
    done: bool
    failed: tuple[str, ...]
    killed: tuple[str, ...]

    @property
    def in_vain(self) -> int:
        """How many tries came to nothing, for the next one's run key."""
        return len(self.failed) + len(self.killed)

    @property
    def given_up(self) -> str:
        """Why nobody should try again by himself, "" if he may."""
        if self.done or self.under_way:
            return ""
        if len(self.failed) >= TRIES:
            return f"failed {len(self.failed)} times, at last in run {self.failed[0][:8]}"
        if len(self.killed) >= KILLED:
            last = self.killed[0][:8]
            return f"was killed, or never began, {len(self.killed)} times, at last in run {last}; had it enough memory?"
        return ""


def tried(instance: dg.DagsterInstance, tag: str, name: str) -> Tried:
    """Return what became of the work `name`, whose runs carry it in `tag`."""
    runs = instance.get_runs(dg.RunsFilter(tags={tag: name}))
    killed = tuple(run.run_id for run in runs if _was_killed(run))
    failed = tuple(run.run_id for run in runs if run.status in _ENDED and not _was_killed(run))
    done = any(run.status == dg.DagsterRunStatus.SUCCESS for run in runs)
    return Tried(len(failed) + len(killed) < len(runs) and not done, done, failed, killed)


def _was_killed(run: dg.DagsterRun) -> bool:
    """Whether somebody else found that it had ended: one that fails says why in a tag of Dagster's."""
    return run.status == dg.DagsterRunStatus.FAILURE and run.tags.get(RUN_FAILURE_REASON_TAG) not in _ITS_OWN
