"""A new partition of any table against the table's own history of good partitions: schema, volume, values, relations.

The check knows no table. What is measured is in `history_columns`, `history_relations`, `history_pairs`,
`history_exact` and `history_memory`, how far it may move in `history_bounds`; here a partition is judged and the
evidence put together.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from checks.history_bounds import Judged, judge
from checks.history_plot import plot
from checks.history_profile import FORMAT, Profile, build, comparable
from checks.history_restated import RESTATED, compare
from checks.history_rows import MOST, duplicates, failing_rows
from checks.history_views import CREATED, EVENT, PARTITION, Table, Views
from checks.outcome import RULE, Outcome

__all__ = ["CHECK", "FORMAT", "Profile", "Table", "check_history", "profile_of", "while_learning"]

CHECK = "history"
NEAREST = 5
CAUTION = 2.0  # how much wider the margins are between halves of one month: half the rows, and two weeks differ more
TELLING = 1_000  # rows of a month that say what is normal for its table
SHOWN = 5  # statistics of a broken rule in the table
WITHIN = {"nulls", "text", "text length", "correlation", "like its own row before", "far from its own row before"}
WITHIN |= {"by category", "astray", "dependency", "order", "sum", "constant of a sum", "nulls together"}
WITHIN |= {"spans"}


def profile_of(table: Table, partition: str, rows: pl.DataFrame) -> Profile:
    """Return the profile of one partition ("2013-03", or "" for a table without), to keep beside its version."""
    with _one_thread():
        return build(Views(table, partition, rows))


def check_history(
    table: Table, partition: str, rows: pl.DataFrame, past: Sequence[Profile], previous: pl.DataFrame | None
) -> tuple[Outcome, Profile]:
    """Judge one partition by the profiles of good earlier ones, oldest first, and by its own last good version.

    Without history the later half of the partition is judged by its earlier half. A partition that lands again is also
    compared row by row with `previous`. Returns the outcome and the partition's profile, worth keeping if it is good.
    """
    with _one_thread():
        views = Views(table, partition, rows)
        findings = _schema(table, rows, past)
        repeated = duplicates(rows, views.key)
        findings.append(_none_of("duplicates", "rows with the key of another", repeated.height, rows.height))
        if rows.is_empty():
            findings.append(_none_of("volume", "no rows at all", 1, 1))
            return _outcome(views, findings, past, past, []), build(views)
        earlier, restated = list(past), None
        if previous is not None and not previous.is_empty():
            before = Views(table, partition, previous)
            found, restated = compare(views, before)
            findings += found
            earlier.append(build(before))
        now = build(views, set().union(*(p.held() for p in earlier)))
        findings += _judged(views, now, earlier, past) if earlier else _halves(table, partition, views)
        named = repeated.with_columns(pl.lit("duplicates").alias(RULE))
        return _outcome(views, findings, past, earlier, [named] if restated is None else [named, restated]), now


def while_learning(outcome: Outcome, past: Sequence[Profile], wanted: int) -> Outcome:
    """Let pass what only the past tells, until `wanted` good months of `TELLING` rows are there to know what is normal.

    Months of fewer rows differ by chance. What needs no past still fails: schema, duplicates, a partition without rows,
    and its own rows changed.
    """
    months = sum(profile.rows >= TELLING for profile in past)
    if months >= wanted:
        return outcome
    if outcome.passed or not all(row["months"] and row["rule"] != RESTATED for row in outcome.evidence["broken"]):
        return outcome
    count = f"{months} of {wanted} good months of {TELLING:,} rows or more"
    summary = f"passes while the table has {count} to compare with, but {outcome.summary}"
    return replace(outcome, passed=True, summary=summary, failing=None)


def _judged(views: Views, now: Profile, earlier: Sequence[Profile], past: Sequence[Profile]) -> list[Judged]:
    own, before = comparable(views, now, earlier)
    if len(earlier) > len(past):  # its own last version: repeating that is no fault
        own.pop("seen before")
    return list(judge(own, before))


def _halves(table: Table, partition: str, views: Views) -> list[Judged]:
    """Judge the later half of a first partition by its earlier half, by relations: levels may move in two weeks."""
    if views.time is None or not partition or views.height < 1_000:
        return []
    early = views.block < views.block.max() / 2
    first, second = (Views(table, partition, views.frame.filter(pl.Series(half))) for half in (early, ~early))
    before = build(first)
    own, past = comparable(second, build(second, before.held()), [before])
    return list(judge({rule: own[rule] for rule in own if rule in WITHIN}, past, CAUTION))


def _schema(table: Table, rows: pl.DataFrame, past: Sequence[Profile]) -> list[Judged]:
    """Columns missing, new or of another type than declared; bookkeeping, than in the last good partition."""
    expected = {n: t for n, t in (past[-1].schema if past else {}).items() if n in (EVENT, CREATED, PARTITION)}
    expected |= {name: str(dtype) for name, dtype in table.columns.items()}
    found = {name: str(dtype) for name, dtype in rows.schema.items()}
    wrong = [f"{n} is missing" for n in expected if n not in found]
    wrong += [f"{n} is {found[n]}, declared {t}" for n, t in expected.items() if n in found and found[n] != t]
    wrong += [f"{n} is new" for n in found if n not in expected and n not in (EVENT, CREATED, PARTITION)]
    return [_none_of("schema", text, 1, 1) for text in wrong]


def _none_of(rule: str, subject: str, count: int, total: int) -> Judged:
    return Judged(rule, subject, count / max(total, 1), -np.inf, 0.0, np.inf if count else 0.0, 0)


def _outcome(
    views: Views,
    findings: Iterable[Judged],
    past: Sequence[Profile],
    earlier: Sequence[Profile],
    rows: Sequence[pl.DataFrame],
) -> Outcome:
    """Put the evidence together; `earlier` is what was judged by: `past` and, if it landed before, its own version."""
    ranked = sorted(findings, key=lambda f: -f.use)
    broken = [f for f in ranked if f.use > 1]
    names = [p.partition for p in past]
    months = f"{names[0]} to {names[-1]}" if len(names) > 1 else names[0] if names else "no earlier partition"
    count = f"of {len(ranked):,} statistics of {views.height:,} rows are"
    summary = f"{len(ranked) - len(broken):,} {count} as before ({months})"
    if broken:
        summary = f"{len(broken):,} {count} not as before ({months}): "
        summary += "; ".join(_told(f) for f in _varied(broken)[:3])
    evidence = {
        "rows": views.height,
        "history": names,
        "judged": len(ranked),
        "broken": [_row(f, names) for f in broken[:50]],
        "nearest": [_row(f, names) for f in ranked[len(broken) : len(broken) + NEAREST]],
    }
    if not broken:
        return Outcome(True, summary, evidence, _table(ranked, names))
    shown = [frame for frame in (*rows, failing_rows(views, broken, [p.memory for p in earlier])) if frame is not None]
    failing = pl.concat(shown, how="diagonal_relaxed").head(MOST) if shown else None
    return Outcome(False, summary, evidence, _table(ranked, names), failing, plot(views, _varied(broken), past))


def _varied(broken: Sequence[Judged]) -> list[Judged]:
    """The worst of each rule, worst rule first; what a share of rows tells best comes before what needs statistics."""
    worst: dict[str, Judged] = {}
    for finding in broken:
        worst.setdefault(finding.rule, finding)
    return list(worst.values())


def _table(ranked: Sequence[Judged], names: Sequence[str]) -> tuple[Mapping[str, Any], ...]:
    """A row a rule, broken ones first with up to five of their statistics."""
    counts: dict[str, list[Judged]] = {}
    for finding in ranked:
        counts.setdefault(finding.rule, []).append(finding)
    rows = []
    for found in counts.values():
        wrong = [f for f in found if f.use > 1]
        for finding in wrong[:SHOWN] or found[:1]:
            rows.append(_row(finding, names) | {"broken": f"{len(wrong)} of {len(found)}"})
    return tuple(rows)


def _row(finding: Judged, names: Sequence[str]) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "column": finding.subject,
        "passed": finding.use <= 1,
        "observed": _number(finding.observed),
        "expected": _expected(finding),
        "part of margin used": round(min(finding.use, 999.0), 2),
        "months": ", ".join(names[-finding.months :]) if finding.months else "",
    }


def _told(finding: Judged) -> str:
    if finding.rule == "schema":
        return finding.subject
    return f"{finding.rule} of {finding.subject} is {_number(finding.observed)}, expected {_expected(finding)}"


def _expected(finding: Judged) -> str:
    if finding.low == -np.inf:
        return f"at most {_number(finding.high)}"
    if finding.high == np.inf:
        return f"at least {_number(finding.low)}"
    return f"{_number(finding.low)} to {_number(finding.high)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _one_thread() -> Any:
    """Small matrices gain nothing from BLAS threads, which then wait in loops and cost processor time."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")
