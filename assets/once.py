"""What became of a piece of work that sensors start: told by the runs that carry its name in a tag.

So that a restart of the daemon, or of the machine, neither loses the work nor has it done twice.
"""

from dataclasses import dataclass

import dagster as dg

TRIES = 3
_ENDED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@dataclass(frozen=True)
class Tried:
    """The runs of a piece of work: one is `under_way`, one is `done`, and those that `failed`, by id, newest first."""

    under_way: bool
    done: bool
    failed: tuple[str, ...]

    @property
    def given_up(self) -> bool:
        """Whether it failed so often that nobody should try again by himself."""
        return not self.done and not self.under_way and len(self.failed) >= TRIES


def tried(instance: dg.DagsterInstance, tag: str, name: str) -> Tried:
    """Return what became of the work `name`, whose runs carry it in `tag`."""
    runs = instance.get_runs(dg.RunsFilter(tags={tag: name}))
    failed = tuple(run.run_id for run in runs if run.status in _ENDED)
    done = any(run.status == dg.DagsterRunStatus.SUCCESS for run in runs)
    return Tried(len(failed) + done < len(runs) and not done, done, failed)
