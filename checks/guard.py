"""The one guard: asked by every asset that reads another stage, for exactly the versions it will read.

Dagster's blocking checks hold only inside one run; this holds however a run is started. No verdict
is a refusal.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from checks.required import required_checks
from ml.lake import WHOLE, Lake
from ml.publication import Publications
from ml.verdicts import Verdict, Verdicts


class GateClosed(Exception):
    """A blocking check has not passed on data or a model that somebody was about to read."""


@dataclass(frozen=True)
class Guard:
    """Admits readers to versions whose blocking checks passed."""

    lake: Lake
    verdicts: Verdicts
    publications: Publications

    def admit(self, reader: str, table: str, partitions: Iterable[str] = (WHOLE,)) -> dict[str, int]:
        """Return the version of each partition that `reader` may read, to be read exactly so.

        Raises GateClosed naming table, partition, version, check, run and remedy if a partition is
        missing or any blocking check on its version failed, crashed or never ran.
        """
        wanted = list(partitions)
        versions = self.lake.partition_versions(table, wanted)
        missing = [p for p in wanted if p not in versions]
        if missing:
            raise GateClosed(f"{reader} cannot read {_name(table, missing[0])}: not materialized; materialize it first")
        for partition, version in versions.items():
            self.require(reader, table, version, partition)
        return versions

    def admit_published(self, reader: str, name: str) -> int:
        """Return the published version of a feature table, its checks asked again on the data it came from."""
        current = self.publications.current(name)
        if current is None:
            raise GateClosed(
                f"{reader} cannot read published/{name}: nothing published; materialize published/{name} first"
            )
        for partition, version in current.staged.items():
            self.require(reader, f"features/{name}", version, partition)
        return current.version

    def require(self, reader: str, table: str, version: int, partition: str = WHOLE) -> None:
        """Raise GateClosed unless every blocking check passed on this version of this partition."""
        for check in required_checks(table):
            verdict = self.verdicts.newest(table, version, partition, check)
            if verdict is None or not verdict.passed:
                raise GateClosed(_refusal(reader, table, version, partition, check, verdict))


def _refusal(reader: str, table: str, version: int, partition: str, check: str, verdict: Verdict | None) -> str:
    what = f"{reader} refuses to read {_name(table, partition)} version {version}: check {check!r} "
    if verdict is None:
        return what + f"has no verdict on it; run the check on {_name(table, partition)}, then run {reader} again"
    evidence = verdict.evidence.get("summary", "see the check's evidence")
    return (
        what + f"failed in run {verdict.run_id or 'unknown'} ({evidence}); correct the data, materialize "
        f"{_name(table, partition)} again, then run {reader} again"
    )


def _name(table: str, partition: str) -> str:
    return f"{table}[{partition}]" if partition else table
