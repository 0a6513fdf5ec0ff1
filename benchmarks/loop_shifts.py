"""Shifts put into real weeks: how soon who notices, and how often without a cause.

flight_delay's network learns from January to July as a retraining as of September 1 does. Weeks from September on are
real: as they were, and with a shift put in from a week on, at four places. Headwater's checks on windows of answers and
its decision (defaults: three of four windows) against Evidently's DataDriftPreset and a plain PSI threshold of 0.25 on
any feature, each week and under the same rule of windows. All see the same rows; Evidently 3,000 of either side, drawn
with a seed, for it is slow. Needs the state that `make demo` leaves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

import numpy as np
import polars as pl
import torch

from benchmarks._loop_detectors import WEEK, Learned, evidently, monday, ours, plain_psi
from benchmarks._loop_shifts import Shift, shifts
from benchmarks.report import conclude
from checks.monitoring_window import HeldOut
from checks.retraining import Sighting, decide
from ml.fitted import FittedModel
from ml.lake import Lake
from ml.models import model_named
from ml.settings import Settings
from ml.split import split_rows
from ml.training import fit
from ml.upkeep import RetrainingSettings

SPEC = model_named("flight_delay")
AS_OF = datetime(2013, 9, 2, tzinfo=UTC)
BEGINNINGS, SEEN = (2, 5, 8, 10), 6  # weeks after AS_OF; weeks that are looked at from there
WEEKS = 16
HEADWATER, EVIDENTLY, PLAIN = "Headwater", "Evidently preset", "PSI > 0.25"
Breaches = Mapping[str, bool]  # detector (ours: its signals) to whether a week is breached


@dataclass(frozen=True)
class Seen:
    """After how many weeks somebody saw a shift: the first breached window, and the decision; None: not at all."""

    window: int | None
    decision: int | None


def main() -> None:
    """Measure and print. The ratio: the peers' needless retrainings, the fewer of both, to Headwater's."""
    rows = Lake(Settings().lake).read(f"{SPEC.name}/training_set").collect()
    model, learned = _learned(rows)
    weeks = [_week(rows, AS_OF + n * WEEK) for n in range(-4, WEEKS)]
    clean = [_breaches(learned, model, weeks, n) for n in range(WEEKS)]
    alarms = {name: _alarms(clean, name) for name in (HEADWATER, EVIDENTLY, PLAIN)}
    found = {shift.name: _found(shift, learned, model, weeks, clean) for shift in shifts(SPEC)}
    _print(alarms, found)
    _conclude(alarms, found)


def _learned(rows: pl.DataFrame) -> tuple[FittedModel, Learned]:
    spec = SPEC.as_of(AS_OF)
    parts = split_rows(spec, rows.filter(pl.col(SPEC.outcome.label_timestamp) <= AS_OF))
    model = fit(spec, parts.train, parts.validation, torch.device("cpu"), max_seconds=3600)
    print(f"learned from {parts.train.height:,} rows in {model.seconds:.0f} s", flush=True)
    held = _answered(model, parts.test).with_columns(day=pl.col("time").dt.date())
    return model, Learned(SPEC, parts.train, HeldOut(held.select("answer", "label", "day", "time")))


def _week(rows: pl.DataFrame, start: datetime) -> pl.DataFrame:
    asked = pl.col(SPEC.outcome.prediction_time)
    return rows.filter((asked >= monday(start)) & (asked < monday(start) + WEEK))


def _answered(model: FittedModel, rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows as outcomes hold them: with answer, label, time and what serving adds."""
    return rows.with_columns(
        pl.Series("answer", model.predict(rows).astype(np.float64)),
        pl.col(SPEC.outcome.label).alias("label"),
        pl.col(SPEC.outcome.prediction_time).alias("time"),
        pl.col(SPEC.outcome.row_id).alias("prediction_id"),
        degraded=pl.lit(False),
        taken_ms=pl.lit(2.0),
    )


def _breaches(
    learned: Learned,
    model: FittedModel,
    weeks: Sequence[pl.DataFrame],
    n: int,
    shift: Shift | None = None,
    first: int = 0,
) -> Breaches:
    """Return who calls week n breached; with a shift from week `first` on. The version serves from week 0."""

    def shown(number: int) -> pl.DataFrame:
        own = weeks[number + 4]
        shifted = own if shift is None or number < first else shift.applied(own, number - first)
        return _answered(model, shifted)

    week, before = shown(n), [shown(number) for number in range(max(0, n - 4), n)]
    earlier = pl.concat(before) if before else week.head(0)
    found = dict(ours(learned, week, earlier, monday(AS_OF + n * WEEK)))
    return {**found, EVIDENTLY: evidently(learned, week), PLAIN: plain_psi(learned, week)}


