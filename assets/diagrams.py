"""`make diagrams`: the diagrams of the documentation, docs/diagrams/*.mmd, drawn by mermaid in a real browser.

They are kept as SVG, so that a page shows them anywhere without a network. Each says from which text it was drawn.
"""

import sys
from hashlib import sha256
from pathlib import Path

from assets.screenshots import IMAGES, browser

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "docs" / "diagrams"
MERMAID = ROOT / ".tools" / "mermaid" / "package" / "dist" / "mermaid.min.js"
# Labels are text of the SVG's own: those that mermaid draws as HTML are not shown everywhere that an SVG is.
_SETTINGS = {
    "startOnLoad": False,
    "htmlLabels": False,
    "flowchart": {"htmlLabels": False, "useMaxWidth": False},
    "theme": "neutral",
    "fontFamily": "sans-serif",
    "deterministicIds": True,
}
_DRAW = "([name, text, settings]) => {mermaid.initialize(settings); return mermaid.render(name, text).then(d => d.svg)}"


def drawn_from(text: str) -> str:
    """Return the line in an SVG that says from which text it was drawn."""
    return f"<!-- drawn from {sha256(text.encode()).hexdigest()} -->\n"


def main() -> int:
    """Draw all of them. Returns 1 after one line if mermaid cannot read one or is not here."""
    from playwright.sync_api import Error

    try:
        with browser() as page:
            page.set_content("<html><body></body></html>")
            page.add_script_tag(content=MERMAID.read_text(encoding="utf-8"))
            for source in sorted(SOURCES.glob("*.mmd")):
                text = source.read_text(encoding="utf-8")
                svg = page.evaluate(_DRAW, [source.stem, text, _SETTINGS])
                light = svg.replace("<svg ", '<svg style="background:#fff" ', 1)  # readable on a dark page too
                (IMAGES / f"{source.stem}.svg").write_text(f"{light}\n{drawn_from(text)}", encoding="utf-8")
                print(f"docs/images/{source.stem}.svg", flush=True)
    except (Error, OSError) as error:
        print(f"headwater: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
