"""What a drift check shows: one line, a row a column, and the numbers that go to the audit table.

Not here: how moves are found (`drift`), named (`drift_causes`) or drawn (`drift_plot`, `drift_report`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from checks.drift_bounds import Bounds, Breach
from checks.drift_statistics import Comparison
from checks.drift_windows import Window
from ml.fingerprint import json_hash

TOLD = 5  # drifted columns in the summary


@dataclass(frozen=True)
class Reference:
    """What rows are compared with: `kind` is short ("trailing"), the window's name says which rows these are."""

    kind: str
    window: Window
    columns: Sequence[str]
    bounds: Bounds


@dataclass(frozen=True)
class Move:
    """A column against one reference; `cause` is "" unless a bound is broken."""

    column: str
    reference: Reference
    found: Comparison
    broken: tuple[Breach, ...]
    cause: str

    @property
    def excess(self) -> float:
        """How many times the bound the worst statistic is; 0 if all hold."""
        return self.broken[0].excess if self.broken else 0.0


def by_excess(moves: Iterable[Move]) -> list[Move]:
    """Return moves, those farthest over their bounds first, then those of the greatest distance."""
    return sorted(moves, key=lambda move: (-move.excess, -move.found.distance))


def table(moves: Sequence[Move], references: Sequence[Reference]) -> tuple[dict[str, Any], ...]:
    """Return a row a column, drifted ones first: its statistics against each reference, the bounds, the cause."""
    found = {(move.column, move.reference.kind): move for move in moves}
    order = dict.fromkeys(move.column for move in by_excess(moves))
    rows = []
    for column in order:
        own = [found[column, r.kind] for r in references if (column, r.kind) in found]
        row: dict[str, Any] = {"column": column, "verdict": "**drifted**" if any(m.broken for m in own) else "holds"}
        for r in references:
            row[f"{r.kind}: {r.window.name}"] = _statistics(found[column, r.kind]) if (column, r.kind) in found else ""
        row["bounds"] = _bounds(own[0].reference.bounds)
        row["cause"] = "; ".join(dict.fromkeys(f"{m.reference.kind}: {m.cause}" for m in own if m.broken))
        rows.append(row)
    return tuple(rows)


def summary(current: Window, references: Sequence[Reference], moves: Sequence[Move]) -> str:
    """Return one line: how many columns drifted from what, the worst of them and why."""
    told = []
    for reference in references:
        own = [move for move in by_excess(moves) if move.reference is reference]
        broken = [move for move in own if move.broken]
        text = f"{len(broken)} of {len(own)} columns drifted from {reference.kind} ({reference.window.name})"
        if broken:
            text += ": " + "; ".join(f"{move.column}: {move.cause}" for move in broken[:TOLD])
            text += f"; and {len(broken) - TOLD} more" if len(broken) > TOLD else ""
        told.append(text)
    return f"{current.name}: " + " | ".join(told)


def short(current: Window, moves: Sequence[Move]) -> str:
    """Return how many columns drifted from any reference, and which, the worst first."""
    columns = {move.column for move in moves}
    broken = list(dict.fromkeys(move.column for move in by_excess(moves) if move.broken))
    text = f"{current.name}: {len(broken)} of {len(columns)} columns drifted"
    if broken:
        text += ": " + ", ".join(broken[:TOLD])
        text += f" and {len(broken) - TOLD} more" if len(broken) > TOLD else ""
    return text


def evidence(moves: Sequence[Move], references: Sequence[Reference], prints: Mapping[str, str]) -> dict[str, Any]:
    """Return what the audit table keeps. `prints` are fingerprints of the columns judged.

    `content` is the data version: the same for the same rows, however often they are published.
    """
    return {
        "content": json_hash(prints),
        "references": {r.kind: _against(r, [m for m in moves if m.reference is r]) for r in references},
    }


def has_drifted(reference: Reference, moves: Iterable[Move]) -> bool:
    """Whether enough columns moved away from the reference: at least one, and the share that its bounds name."""
    broken = [bool(move.broken) for move in moves if move.reference is reference]
    return any(broken) and sum(broken) >= reference.bounds.share * len(broken)


def _against(reference: Reference, own: Sequence[Move]) -> dict[str, Any]:
    return {
        "window": reference.window.name,
        "drifted": has_drifted(reference, own),
        "share": sum(bool(move.broken) for move in own) / len(own),
        "distances": {move.column: move.found.distance for move in own},
        "causes": {move.column: move.cause for move in own if move.broken},
    }


def _statistics(move: Move) -> str:
    found, broken = move.found, {breach.statistic for breach in move.broken}
    shown = {"distance": f"{found.distance:.3f}", "ks": f"{found.ks:.3f}", "psi": f"{found.psi:.3f}"}
    shown["missing"] = f"{found.missing:.1%} -> {found.now_missing:.1%}"
    if found.appeared or found.vanished:
        shown |= {"appeared": f"{found.appeared:.1%}", "vanished": f"{found.vanished:.1%}"}
    words = {"ks": "KS", "psi": "PSI", "appeared": "new", "vanished": "gone"}
    return ", ".join(
        f"{words.get(name, name)} {f'**{value}**' if name in broken else value}" for name, value in shown.items()
    )


def _bounds(bounds: Bounds) -> str:
    return (
        f"distance {bounds.distance:g}, KS {bounds.ks:g}, PSI {bounds.psi:g}, "
        f"missing +/-{bounds.missing:.0%}, new or gone {bounds.categories:.0%}"
    )
