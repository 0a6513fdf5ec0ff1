"""What is in use and what may go: planning only, from what the lake, the registry and the settings say.

Nothing is removed here (`assets/vacuum.py` does, through `Lake.vacuum`), and nothing is known of Dagster. Ages are
the machine's, not the replayed clock's: they are about disks, not about facts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ml.lake import Lake
from ml.landing import Good
from ml.publication import Publication, Publications

Commits = Sequence[Mapping[str, Any]]  # as `Lake.history` returns them, newest first


@dataclass(frozen=True)
class Rules:
    """How long what is not in use is kept, and how many published versions one can always go back to.

    Nothing younger than `grace` ever goes: it may belong to somebody who is still writing or reading.
    """

    staged: timedelta
    published: timedelta
    training_sets: timedelta
    logs: timedelta
    runs: timedelta
    rollbacks: int
    grace: timedelta

    def age_of(self, table: str) -> timedelta:
        """Return how long a version of `table` is kept after the next one took its place."""
        stage, _, name = table.partition("/")
        age = self.training_sets if name == "training_set" else self.published if stage == "published" else self.staged
        return max(age, self.grace)


@dataclass
class InUse:
    """Versions that must stay readable, by table: those of the models that serve or may serve, and dbt's."""

    versions: dict[str, set[int]] = field(default_factory=dict)

    def add(self, table: str, versions: Iterable[int]) -> None:
        """Mark versions of a table as in use."""
        self.versions.setdefault(table, set()).update(versions)

    def of(self, table: str) -> set[int]:
        """Return the versions in use of a table."""
        return self.versions.get(table, set())


def kept_versions(table: str, commits: Commits, in_use: set[int], good: Good, rules: Rules, now: datetime) -> set[int]:
    """Return the versions of a table that stay readable.

    They are the newest, those in use, those that were the newest at any time since their kind's age ago, and
    of each partition the version that wrote it last and the last good one, on which the next landing builds.
    """
    since = (now - rules.age_of(table)).timestamp() * 1000
    replaced = [float("inf"), *(commit["timestamp"] for commit in commits)]
    recent = {c["version"] for c, until in zip(commits, replaced, strict=False) if until >= since}
    written, passed = dict[str, int](), dict[str, int]()
    for commit in commits:
        for partition in commit["partitions"]:
            written.setdefault(partition, commit["version"])
            if partition not in passed and good(commit["version"], partition):
                passed[partition] = commit["version"]
    existing = {commit["version"] for commit in commits}
    return recent | set(written.values()) | set(passed.values()) | (in_use & existing)


def publications_in_use(log: Sequence[Publication], joined: set[Any], rollbacks: int) -> list[Publication]:
    """Return what is published now, the last `rollbacks` other versions, and those that models in use learned from.

    `log` is a table's, oldest first; `joined` are the published versions that kept training sets were made from.
    """
    newest = {publication.version: publication for publication in log}
    order = list(dict.fromkeys(publication.version for publication in reversed(log)))
    return [newest[v] for n, v in enumerate(order) if n <= rollbacks or v in joined]


def versions_published(lake: Lake, publications: Publications, table: str, in_use: InUse, rollbacks: int) -> set[int]:
    """Return the versions of published/<name> in use, or those of features/<name> that these came from.

    `in_use` names the training sets of models and the newest scores of each month: the published versions that these
    were joined from are in use too.
    """
    stage, _, name = table.partition("/")
    if stage not in ("published", "features"):
        return set()
    joined = {
        commit["metadata"].get("sources", {}).get(name)
        for learned, versions in in_use.versions.items()
        for commit in (lake.history(learned) if learned.endswith(("/training_set", "/scores")) else [])
        if commit["version"] in versions
    }
    used = publications_in_use(publications.log(name), joined, rollbacks)
    return {p.version for p in used} if stage == "published" else {v for p in used for v in p.staged.values()}


def old_files(folder: Path, before: datetime, in_use: Callable[[Path], bool]) -> list[Path]:
    """Return the files of `folder` last written before an instant that nobody uses, sorted."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if path.stat().st_mtime < before.timestamp() and not in_use(path))
