"""Every table's months as they arrived, each judged by the months before it: clean months that history blocks.

Raw tables are read from the published sources, feature tables from the lake that `make demo` leaves. The margins were
set on January to June; July to December are only judged, and none of them may be blocked.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from benchmarks.report import conclude
from checks.history import Profile, Table, check_history
from checks.outcome import Outcome
from ml.dbt_manifest import read_manifest, table_of
from ml.feature_views import BOOKKEEPING, load_feature_views
from ml.lake import PARTITION_KEY, WHOLE, Lake
from ml.settings import Settings
from ml.source import Source
from ml.sources import SOURCES

JUDGED_FROM = "2013-07"
NEAREST = 5


def main() -> None:
    """Judge and print."""
    lake, manifest = Lake(Settings().lake), Settings().dbt_target / "manifest.json"
    blocks: Counter[str] = Counter()
    judged, spent = 0, []
    for table, partitions in [*map(_source, SOURCES), *_features(lake, manifest)]:
        past: list[Profile] = []
        for partition, rows in partitions.items():
            started = time.process_time()
            outcome, profile = check_history(table, partition, rows, past, None)
            spent.append((time.process_time() - started, table.name, partition))
            text = profile.to_json()
            past.append(Profile.from_json(text))
            judged += partition >= JUDGED_FROM
            _tell(table, partition, outcome, spent[-1][0], len(text))
            if not outcome.passed:
                blocks[f"{'July' if partition >= JUDGED_FROM else 'January'} and after"] += 1
                for rule in {row["rule"] for row in outcome.evidence["broken"]}:
                    blocks[rule] += 1
    false = blocks["July and after"]
    print(f"\nblocks by half year and rule: {dict(blocks) or 'none'}")
    print(f"slowest: {max(spent)[1]} {max(spent)[2]}, {max(spent)[0]:.2f} s CPU")
    conclude("clean_year", (judged - false) / judged, 1.0, false_blocks=false, months_judged=judged)


def _tell(table: Table, partition: str, outcome: Outcome, seconds: float, size: int) -> None:
    evidence = outcome.evidence
    near = [*evidence["broken"], *evidence["nearest"]][:NEAREST]
    passed = "passes" if outcome.passed else "IS BLOCKED"
    print(
        f"{table.name} {partition} {passed}: {evidence['judged']} statistics, {seconds:.2f} s CPU, {size / 1000:.0f} kB"
    )
    for row in near:
        print(
            f"    {row['part of margin used']:>7.0%} {row['rule']}: {row['column']} is {row['observed']}, "
            f"expected {row['expected']}"
        )


def _source(source: Source) -> tuple[Table, Mapping[str, pl.DataFrame]]:
    rows = source.read()
    known = source.known_at(rows)
    rows = rows.with_columns(event_timestamp=known, created_timestamp=known)
    table = Table(source.table, source.key, source.schema)
    if source.partition is None:
        return table, {WHOLE: rows}
    return table, _months(rows.with_columns(source.partition.alias(PARTITION_KEY)))


def _features(lake: Lake, manifest: Path) -> Iterator[tuple[Table, Mapping[str, pl.DataFrame]]]:
    keys = {view.name: (*view.join_keys, "event_timestamp") for view in load_feature_views(manifest)}
    for node in read_manifest(manifest)["nodes"].values():
        outcome = node.get("config", {}).get("meta", {}).get("outcome")
        if outcome:
            keys[table_of(node)] = (outcome["row_id"],)
    for name, key in sorted(keys.items()):
        rows = lake.read(f"features/{name}").collect()
        columns = {n: t for n, t in rows.schema.items() if n not in BOOKKEEPING}
        yield Table(f"features/{name}", key, columns), _months(rows)


def _months(rows: pl.DataFrame) -> Mapping[str, pl.DataFrame]:
    parts = rows.partition_by(PARTITION_KEY, as_dict=True)
    return {str(name): part for (name,), part in sorted(parts.items())}
