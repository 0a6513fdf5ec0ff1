"""What README and docs say to type, to open and to look up: commands, links, anchors.

Here pages are read. Which commands are run, and which not and why, is in `tests/line/test_docs.py`.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEADS = ("make", "export", "python", "torchrun", "docker", "kubectl", "helm", "grpcurl", "git", "dg", "cd", "curl")
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
_NAME_ONLY = re.compile(r"make [a-z0-9-]+|(?:\.venv/bin/)?python -m [\w.]+")
_PLACEHOLDER = re.compile(r"<[^>]+>|\.\.\.|[A-Z]=(?:\s|$)|example\.org")


@dataclass(frozen=True)
class Command:
    """One command of a page, with the exports that stand above it in its block."""

    page: str
    text: str
    exports: tuple[str, ...] = ()
    fenced: bool = False

    @property
    def template(self) -> bool:
        """Whether something must be filled in before it can run."""
        return bool(_PLACEHOLDER.search(self.text))

    @property
    def names_only(self) -> bool:
        """Whether it merely names a target or a module."""
        return bool(_NAME_ONLY.fullmatch(self.text))


def pages() -> list[Path]:
    """Return README, the changelog and all pages of docs."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def prose(text: str) -> str:
    """Return a page without its blocks of code."""
    return _FENCE.sub("", text)


@cache
def commands() -> tuple[Command, ...]:
    """Return the commands of all pages but the changelog, in their order, each once a page."""
    found: dict[Command, None] = {}
    for page in pages():
        if page.name != "CHANGELOG.md":
            text, name = page.read_text(), str(page.relative_to(ROOT))
            found.update(dict.fromkeys([*_fenced(name, text), *_inline(name, text)]))
    return tuple(found)


def links(text: str) -> list[str]:
    """Return where the links and pictures of a page lead, those to other sites left out."""
    return [link for link in _LINK.findall(prose(text)) if "://" not in link and not link.startswith("mailto:")]


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    told: dict[str, int] = {}
    names = set()
    for heading in _HEADING.findall(prose(text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        told[anchor] = told.get(anchor, -1) + 1
        names.add(f"{anchor}-{told[anchor]}" if told[anchor] else anchor)
    return names


def _fenced(page: str, text: str) -> Iterator[Command]:
    for language, block in _FENCE.findall(text):
        lines = list(_logical_lines(block))
        if language not in ("bash", "sh", "shell", "") or not (language or (lines and _is_command(lines[0]))):
            continue
        exports: list[str] = []
        for line in lines:
            if line.startswith("export "):
                exports.append(line)
            else:
                yield Command(page, line, tuple(exports), fenced=True)


def _inline(page: str, text: str) -> Iterator[Command]:
    for span in _SPAN.findall(prose(text)):
        if span.startswith(("make ", "python -m ", ".venv/bin/")) and " " in span:
            yield Command(page, span.replace("\\|", "|"))


def _is_command(line: str) -> bool:
    return line.split()[0] in HEADS or line.startswith(".venv/bin/")


def _logical_lines(block: str) -> Iterator[str]:
    """Yield the commands of a block: lines joined while a quote is open or a backslash ends them, comments dropped."""
    kept = ""
    for line in block.splitlines():
        kept = f"{kept}\n{line}" if kept else line.strip()
        if kept.endswith("\\") or _open_quote(kept):
            continue
        told = kept if "\n" in kept else re.sub(r"(^|\s+)#\s.*$", "", kept)
        if told.strip():
            yield re.sub(r"\\\n\s*", "", told).strip()
        kept = ""
    if kept:
        yield kept


def _open_quote(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError as error:
        return "quotation" in str(error)
    return False
