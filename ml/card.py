"""The model card: what a version answers, how well, for whom, from what, and when one should act on it.

Here: which sections in which order, as Markdown, as one HTML page, and short enough for MLflow's description. Not
here: measuring (ml/evidence.py), the sections' words (ml/card_text.py) and pictures (ml/card_pictures.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml import card_text
from ml.card_pictures import pictures
from ml.evidence import Evidence
from ml.markdown import inlined, page, plain
from ml.recording import DESCRIPTION_LENGTH
from ml.spec import ModelSpec

MARKDOWN_FILE, PAGE_FILE = "model_card.md", "model_card.html"
# MLflow's description holds few characters and no pictures: what matters most goes first.
_BRIEF = ("What it answers", "How good it is", "When to act", "Limits", "Where it comes from", "Rows", "By month")


@dataclass(frozen=True)
class ModelCard:
    """Sections (title to Markdown) and the pictures, PNG by file name, that they link to."""

    name: str
    sections: dict[str, str]
    pictures: dict[str, bytes]

    @property
    def markdown(self) -> str:
        """The whole card; pictures are links to files beside it."""
        return _joined(self.name, self.sections)

    @property
    def inline(self) -> str:
        """The whole card as Markdown, with its pictures in it."""
        return inlined(self.markdown, self.pictures)

    @property
    def description(self) -> str:
        """The card without pictures, as many sections as MLflow's description has room for."""
        kept: dict[str, str] = {}
        for title in (name for name in _BRIEF if name in self.sections):
            longer = {**kept, title: _without_pictures(self.sections[title])}
            if len(_joined(self.name, longer, _REST)) <= DESCRIPTION_LENGTH:
                kept = longer
        return _joined(self.name, kept, _REST)

    def write(self, folder: Path) -> list[Path]:
        """Write the card as Markdown with its pictures beside it, and as one page; return the files."""
        files = {MARKDOWN_FILE: self.markdown.encode(), PAGE_FILE: self._page().encode(), **self.pictures}
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return [folder / name for name in files]

    def _page(self) -> str:
        return page(f"Model card: {self.name}", self.markdown, self.pictures)


_REST = f"The whole card, with pictures, is the run's artifact {PAGE_FILE}."


def make_card(spec: ModelSpec, evidence: Evidence, facts: Mapping[str, Any]) -> ModelCard:
    """Return the card of a candidate; `facts` is its provenance: the run's tags and `run_id`."""
    sections = {
        "What it answers": card_text.question(spec),
        "How good it is": card_text.quality(evidence),
        "When to act": card_text.decision(spec, evidence),
        "Rows": card_text.rows(evidence),
        "By month": card_text.months(spec, evidence),
        "In parts": card_text.parts(spec, evidence),
        "Calibration": card_text.calibration(evidence),
        "What it rests on": card_text.importance(evidence),
        "Limits": card_text.limits(spec, evidence),
        "Where it comes from": card_text.provenance(spec, facts),
    }
    told = {title: text for title, text in sections.items() if text is not None}
    return ModelCard(spec.name, told, pictures(evidence, spec.costs))


def _joined(name: str, sections: Mapping[str, str], last: str = "") -> str:
    parts = [f"# {plain(name)}", *(f"## {title}\n\n{text}" for title, text in sections.items()), last]
    return "\n\n".join(part for part in parts if part) + "\n"


def _without_pictures(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("![")).strip()
