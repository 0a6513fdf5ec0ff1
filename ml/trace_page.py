"""A trace as one HTML page that needs nothing else: a picture of the way, and below it every step in full."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ml.trace import Step, plain
from ml.trace_picture import picture
from ml.trace_text import value_text

_ROWS = 200  # of one step; the rest is counted
_STYLE = (
    "body{font:14px/1.5 system-ui,sans-serif;margin:24px;color:#1f2328}h1{font-size:20px}"
    "table{border-collapse:collapse;margin:8px 0;font-size:12px}td,th{border:1px solid #d0d7de;padding:2px 8px;"
    "text-align:left;vertical-align:top;overflow-wrap:anywhere}th{background:#f6f8fa}"
    "details{margin:4px 0 4px 16px}summary{cursor:pointer;font-weight:600}.gone{color:#b42318}"
    ".differs{background:#fdecea}svg{max-width:100%;height:auto}svg a:hover rect{stroke:#0969da;stroke-width:2}"
)


def write_page(path: Path, step: Step) -> Path:
    """Write the page of a trace and return its path. Raises OSError if that cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(step), encoding="utf-8")
    return path


def page(step: Step) -> str:
    """Return the page of a trace."""
    numbers = {id(found): number for number, found in enumerate(step.walk())}
    missing = "".join(f"<li>{escape(line)}</li>" for line in step.missing())
    gone = f"<h2 class='gone'>Gone, or not in agreement</h2><ul class='gone'>{missing}</ul>" if missing else ""
    opens = "addEventListener('hashchange',()=>{let e=document.querySelector(location.hash);"
    opens += "while(e){if(e.tagName=='DETAILS')e.open=true;e=e.parentElement}})"
    return (
        f"<!doctype html><html><head><meta charset='utf-8'><title>{escape(step.name)}</title><style>{_STYLE}</style>"
        f"<script>{opens}</script></head><body><h1>{escape(step.name)}</h1>{picture(step, numbers)}{gone}"
        f"{''.join(_step(step, numbers, depth=0))}</body></html>"
    )


def _step(step: Step, numbers: Mapping[int, int], depth: int) -> Iterator[str]:
    """Yield a step and all below it; those at the top stand open."""
    mark = " class='gone'" if any(found.gone for found in step.walk()) else ""
    yield f"<details id='step{numbers[id(step)]}'{' open' * (depth < 1)}><summary{mark}>{escape(step.name)}</summary>"
    if step.facts:
        facts = (f"<tr><th>{escape(name)}</th><td>{_value(value)}</td></tr>" for name, value in step.facts.items())
        yield f"<table>{''.join(facts)}</table>"
    yield "".join(f"<p class='gone'>{escape(line)}</p>" for line in step.gone)
    if step.rows:
        yield from _table([_flat(row) for row in step.rows[:_ROWS]])
        if len(step.rows) > _ROWS:
            yield f"<p>... and {len(step.rows) - _ROWS:,} more: the trace as JSON has them</p>"
    for below in step.below:
        yield from _step(below, numbers, depth + 1)
    yield "</details>"


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record as one line of a table; of a raw row its columns beside its key."""
    if "row" not in row:
        return dict(row)
    return {"table": row["table"], **row["key"], "known at": row["known at"] or "in part", **row["row"]}


def _table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    heads = list(dict.fromkeys(name for row in rows for name in row))
    yield f"<table><tr>{''.join(f'<th>{escape(head)}</th>' for head in heads)}</tr>"
    for row in rows:
        mark = " class='differs'" if row.get("same") is False or row.get("verdict") in ("failed", "no verdict") else ""
        cells = (_value(row[head]) if head in row else "" for head in heads)
        yield f"<tr{mark}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    yield "</table>"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "<br>".join(f"{escape(str(name))}: {_value(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return "<br>".join(_value(part) for part in value)
    return escape(value_text(value) if not isinstance(value, set) else str(plain(value)))
