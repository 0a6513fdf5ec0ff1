"""The one guard: asked by every asset that reads another stage, for exactly the versions it will read.

Dagster's blocking checks hold only inside one run; this holds however a run is started. No verdict
is a refusal. A version of features/<table> stands on the raw months it was built from: they are asked for as well.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from checks.required import required_checks
from ml import remedies
from ml.lake import WHOLE, Lake
from ml.overrides import Override, Overrides
from ml.publication import Publications
from ml.recipe import recipe_of
from ml.verdicts import Verdict, Verdicts

Batch = tuple[str, str, int]  # table, partition, version


class GateClosed(Exception):
    """A blocking check has not passed on data or a model that somebody was about to read."""


@dataclass(frozen=True)
class Problem:
    """A blocking check that did not pass on a version of a partition; `verdict` is None if it never ended."""

    table: str
    partition: str
    version: int
    check: str
    verdict: Verdict | None

    @property
    def reason(self) -> str:
        """What the check found, or that it never ended, and in which run."""
        if self.verdict is None:
            return "has no verdict on it"
        found = self.verdict.evidence.get("summary", "see the check's evidence")
        return f"failed{f' in run {self.verdict.run_id}' if self.verdict.run_id else ''} ({found})"

    @property
    def remedy(self) -> str:
        """What to do about it."""
        name = name_of(self.table, self.partition)
        return f"run the check on {name}" if self.verdict is None else f"correct the data, materialize {name} again"


@dataclass(frozen=True)
class Guard:
    """Admits readers to versions whose blocking checks passed, or that an override lets pass."""

    lake: Lake
    verdicts: Verdicts
    publications: Publications
    overrides: Overrides

    def admit(self, reader: str, table: str, partitions: Iterable[str] = (WHOLE,)) -> dict[str, int]:
        """Return the version of each partition that `reader` may read, to be read exactly so.

        Raises GateClosed naming table, partition, version, check, run and remedy if a partition is
        missing or any blocking check on its version failed, crashed or never ran.
        """
        wanted = list(partitions)
        versions = self.lake.partition_versions(table, wanted)
        missing = [p for p in wanted if p not in versions]
        if missing:
            raise GateClosed(
                f"{reader} cannot read {name_of(table, missing[0])}: not materialized; materialize it first"
            )
        self._refuse(reader, self.problems(table, versions))
        return versions

    def admit_published(self, reader: str, name: str, partitions: Collection[str] | None = None) -> int:
        """Return the published version of a feature table, its checks asked again on the data it came from.

        A reader of some `partitions` only is not kept out by the others.
        """
        current = self.publications.current(name)
        if current is None:
            raise GateClosed(
                f"{reader} cannot read published/{name}: nothing published; materialize published/{name} first"
            )
        staged = {p: v for p, v in current.staged.items() if partitions is None or p in partitions}
        self._refuse(reader, self.problems(f"features/{name}", staged))
        return current.version

    def require(self, reader: str, table: str, version: int, partition: str = WHOLE) -> None:
        """Raise GateClosed unless every blocking check passed on this version of this partition."""
        self._refuse(reader, self.problems(table, {partition: version}))

    def problems(self, table: str, versions: Mapping[str, int]) -> list[Problem]:
        """Return what keeps these versions (by partition), or the raw months they were built on, from being read."""
        batches = [*self._built_on(table, versions), *((table, p, v) for p, v in versions.items())]
        return [problem for name in dict.fromkeys(b[0] for b in batches) for problem in self._asked(name, batches)]

    def passed(self, table: str) -> Callable[[int, str], bool]:
        """Return whether a version and partition of `table` passed every check, without any override: as of now."""
        newest, wanted = self.verdicts.newest_of(table), required_checks(table)
        return lambda version, partition: all(newest.get((version, partition, check), False) for check in wanted)

    def overridden(self, table: str, versions: Mapping[str, int]) -> list[Override]:
        """Return the active overrides on these versions and on the raw months they were built on."""
        batches = {*self._built_on(table, versions), *((table, p, v) for p, v in versions.items())}
        active = [o for name in sorted({b[0] for b in batches}) for o in self.overrides.active(name)]
        return [o for o in active if (o.table, o.partition, o.version) in batches]

    def _asked(self, table: str, batches: Iterable[Batch]) -> Iterator[Problem]:
        passed = self.verdicts.newest_of(table)
        overridden = {(o.version, o.partition, o.check) for o in self.overrides.active(table)}
        for _, partition, version in (batch for batch in batches if batch[0] == table):
            for check in required_checks(table):
                key = (version, partition, check)
                if not passed.get(key, False) and key not in overridden:
                    yield Problem(table, partition, version, check, self.verdicts.newest(table, *key))

    def _built_on(self, table: str, versions: Mapping[str, int]) -> list[Batch]:
        """Return the raw batches that a feature table's months were built from, look-back included, each once."""
        if not table.startswith("features/"):
            return []
        commits = {c["version"]: c["metadata"] for c in self.lake.history(table) if c["version"] in versions.values()}
        recipes = {version: recipe for version, found in commits.items() if (recipe := recipe_of(found))}
        raw = {
            pin: self.lake.partition_versions(pin[0], as_of=pin[1]) for r in recipes.values() for pin in r.raw.items()
        }
        batches = dict[Batch, None]()
        for month, version in versions.items():
            for pin in recipes[version].raw.items() if version in recipes else ():
                until = [partition for partition in sorted(raw[pin]) if partition <= month]
                for partition in until[-recipes[version].look_back_months - 1 :]:
                    batches[(pin[0], partition, raw[pin][partition])] = None
        return list(batches)

    def _refuse(self, reader: str, problems: list[Problem]) -> None:
        if not problems:
            return
        first, more = problems[0], len(problems) - 1
        raise GateClosed(
            f"{reader} refuses to read {name_of(first.table, first.partition)} version {first.version}: "
            f"check {first.check!r} {first.reason}; {first.remedy}, then run {reader} again"
            + (f" (and {more} more: {remedies.here('make quarantine')} lists them)" if more else "")
        )


def name_of(table: str, partition: str) -> str:
    """Return how people read a partition of a table: raw/flights[2013-03]."""
    return f"{table}[{partition}]" if partition else table
