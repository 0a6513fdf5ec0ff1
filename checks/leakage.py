"""The as-of audit of a training set: what it holds must be what was known when each question was asked.

A sample of its rows is made again from raw rows cut off at the question; then all of them from raw rows to which
corrections came late. How rows are made again is in `leakage_rebuild`, how differences are told in `leakage_evidence`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from checks.late_corrections import with_late_corrections
from checks.leakage_evidence import Differences
from checks.leakage_rebuild import Compared, TrainingSet, compare_cut_off, compare_uncut
from checks.outcome import Outcome
from checks.parity_sample import draw_moments
from ml.lake import Lake
from ml.rebuild import RawTables, Rebuilder
from ml.source import Source

CHECK = "leakage"
MOMENTS = 48

_LATER = timedelta(days=1)
_MISSED = 0.01  # probability that the sample holds none of the leaky rows


def check_leakage(
    training_set: TrainingSet, lake: Lake, sources: Sequence[Source], seed: int, moments: int = MOMENTS
) -> Outcome:
    """Audit a training set against the raw tables that it comes from.

    Args:
        training_set: The rows, and how the tables they were joined from were made.
        lake: The lake with the raw versions.
        sources: The declared sources of raw tables.
        seed: The same seed draws the same moments and corrections.
        moments: How many prediction times are drawn, one from each of so many equal parts of the rows.

    Returns:
        A failure names the first value that differs, with what was known then and the raw row that it needs.

    Raises:
        LookupError: a raw version is gone, or its source is no longer declared.
    """
    asked = training_set.rows[training_set.spec.outcome.prediction_time]
    if asked.is_empty() or not training_set.views:
        return Outcome(False, "nothing was compared; a training set needs rows, and features to compare")
    drawn, after = draw_moments(asked, moments, seed), cast(datetime, asked.max()) + _LATER
    rebuilder = Rebuilder(RawTables(lake, sources), threads=1)
    cut_off = compare_cut_off(training_set, rebuilder, drawn)
    spoiled = RawTables(lake, sources, lambda source, rows: with_late_corrections(source, rows, after, seed))
    corrected = compare_uncut(training_set, Rebuilder(spoiled, threads=1))
    evidence = _evidence(training_set, drawn, after, cut_off, corrected)
    if any(compared.differences for compared in (*cut_off, *corrected)):
        return Differences(training_set, rebuilder, cut_off, corrected, evidence).outcome()
    summary = (
        f"{evidence['rows']:,} rows at {len(drawn)} moments hold what was known then, and none of "
        f"{training_set.rows.height:,} rows changes when corrections come late; a leak in "
        f"{evidence['leaky_share_seen']:.1%} of the rows would hardly be missed"
    )
    return Outcome(True, summary, evidence, _by_view(cut_off, corrected))


def _evidence(
    training_set: TrainingSet,
    moments: Sequence[datetime],
    after: datetime,
    cut_off: Sequence[Compared],
    corrected: Sequence[Compared],
) -> dict[str, Any]:
    rows = sum(training_set.asked(moment).height for moment in moments)
    return {
        "moments": [moment.isoformat() for moment in moments],
        "rows": rows,
        "leaky_share_seen": 1 - _MISSED ** (1 / rows),
        **_counts(cut_off),
        "late_corrections": {"known_from": after.isoformat(), "rows": training_set.rows.height, **_counts(corrected)},
    }


def _counts(found: Sequence[Compared]) -> dict[str, int]:
    return {
        "cells": sum(compared.cells for compared in found),
        "differences": sum(compared.differences for compared in found),
    }


def _by_view(cut_off: Sequence[Compared], corrected: Sequence[Compared]) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            "view": compared.view.name,
            "features": len(compared.view.fields),
            "cells as known then": sum(c.cells for c in cut_off if c.view.name == compared.view.name),
            "cells with late corrections": compared.cells,
            "differences": 0,
        }
        for compared in corrected
    )
