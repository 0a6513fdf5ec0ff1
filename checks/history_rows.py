"""The judged table's own rows that show a broken rule: what a person looks at first. No rule is judged here."""

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from checks.history_bounds import Judged
from checks.history_dependencies import Dependencies
from checks.history_exact import Exceptions
from checks.history_memory import Memory, category_hashes, edges_of, fence_of
from checks.history_nulls import null_exceptions
from checks.history_views import Views
from checks.outcome import RULE

MOST, EACH = 1_000, 100


def failing_rows(views: Views, broken: Iterable[Judged], past: Sequence[Memory]) -> pl.DataFrame | None:
    """Return up to 1,000 rows with the rule each breaks, of rules that single rows can break; None without any."""
    parts, left = [], MOST
    exceptions = Exceptions(views)
    for finding in broken:
        mask = _mask(views, finding, past, exceptions)
        if mask is None or not mask.any() or left <= 0:
            continue
        rows = views.frame.filter(pl.Series(mask)).head(min(EACH, left))
        parts.append(rows.with_columns(pl.lit(f"{finding.rule}: {finding.subject}").alias(RULE)))
        left -= rows.height
    return pl.concat(parts) if parts else None


def duplicates(rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Return the rows whose key, with the instant of its version, is there more than once."""
    names = [n for n in (*key, "created_timestamp") if n in rows.columns]
    return rows.filter(pl.struct(names).is_duplicated()).sort(names) if names else rows.clear()


def _mask(views: Views, finding: Judged, past: Sequence[Memory], exceptions: Exceptions) -> np.ndarray | None:
    rule, subject = finding.rule, finding.subject
    column = next((n for n in sorted(views.names, key=len, reverse=True) if subject.startswith(n)), None)
    if rule == "dependency":
        return Dependencies(views).rows(subject)
    if rule in ("order", "sum"):
        return exceptions.rows(subject)
    if rule == "nulls together":
        return null_exceptions(views, subject)
    if rule == "nulls" and column is not None and finding.observed > finding.high:
        return views.nulls.get(column)
    if rule == "unseen categories" and column is not None:
        return _unseen(views, column, past)
    if rule in ("outliers", "limits") and column is not None:
        low, high = (fence_of if rule == "outliers" else edges_of)(past, column)
        return (views.numbers[column] < low) | (views.numbers[column] > high)
    if rule == "special values" and column is not None and subject.endswith(": negative"):
        return views.numbers[column] < 0 if finding.observed > finding.high else None
    return None


def _unseen(views: Views, column: str, past: Sequence[Memory]) -> np.ndarray:
    hashes, _ = category_hashes(views)[column]
    known = np.concatenate([m.categories[column] for m in past if column in m.categories])
    codes = views.text_codes[column][0]
    return np.append(~np.isin(hashes, known), False)[codes]
