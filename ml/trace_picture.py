"""The picture on a trace's page: raw tables, features, model and plan as boxes from left to right, to the answer.

Plain SVG; a box leads to its step on the page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ml.trace import Step

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 270, 40, 80, 12
_LETTERS = 34  # of a line in a box
_COLORS = {"gone": "#fdecea", "source": "#eef6ff", "feature": "#f0fff4", "answer": "#fff8e6"}


@dataclass
class Box:
    """A box: its lines, the step it leads to, where it stands."""

    step: Step
    lines: Sequence[str]
    color: str
    x: float = 0
    y: float = 0


def picture(step: Step, numbers: Mapping[int, int]) -> str:
    """Return the picture of an answer's trace as SVG; "" for a trace of anything else."""
    if step.kind != "prediction":
        return ""
    columns = _columns(step)
    tallest = max(len(column) for column in columns) * (_HEIGHT + _GAP_Y)
    for place, column in enumerate(columns):
        top = (tallest - len(column) * (_HEIGHT + _GAP_Y)) / 2
        for row, box in enumerate(column):
            box.x, box.y = place * (_WIDTH + _GAP_X), top + row * (_HEIGHT + _GAP_Y)
    width = len(columns) * (_WIDTH + _GAP_X) - _GAP_X
    lines = "".join(_line(left, right) for left, right in _edges(columns))
    boxes = "".join(_drawn(box, numbers[id(box.step)]) for column in columns for box in column)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='-4 -4 {width + 8} {tallest + 8}' width='{width}' "
        f"role='img' aria-label='from raw tables to the answer'>{lines}{boxes}</svg>"
    )


def _columns(step: Step) -> list[list[Box]]:
    """Return the boxes: raw tables; views; training set, model and plan; the answer."""
    sources = [_box(s, "source", Path(str(s.facts.get("read from", ""))).name) for s in _of(step, "source")]
    views = [_box(s, "feature", str(s.facts.get("in", "")).partition(" ")[2]) for s in _of(step, "feature")]
    model = [_box(s, "answer", "learned from") for m in _of(step, "model") for s in m.below if s.kind == "data"]
    model += [_box(s, "answer", "the model that answered") for s in _of(step, "model")]
    model += [_box(s, "answer", str(s.facts.get("changed by", ""))) for s in _of(step, "serving")]
    return [c for c in (sources, views, model, [_box(step, "answer", str(step.facts.get("answer", "")))]) if c]


def _of(step: Step, kind: str) -> list[Step]:
    return [below for below in step.below if below.kind == kind]


def _box(step: Step, kind: str, more: str) -> Box:
    gone = any(found.gone for found in step.walk()) and step.kind != "prediction"
    return Box(step, (step.name, more), _COLORS["gone" if gone else kind])


def _edges(columns: Sequence[Sequence[Box]]) -> list[tuple[Box, Box]]:
    """Return what stands on what: a view on raw tables, the model on views and training set, the answer on both."""
    answer = columns[-1][0]
    boxes = [box for column in columns[:-1] for box in column]
    sources = [box for box in boxes if box.step.kind == "source"]
    edges = [(s, v) for v in boxes if v.step.kind == "feature" for s in sources if _made_of(v.step, s.step)]
    model = next((box for box in boxes if box.step.kind == "model"), answer)
    edges += [(box, model) for box in boxes if box.step.kind == "feature"]
    edges += [(box, answer) for box in boxes if box.step.kind in ("model", "serving")]
    return [*edges, *((box, model) for box in boxes if box.step in model.step.below and model is not answer)]


def _made_of(view: Step, source: Step) -> bool:
    froms = [below.facts.get("from", {}) for below in view.below]
    return any(source.name == f"{table} {version}" for found in froms for table, version in found.items())


def _line(left: Box, right: Box) -> str:
    if left.x == right.x:  # one below the other
        x, y = left.x + _WIDTH / 2, left.y + _HEIGHT
        return f"<path d='M{x} {y}V{right.y}' stroke='#8c959f' fill='none'/>"
    x1, y1, x2, y2 = left.x + _WIDTH, left.y + _HEIGHT / 2, right.x, right.y + _HEIGHT / 2
    middle = (x1 + x2) / 2
    return f"<path d='M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}' stroke='#8c959f' fill='none'/>"


def _drawn(box: Box, number: int) -> str:
    styles = ("font-weight='600'", "fill='#57606a'")
    texts = "".join(
        f"<text x='{box.x + 8}' y='{box.y + 16 + 15 * row}' font-size='12' font-family='system-ui,sans-serif' "
        f"{styles[row]}>{escape(_cut(line))}</text>"
        for row, line in enumerate(box.lines)
    )
    return (
        f"<a href='#step{number}'><title>{escape(' - '.join(box.lines))}</title><rect x='{box.x}' y='{box.y}' "
        f"width='{_WIDTH}' height='{_HEIGHT}' rx='6' fill='{box.color}' stroke='#8c959f'/>{texts}</a>"
    )


def _cut(line: str) -> str:
    return line if len(line) <= _LETTERS else line[: _LETTERS - 3] + "..."
