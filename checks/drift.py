"""Drift between windows of rows: exact statistics on all of them first, a page only where it is asked for or needed.

Used twice: a published month against earlier rows (a breach may start retraining, never blocks), and a model's training
rows against the rows it would serve (a breach blocks promotion). Not here: which windows these are (assets/drift.py).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from checks.drift_bounds import Bounds, breaches
from checks.drift_causes import cause, timing
from checks.drift_evidence import Move, Reference, by_excess, evidence, has_drifted, short, summary, table
from checks.drift_profile import Profile, fingerprint
from checks.drift_statistics import compare
from checks.drift_windows import Profiles, Window
from checks.outcome import Outcome

CHECK = "feature_drift"
PICTURE_TITLE = 75  # characters


def check_drift(
    current: Window,
    references: Sequence[Reference],
    profiles: Profiles,
    page: Path,
    always: bool = False,
    season: Window | None = None,
) -> Outcome:
    """Compare the columns of each reference with `current`, on all rows; fail if one of them says that it drifted.

    `season` is the same time a year before: a move that it shares is called seasonal. On a breach, or if told to
    `always`, the page is written: causes, statistics and Evidently's report on a seeded sample of the rows.
    """
    columns = list(dict.fromkeys(column for reference in references for column in reference.columns))
    windows = {"current": current} | {reference.kind: reference.window for reference in references}
    rows = {kind: profiles.rows(window, columns[0]) for kind, window in windows.items()}
    empty = [kind for kind, count in rows.items() if count == 0]
    if empty:
        found = f"drift cannot be measured: the {' and '.join(empty)} window has no rows"
        return Outcome(False, found, {"content": "no rows"})
    moves, prints = list[Move](), dict[str, str]()
    for column in columns:
        new = profiles.of(current, column)
        prints[column] = fingerprint(new)
        own = [_move(profiles, r, column, new, season) for r in references if column in r.columns]
        moves += [_beside(move, own) for move in own]
    drifted = [reference for reference in references if has_drifted(reference, moves)]
    told = {**evidence(moves, references, prints), "rows": rows}
    text, rows_told = summary(current, references, moves), table(moves, references)
    outcome = Outcome(not drifted, text, told, rows_told, short=short(current, moves))
    if not drifted and not always:
        return outcome
    return _with_page(outcome, moves, current, drifted or references[:1], profiles, page)


def drifted_share(current: Window, reference: Reference, profiles: Profiles) -> float:
    """Return the share of a reference's columns that drifted in `current`; 1 if either has no rows."""
    if not all(profiles.rows(window, reference.columns[0]) for window in (current, reference.window)):
        return 1.0
    moves = [_move(profiles, reference, column, profiles.of(current, column), None) for column in reference.columns]
    return sum(bool(move.broken) for move in moves) / len(moves)


def _move(profiles: Profiles, reference: Reference, column: str, new: Profile, season: Window | None) -> Move:
    old = profiles.of(reference.window, column)
    found = compare(old, new)
    broken = breaches(found, reference.bounds)
    if not broken:
        return Move(column, reference, found, (), "")
    told = [cause(old, new, found, {b.statistic for b in broken}), ", ".join(map(str, broken))]
    told.append(_seasonal(profiles, season, column, new, reference.bounds))
    if reference.window.in_order:
        months = [(part.label, profiles.of(Window(part.label, (part,)), column)) for part in reference.window.parts]
        told.append(timing(months, new))
    return Move(column, reference, found, broken, "; ".join(filter(None, told)))


def _beside(move: Move, own: Sequence[Move]) -> Move:
    """Say of a drifted column which other references it has not left: a champion may know such a month."""
    calm = [f"{m.reference.kind} holds (distance {m.found.distance:.2f})" for m in own if not m.broken]
    return replace(move, cause="; ".join([move.cause, *calm])) if move.broken else move


def _seasonal(profiles: Profiles, season: Window | None, column: str, new: Profile, bounds: Bounds) -> str:
    if season is None or not season.parts:
        return ""
    before = compare(profiles.of(season, column), new)
    return f"{'not seasonal' if breaches(before, bounds) else 'seasonal'}: {before.distance:.2f} from {season.name}"


def _with_page(
    outcome: Outcome,
    moves: Sequence[Move],
    current: Window,
    shown: Sequence[Reference],
    profiles: Profiles,
    page: Path,
) -> Outcome:
    """Draw the worst column and write the page. matplotlib and Evidently are imported here, and only here."""
    from checks.drift_plot import plot
    from checks.drift_report import write_page

    worst = by_excess(moves)[0]
    old, new = (profiles.of(window, worst.column) for window in (worst.reference.window, current))
    title = worst.cause.split(" (")[0][:PICTURE_TITLE] or "the column that moved most"
    picture = plot(worst.column, title, (worst.reference.window.name, current.name), old, new)
    write_page(page, outcome, moves, current, shown, picture)
    return replace(outcome, plot=picture, report=page)