def _found(
    shift: Shift, learned: Learned, model: FittedModel, weeks: Sequence[pl.DataFrame], clean: Sequence[Breaches]
) -> dict[str, list[Seen]]:
    found: dict[str, list[Seen]] = {HEADWATER: [], EVIDENTLY: [], PLAIN: []}
    for first in BEGINNINGS:
        after = [_breaches(learned, model, weeks, n, shift, first) for n in range(first, first + SEEN)]
        whole = [*clean[:first], *after]
        for name, seen in found.items():
            seen.append(_seen(name, whole, first))
    print(
        f"  {shift.name}: {', '.join(f'{name} {[s.decision for s in seen]}' for name, seen in found.items())}",
        flush=True,
    )
    return found


def _seen(name: str, whole: Sequence[Breaches], first: int) -> Seen:
    """Return when a shift from week `first` on was seen; what was raised before does not count."""
    quiet = [dict.fromkeys(week, False) for week in whole[:first]] + list(whole[first:])
    window = next((n - first for n in range(first, len(whole)) if _breached(name, whole[n])), None)
    decision = next((n - first for n in range(first, len(whole)) if _decides(name, quiet[: n + 1])), None)
    return Seen(window, decision)


def _breached(name: str, week: Breaches) -> bool:
    return any(week[signal] for signal in SPEC.retraining.signals) if name == HEADWATER else week[name]


def _decides(name: str, weeks: Sequence[Breaches]) -> bool:
    """Whether the rule of windows asks for a retraining after the last of these weeks."""
    policy: RetrainingSettings = SPEC.retraining
    signals = list(policy.signals) if name == HEADWATER else ["novelty"]  # a peer's word goes by any one signal
    sightings = []
    for number, week in enumerate(weeks):
        start = AS_OF + number * WEEK
        for signal in signals:
            breached = week[signal] if name == HEADWATER else week[name]
            sightings.append(Sighting(signal, "1", start, start + WEEK, breached, f"{number}"))
    now = AS_OF + len(weeks) * WEEK + timedelta(days=1)
    return decide(policy, "1", sightings, (), now).action == "retrain"


def _alarms(clean: Sequence[Breaches], name: str) -> tuple[int, int]:
    """Return of the weeks as they were how many are breached, and after how many the rule asks for a retraining."""
    asked = sum(_decides(name, clean[: n + 1]) for n in range(len(clean)))
    return sum(_breached(name, week) for week in clean), asked


def _print(alarms: Mapping[str, tuple[int, int]], found: Mapping[str, Mapping[str, Sequence[Seen]]]) -> None:
    names = (HEADWATER, EVIDENTLY, PLAIN)
    print(f"\n{WEEKS} real weeks as they were: weeks breached, and weeks after which a retraining would be asked for")
    for name in names:
        print(f"  {name:<18}{alarms[name][0]:>4}{alarms[name][1]:>4}")
    print(f"\nweeks from a shift to the first breached window / to the decision, begun in {len(BEGINNINGS)} weeks")
    print(f"{'':<50}" + "".join(f"{name:>24}" for name in names))
    for shift, by in found.items():
        print(f"{shift:<50}" + "".join(f"{_told(by[name]):>24}" for name in names))


def _told(seen: Sequence[Seen]) -> str:
    return ", ".join(
        f"{'-' if s.window is None else s.window}/{'-' if s.decision is None else s.decision}" for s in seen
    )


def _conclude(alarms: Mapping[str, tuple[int, int]], found: Mapping[str, Mapping[str, Sequence[Seen]]]) -> None:
    def decided(name: str) -> list[int]:
        return [seen.decision for by in found.values() for seen in by[name] if seen.decision is not None]

    tried = sum(len(by[HEADWATER]) for by in found.values())
    caught = {name: len(decided(name)) for name in (HEADWATER, EVIDENTLY, PLAIN)}
    peers = min(alarms[name][1] for name in (EVIDENTLY, PLAIN))
    own = alarms[HEADWATER][1]
    conclude(
        "loop_shifts",
        peers / max(own, 1),
        1.0,
        shifts=tried,
        caught=caught,
        weeks_to_decision={name: median(decided(name)) if decided(name) else None for name in caught},
        false_weeks={name: alarms[name][0] for name in caught},
        false_decisions={name: alarms[name][1] for name in caught},
    )


if __name__ == "__main__":
    main()
