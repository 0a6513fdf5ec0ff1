"""A trace as a tree for a terminal: short, what is long is cut with a count. The steps themselves are in `trace`."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ml.trace import Step

if TYPE_CHECKING:
    from rich.tree import Tree

SHOWN = 3  # records of a step
_ENTRIES = 6  # of a list in one fact
_WIDE = 110  # characters that facts share a line up to
_LONGEST = 170  # characters of a record
_HASH = re.compile(r"\b[0-9a-f]{40,64}\b")
_HASH_SHOWN = 12


def tree(step: Step, shown: int | None = SHOWN) -> "Tree":
    """Return the step and all below it; `shown` records of each (None: all)."""
    from rich.text import Text
    from rich.tree import Tree

    root = Tree(Text(_shortened(step.name, shown), style="bold"), guide_style="dim")
    for line, style in _lines(step, shown):
        root.add(Text(_shortened(line, shown), style=style))
    root.children += [tree(below, shown) for below in step.below if below.kind != "checks"]
    return root


def _lines(step: Step, shown: int | None) -> Iterator[tuple[str, str]]:
    yield from ((line, "") for line in _packed([f"{k}: {_told(v, shown)}" for k, v in step.facts.items()]))
    yield from ((_record(row, shown), "cyan") for row in step.rows[:shown])
    if shown is not None and len(step.rows) > shown:
        yield f"... and {len(step.rows) - shown:,} more", "dim"
    yield from ((f"! {line}", "red") for line in step.gone)
    for checks in (below for below in step.below if below.kind == "checks"):
        yield f"checks: {_sentence(checks.facts)}", "red" if checks.gone else "green"
        yield from ((f"! {line}", "red") for line in checks.gone)


def _packed(facts: Iterable[str]) -> Iterator[str]:
    """Yield facts in lines, several in one while it is not too long."""
    line = ""
    for fact in facts:
        if line and len(line) + len(fact) > _WIDE:
            yield line
            line = ""
        line = f"{line}; {fact}" if line else fact
    if line:
        yield line


def _shortened(line: str, shown: int | None) -> str:
    """Return a line with its hashes cut, unless all is to be shown."""
    return line if shown is None else _HASH.sub(lambda found: f"{found[0][:_HASH_SHOWN]}...", line)


def _sentence(facts: Mapping[str, Any]) -> str:
    """Return checks in one line, those with the same outcome together."""
    words = {name: word for name, word in facts.items() if name != "judged"}
    told = [f"{', '.join(n for n, w in words.items() if w == word)} {word}" for word in dict.fromkeys(words.values())]
    return "; ".join(told) + (f" ({facts['judged']})" if "judged" in facts else "")


def _told(value: Any, shown: int | None) -> str:
    """Return a fact in one line."""
    if isinstance(value, Mapping):
        return _cut([f"{key} {_told(part, shown)}" for key, part in value.items()], shown)
    if isinstance(value, list | tuple):
        return _cut([_told(part, shown) for part in value], shown)
    return value_text(value)


def _cut(parts: list[str], shown: int | None) -> str:
    more = len(parts) - _ENTRIES
    if shown is None or more <= 1:
        return ", ".join(parts)
    return f"{', '.join(parts[:_ENTRIES])} and {more} more"


def _record(row: Mapping[str, Any], shown: int | None) -> str:
    """Return one record in a line: a feature's value, a raw row, anything else by its names."""
    if "feature" in row:
        same = "" if row["same"] else f" (published: {value_text(row['published'])})"
        return f"{row['feature']} = {value_text(row['logged'])}{same}" + _from(row.get("columns"))
    if "key" in row:
        known = value_text(row["known at"]) if row["known at"] else "in part"
        told = (*row["key"], "event_timestamp", "created_timestamp")
        rest = ", ".join(f"{name} {value_text(v)}" for name, v in row["row"].items() if name not in told)
        line = f"{row['table']} {_told(row['key'], None)}; known {known}; {rest}"
    else:
        line = ", ".join(f"{name} {value_text(value)}" for name, value in row.items() if value not in (None, ""))
    return line if shown is None or len(line) <= _LONGEST else line[:_LONGEST] + " ..."


def _from(columns: str | None) -> str:
    return "" if columns is None else f"  <- {columns or 'counted rows'}"


def value_text(value: Any) -> str:
    """Return a value as people read it: instants to the second, numbers in few digits."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}" + (" UTC" if value.tzinfo else "")
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.15g}"
    return "null" if value is None else str(value)
