"""The page of a drift check: the cause of every drifted column on top, and below it Evidently's own report.

Evidently draws on a seeded, bounded sample of the rows; the verdict above it rests on all of them. It is imported only
here, and only when a page is written.
"""

import base64
import warnings
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from checks.outcome import Outcome

if TYPE_CHECKING:
    from checks.drift_evidence import Move, Reference
    from checks.drift_windows import Window

SAMPLE_ROWS = 5_000
SEED = 20130101
_STYLE = (
    "body{font:14px/1.5 sans-serif;margin:24px;max-width:1200px}table{border-collapse:collapse}"
    "td,th{border:1px solid #ccc;padding:4px 8px;text-align:left;vertical-align:top}"
    ".drifted{background:#fdecea}iframe{width:100%;height:900px;border:1px solid #ccc}"
)


def write_page(
    path: Path,
    outcome: Outcome,
    moves: Sequence["Move"],
    current: "Window",
    shown: Iterable["Reference"],
    picture: bytes,
) -> None:
    """Write the page; Evidently's report of `current` against each of the references `shown` is in it."""
    title = f"{'No drift' if outcome.passed else 'Drift'}: {current.name}"
    parts = [f"<h1>{escape(title)}</h1>", "<h2>What drifted, and why</h2>", _causes(moves)]
    parts.append(f'<p><img alt="worst column" src="data:image/png;base64,{base64.b64encode(picture).decode()}"></p>')
    parts += ["<h2>Every column, on all rows</h2>", _table(outcome.table)]
    for reference in shown:
        parts.append(f"<h2>Evidently: against {escape(f'{reference.kind}, {reference.window.name}')}</h2>")
        parts.append(
            f"<p>On a sample of at most {SAMPLE_ROWS:,} rows a side; the verdict rests on the table above.</p>"
        )
        parts.append(_evidently(reference, current, moves))
    page = (
        f"<!doctype html><html><head><meta charset='utf-8'><title>{escape(title)}</title><style>{_STYLE}</style></head>"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{page}<body>{''.join(parts)}</body></html>", encoding="utf-8")


def _causes(moves: Sequence["Move"]) -> str:
    broken = sorted((move for move in moves if move.broken), key=lambda move: -move.excess)
    if not broken:
        return "<p>No column broke a bound.</p>"
    told = (
        f"<li><b>{escape(m.column)}</b>, against {escape(f'{m.reference.kind} ({m.reference.window.name})')}: "
        f"{escape(m.cause)}</li>"
        for m in broken
    )
    return f"<ul>{''.join(told)}</ul>"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    heads = "".join(f"<th>{escape(str(head))}</th>" for head in rows[0])
    lines = (
        f"<tr class='{'drifted' if 'drifted' in row['verdict'] else ''}'>"
        + "".join(f"<td>{escape(str(cell).replace('**', ''))}</td>" for cell in row.values())
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{heads}</tr>{''.join(lines)}</table>"


def _evidently(reference: "Reference", current: "Window", moves: Sequence["Move"]) -> str:
    """Return Evidently's report in a frame, by the same methods and bounds; columns without values are left out."""
    old, new = (window.sample(reference.columns, SAMPLE_ROWS, SEED) for window in (reference.window, current))
    methods = {m.column: m.found.method for m in moves if m.reference is reference and m.found.method != "none"}
    columns = [c for c in methods if old[c].count() and new[c].count()]
    if not columns:
        return "<p>No column has values on both sides.</p>"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return preset_html(old.select(columns), new.select(columns), methods, reference)


def preset_html(old: pl.DataFrame, new: pl.DataFrame, methods: dict[str, Any], reference: "Reference") -> str:
    """Return the frame that holds Evidently's drift preset of two small frames."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    numbers = [c for c, dtype in old.schema.items() if dtype.is_numeric()]
    others = [c for c in old.columns if c not in numbers]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=others)
    bounds = reference.bounds
    preset = DataDriftPreset(
        drift_share=max(bounds.share, 1 / len(old.columns)),
        per_column_method={c: methods[c] for c in old.columns},
        num_threshold=bounds.distance,
        cat_threshold=bounds.distance,
    )
    sides = (Dataset.from_pandas(frame.to_pandas(), data_definition=definition) for frame in (new, old))
    return str(Report([preset]).run(*sides).get_html_str(as_iframe=True))
