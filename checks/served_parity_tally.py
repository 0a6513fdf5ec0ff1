"""What came of comparing served with offline features: counts a view and column, why they differ, the first of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from checks.outcome import RULE, Outcome
from checks.served_parity_cells import Cells

WORST_ROWS = 20
NAMED = 3  # columns in the summary; the evidence has all


@dataclass
class Tally:
    """The answers compared so far, of so many that landed."""

    landed: int
    compared: int = 0
    planless: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    views: dict[str, Counter[str]] = field(default_factory=dict)
    columns: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    worst: list[dict[str, Any]] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)

    def add_rows(self, rows: pl.DataFrame, comparable: bool, skipped: Sequence[str]) -> None:
        """Count answers of one version, and its inputs that have nothing to be compared with."""
        self.compared += rows.height if comparable else 0
        self.planless += 0 if comparable else rows.height
        self.skipped.update(dict.fromkeys(skipped, rows.height))

    def add(self, cells: Cells) -> None:
        """Count the cells of one view."""
        counts, read, differ = self.views.setdefault(cells.view, Counter()), cells.read, cells.differ
        counts.update(cells.status.to_list())
        counts["ahead"] += int((cells.ahead & read).sum())
        counts["cells"] += int((read & ~cells.ahead).sum()) * len(cells.found)
        for column, found in cells.found.items():
            if count := int((found & differ).sum()):
                self.columns[column] += count
                counts["differ"] += count
        places = np.flatnonzero(differ).tolist()
        self.reasons.update(cells.why(place) for place in places)
        self.ids.update(cells.rows["prediction_id"].gather(places))
        self.worst += [
            cells.story(place, column)
            for place in places[:WORST_ROWS]
            for column, found in cells.found.items()
            if found[place]
        ]

    def outcome(self, answers: pl.DataFrame) -> Outcome:
        """Return the verdict with its evidence, and the `answers` that differ."""
        total: Counter[str] = sum(self.views.values(), Counter())
        worst = sorted(self.worst, key=lambda cell: cell["time"])[:WORST_ROWS]
        evidence: dict[str, Any] = {
            "landed": self.landed,
            "compared": self.compared,
            "values": total["cells"],
            "differences": total["differ"],
            "not read": total["not_read"],
            "ahead of what is published": total["ahead"],
            "of plans that are gone, or without features": self.planless,
            "not compared": dict(self.skipped),
            "views": {name: dict(counts) for name, counts in self.views.items()},
            "columns": dict(self.columns.most_common()),
            "reasons": dict(self.reasons.most_common()),
        }
        if not worst:
            return Outcome(True, self._agreed(total), evidence, self._by_view())
        failing = answers.filter(pl.col("prediction_id").is_in(list(self.ids)))
        failing = failing.select(pl.lit("served features are those of the offline row").alias(RULE), pl.all())
        return Outcome(
            False,
            self._differs(total, worst[0]),
            {**evidence, "first": worst[0], "worst": worst},
            tuple(worst),
            failing.head(WORST_ROWS),
        )

    def _agreed(self, total: Counter[str]) -> str:
        aside = self._aside(total)
        if not total["cells"]:
            why = "no new answers" if not self.landed else aside or "no answer has features"
            return f"nothing was compared: {why}"
        return f"{self._scope(total)} hold the offline bits" + (f"; not compared: {aside}" if aside else "")

    def _differs(self, total: Counter[str], first: Mapping[str, Any]) -> str:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.reasons.most_common())
        return (
            f"{first['column']} of {first['entity']} in prediction {first['prediction_id']} at {first['time']}: "
            f"served {first['served']} ({first['status']}), offline {first['offline']}; served with "
            f"{_event(first['served event'])}, offline has {_event(first['offline event'])}: {first['why']}; "
            f"{total['differ']:,} of {self._scope(total)} differ, in {self._named()} (by view: {reasons})"
        )

    def _named(self) -> str:
        names, more = list(self.columns)[:NAMED], len(self.columns) - NAMED
        return ", ".join(names) + (f" and {more} more columns" if more > 0 else "")

    def _scope(self, total: Counter[str]) -> str:
        sample = f" (a sample of {self.landed:,})" if self.landed > self.compared + self.planless else ""
        return f"{total['cells']:,} values of {self.compared:,} answers{sample}"

    def _aside(self, total: Counter[str]) -> str:
        found = {
            "rows of views not read": total["not_read"],
            "rows of views newer than what is published": total["ahead"],
            "answers whose plan is gone": self.planless,
            "inputs without an offline row": len(self.skipped) if self.compared else 0,
        }
        return ", ".join(f"{count:,} {what}" for what, count in found.items() if count)

    def _by_view(self) -> tuple[dict[str, Any], ...]:
        states = list(dict.fromkeys(state for counts in self.views.values() for state in counts))
        return tuple(
            {"view": view, **{state: counts[state] for state in states}} for view, counts in self.views.items()
        )


def _event(instant: str) -> str:
    return f"the event of {instant}" if instant else "no event"
