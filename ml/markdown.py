"""Markdown tables and numbers for people, and a self-contained HTML page of a Markdown text."""

import base64
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

_MEANT = re.compile(r"[\\`*\[\]<>|]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])")  # what Markdown would read as more than text
_STYLE = (
    "body{font:15px/1.55 system-ui,sans-serif;margin:32px auto;max-width:920px;padding:0 16px;color:#1f2328}"
    "h1{margin-bottom:4px}h2{border-bottom:1px solid #d0d7de;padding-bottom:4px;margin-top:32px}"
    "table{border-collapse:collapse;margin:12px 0}td,th{border:1px solid #d0d7de;padding:4px 10px;text-align:left}"
    "th{background:#f6f8fa}code{background:#f6f8fa;padding:1px 4px;overflow-wrap:break-word}img{max-width:100%}"
    "pre{background:#f6f8fa;padding:12px;overflow-x:auto}pre code{background:none;padding:0}"
)


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table; cells are text, numbers as of `number`."""
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def number(value: float) -> str:
    """Return a number with about four digits; a count with its thousands; a dash for what is none."""
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "-"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.2f}"


def page(title: str, text: str, pictures: Mapping[str, bytes]) -> str:
    """Return Markdown `text` as one HTML page; pictures are put in where the text links to their names."""
    return _html(title, _body(inlined(text, pictures)))


def linked_page(text: str) -> str:
    """Return Markdown `text` as one HTML page: its links stay as they are, its headings bear GitHub's anchors."""
    return _html(first_heading(text), _body(text))


def first_heading(text: str) -> str:
    """Return the title of a Markdown text, "" if it has none."""
    return next((line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ")), "")


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _body(text: str) -> str:
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(text)
    for opening, content in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", anchor(content.content.replace("`", "")))
    return str(reader.renderer.render(tokens, reader.options, {}))


def _html(title: str, body: str) -> str:
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        f"<style>{_STYLE}</style></head><body>{body}</body></html>"
    )


def inlined(text: str, pictures: Mapping[str, bytes]) -> str:
    """Replace links to pictures by the pictures themselves, as data addresses."""
    for name, png in pictures.items():
        text = text.replace(f"]({name})", f"](data:image/png;base64,{base64.b64encode(png).decode()})")
    return text


def plain(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return _MEANT.sub(r"\\\g<0>", " ".join(text.split()))


def _cell(value: Any) -> str:
    if isinstance(value, float | int) and not isinstance(value, bool):
        return number(value)
    return str(value).replace("|", "\\|").replace("\n", " ")
