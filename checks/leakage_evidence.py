"""What a person needs to see of a leak: the worst rows with both values, the raw row behind them, counts by feature."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from checks.leakage_cause import find_cause, find_late_cause
from checks.leakage_rebuild import Compared, TrainingSet
from checks.outcome import RULE, Outcome
from checks.parity_comparison import shown
from ml.packed import Value
from ml.rebuild import Rebuilder
from ml.spec import column_of

WORST_ROWS = 20
FAILING_ROWS = 1_000
CAUSES = 3  # looked for, one a feature: each costs a second

NOT_KNOWN = "was not known then"
CORRECTED = "differs after late corrections"


@dataclass(frozen=True)
class Differences:
    """What differs in a training set: from what was known (`cut_off`), and after corrections that came late."""

    training_set: TrainingSet
    rebuilder: Rebuilder
    cut_off: Sequence[Compared]
    corrected: Sequence[Compared]
    evidence: Mapping[str, Any]

    def outcome(self) -> Outcome:
        """Return the failure with its evidence."""
        worst = self._worst()
        features = {rule: _by_feature(found) for rule, found in self._rules()}
        evidence = {**self.evidence, "features": features, "first": worst[0], "worst": worst}
        return Outcome(False, self._summary(worst[0]), evidence, tuple(worst), self._failing())

    def _rules(self) -> list[tuple[str, Sequence[Compared]]]:
        return [(NOT_KNOWN, self.cut_off), (CORRECTED, self.corrected)]

    def _worst(self) -> list[dict[str, Any]]:
        """Return the first rows that differ, of every feature in turn, with what explains the first of each."""
        worst: list[dict[str, Any]] = []
        for rule, found in self._rules():
            share = max(1, (WORST_ROWS - len(worst)) // max(1, len(_by_feature(found))))
            for number, (compared, feature, places) in enumerate(_first(found, share)):
                cause = self._cause(compared, feature, places[0]) if number < CAUSES else ""
                worst += [self._shown(rule, compared, feature, place, cause) for place in places[:1]]
                worst += [self._shown(rule, compared, feature, place, "") for place in places[1:]]
        return worst[:WORST_ROWS]

    def _cause(self, compared: Compared, feature: str, place: int) -> str:
        what = (self.training_set, self.rebuilder, compared.view, feature, compared.rows[place : place + 1])
        return find_late_cause(*what) if compared.moment is None else find_cause(*what, compared.moment)

    def _shown(self, rule: str, compared: Compared, feature: str, place: int, cause: str) -> dict[str, Any]:
        outcome, row = self.training_set.spec.outcome, compared.rows.row(place, named=True)
        trained, known = _both(row[column_of(feature)], compared.values[column_of(feature)][place])
        return {
            RULE: rule,
            outcome.row_id: row[outcome.row_id],
            "asked at": row[outcome.prediction_time].isoformat(),
            "entity": ", ".join(f"{key}={row[key]!r}" for key in compared.view.join_keys),
            "feature": feature,
            "in the training set": trained,
            "made again": known,
            "can be had from": cause,
        }

    def _summary(self, first: Mapping[str, Any]) -> str:
        outcome = self.training_set.spec.outcome
        late = self.evidence["late_corrections"]
        text = (
            f"{first['feature']} of row {first[outcome.row_id]} asked at {first['asked at']} is "
            f"{first['in the training set']}, made again {first['made again']}"
        )
        if first["can be had from"]:
            text += f"; it can be had from {first['can be had from']}"
        counts = "; ".join(
            f"{rule}: {_listed(_by_feature(found))}" for rule, found in self._rules() if _by_feature(found)
        )
        return (
            f"{text}. {self.evidence['differences']:,} of {self.evidence['cells']:,} cells at "
            f"{len(self.evidence['moments'])} moments differ from what was known, {late['differences']:,} of "
            f"{late['cells']:,} after late corrections ({counts})"
        )

    def _failing(self) -> pl.DataFrame:
        """Return training rows that broke a rule, with the rule; those not known then come first."""
        parts = [
            compared.rows[sorted(set().union(*compared.differ.values()))].with_columns(pl.lit(rule).alias(RULE))
            for rule, found in self._rules()
            for compared in found
            if compared.differ
        ]
        return (
            pl.concat(parts)
            .unique([self.training_set.spec.outcome.row_id, RULE], maintain_order=True)
            .head(FAILING_ROWS)
        )


def _by_feature(found: Sequence[Compared]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for compared in found:
        counts.update({feature: len(places) for feature, places in compared.differ.items()})
    return dict(counts.most_common())


def _first(found: Sequence[Compared], share: int) -> Iterator[tuple[Compared, str, Sequence[int]]]:
    """Yield up to `share` differing places of each feature, from the first comparison that has some."""
    seen = set()
    for compared in found:
        for feature, places in compared.differ.items():
            if feature not in seen:
                seen.add(feature)
                yield compared, feature, places[:share]


def _both(trained: Value, known: Value) -> tuple[str, str]:
    """Return two values as text; floats that print alike with their bits."""
    plain = tuple("null" if value is None else repr(value) for value in (trained, known))
    return (plain[0], plain[1]) if plain[0] != plain[1] else (shown(trained), shown(known))


def _listed(counts: Mapping[str, int]) -> str:
    names = [f"{feature} {count:,}" for feature, count in list(counts.items())[:4]]
    return ", ".join(names) + (f" and {len(counts) - 4} more features" if len(counts) > 4 else "")
