"""The evidence pack of a promotion verdict, as files for MLflow: what was asked, what was found, on which rows.

Here: writing it into a folder, and its short form for MLflow's page of the version. Not here: judging.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from checks.promotion import Judged

WORST = 10


def write_evidence(folder: Path, judged: Judged, about: Mapping[str, Any]) -> None:
    """Write verdict.json, verdict.md and, where there are any, slices.csv, importance.csv and verdict.png.

    `about` names what was judged: model, version, champion, training set, run.
    """
    outcome = judged.outcome
    verdict = {**about, "verdict": verdict_of(judged), "summary": outcome.summary, **outcome.evidence}
    verdict["slices"], verdict["importance"] = judged.slices.to_dicts(), judged.importance.to_dicts()
    (folder / "verdict.json").write_text(json.dumps(verdict, indent=2, default=str) + "\n")
    (folder / "verdict.md").write_text(full_text(judged, about))
    for name, frame in {"slices": judged.slices, "importance": judged.importance}.items():
        if not frame.is_empty():
            frame.write_csv(folder / f"{name}.csv")
    if outcome.plot is not None:
        (folder / "verdict.png").write_bytes(outcome.plot)


def verdict_of(judged: Judged) -> str:
    """Return the verdict in one word."""
    return "passed" if judged.outcome.passed else "refused"


def reasons(judged: Judged) -> str:
    """Return why a version was refused, one reason after another; that every rule holds if it was not."""
    if judged.outcome.passed:
        return "every rule holds"
    found = [str(row["reason"]) for row in judged.outcome.table if not row["passed"]]
    return "; ".join(found) or judged.outcome.summary


def short_text(judged: Judged, about: Mapping[str, Any]) -> str:
    """Return Markdown for MLflow's page: the verdict and a row a rule."""
    rules = [{**row, "passed": "yes" if row["passed"] else "**no**"} for row in judged.outcome.table]
    head = f"**{verdict_of(judged)}** by the promotion gate, run {about.get('run') or 'unknown'}"
    text = f"{head}\n\n{markdown(rules, ('rule', 'observed', 'bound', 'passed'))}" if rules else head
    return text if judged.outcome.passed else f"{text}\n\n{reasons(judged)}"


def full_text(judged: Judged, about: Mapping[str, Any]) -> str:
    """Return the verdict as a page: what was judged, every rule, the worst slices, what the score rests on."""
    parts = [
        f"# Promotion of {about.get('model')} version {about.get('version')}: {verdict_of(judged)}",
        "\n".join(f"- {name}: {value}" for name, value in about.items()),
        short_text(judged, about),
    ]
    tables = {"Slices, the worst first": judged.slices, "What the score rests on": judged.importance}
    for title, frame in tables.items():
        if not frame.is_empty():
            rows = [{name: _number(value) for name, value in row.items()} for row in frame.head(WORST).to_dicts()]
            parts.append(f"## {title}\n\n{markdown(rows, tuple(frame.columns))}")
    return "\n\n".join(parts) + "\n"


def markdown(rows: Iterable[Mapping[str, Any]], heads: tuple[str, ...]) -> str:
    """Return rows as a Markdown table of the columns `heads`."""
    lines = [[str(row[head]).replace("|", "\\|").replace("\n", " ") for head in heads] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (list(heads), ["---"] * len(heads), *lines))


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
