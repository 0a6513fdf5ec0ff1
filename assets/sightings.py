"""What the monitoring checks said of a model, from the audit table, as the decision to retrain takes it.

Here: reading. Not here: judging windows (the checks themselves) and deciding (`checks/retraining.py`).
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from assets.resources import Platform
from checks.drift import CHECK as FEATURE_DRIFT
from checks.retraining import Past, Sighting
from ml.fingerprint import json_hash
from ml.months import end_of
from ml.spec import ModelSpec


def sightings(platform: Platform, spec: ModelSpec, champion: str) -> list[Sighting]:
    """Return what the spec's signals said, the newest word on each window, in order of time.

    A check that crashed has judged nothing and says nothing.
    """
    found = list(_of_answers(platform, spec))
    if FEATURE_DRIFT in spec.retraining.signals:
        found += _of_views(platform, spec, champion)
    return sorted(found, key=lambda sighting: sighting.start)


def past(platform: Platform, spec: ModelSpec) -> list[Past]:
    """Return the retrainings that were asked for, oldest first."""
    rows = platform.loop_log.rows(spec.name).filter(event="retrain")
    return [Past(at, key) for at, key in rows.select("at", "key").iter_rows()]


def _of_answers(platform: Platform, spec: ModelSpec) -> Iterator[Sighting]:
    length = timedelta(days=spec.monitoring.window_days)
    for row in _newest(platform, f"{spec.name}/performance", spec.retraining.signals):
        evidence = json.loads(row["evidence"])
        if "content" not in evidence:
            continue
        start = datetime.fromisoformat(row["partition"]).replace(tzinfo=UTC)
        summary = str(evidence.get("summary", ""))
        version, content = str(evidence.get("version", "")), str(evidence["content"])
        yield Sighting(row["check"], version, start, start + length, not row["passed"], content, summary)


def _of_views(platform: Platform, spec: ModelSpec, champion: str) -> list[Sighting]:
    """Return a sighting a month of published rows: breached if one view of the model drifted."""
    months: dict[str, list[dict[str, Any]]] = {}
    for view in spec.views:
        for row in _newest(platform, f"published/{view}", (FEATURE_DRIFT,)):
            evidence = json.loads(row["evidence"])
            if "content" in evidence:
                told = {"view": view, "passed": row["passed"], "content": evidence["content"]}
                months.setdefault(row["partition"], []).append({**told, "summary": evidence.get("summary", "")})
    found = []
    for month, rows in months.items():
        moved = [row for row in rows if not row["passed"]]
        start = datetime.fromisoformat(f"{month}-01").replace(tzinfo=UTC)
        content = json_hash([(row["view"], row["content"]) for row in moved or rows])
        summary = "; ".join(f"{row['view']}[{month}]: {row['summary']}" for row in moved)
        found.append(Sighting(FEATURE_DRIFT, champion, start, end_of(month), bool(moved), content, summary))
    return found


def _newest(platform: Platform, table: str, checks: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield the newest verdict of each check and partition, whatever version of the table it was on."""
    rows = platform.verdicts.rows(table).filter(pl.col("check").is_in(list(checks)))
    yield from rows.unique(["partition", "check"], keep="last", maintain_order=True).iter_rows(named=True)
