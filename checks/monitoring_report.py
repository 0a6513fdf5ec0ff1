"""The page of a window: every check's word and picture, and below them Evidently's report, whose snapshot is kept, too.

Evidently works on a seeded, bounded sample; the verdicts rest on all rows. It is slow to import, and is so only here,
where a window is in breach or somebody asks for its page.
"""

import base64
import warnings
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import polars as pl

from checks.monitoring_window import Answers, HeldOut
from checks.outcome import Outcome
from ml.spec import ModelSpec

SAMPLE_ROWS = 5_000
SEED = 20130101
_STYLE = (
    "body{font:14px/1.5 sans-serif;margin:24px;max-width:1200px}.broken{background:#fdecea}"
    "iframe{width:100%;height:1200px;border:1px solid #ccc}"
)


def write_window_page(
    path: Path, series: Path, spec: ModelSpec, answers: Answers, held: HeldOut, outcomes: Mapping[str, Outcome]
) -> None:
    """Write the page, and add Evidently's snapshot to the series of the model: a workspace that `evidently ui` opens.

    A window that is there already takes the place of its earlier snapshot. Raises what Evidently raises on labels that
    it cannot measure.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        snapshot = _snapshot(spec, answers, held)
        _keep(snapshot, series, spec, answers)
    title = f"{spec.name}: {answers.title}"
    parts = [f"<h1>{escape(title)}</h1>", *(_word(name, outcome) for name, outcome in outcomes.items())]
    parts.append(f"<h2>Evidently: against held-out rows, on at most {SAMPLE_ROWS:,} rows a side</h2>")
    parts.append(str(snapshot.get_html_str(as_iframe=True)))
    head = f"<meta charset='utf-8'><title>{escape(title)}</title><style>{_STYLE}</style>"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<!doctype html><html><head>{head}</head><body>{''.join(parts)}</body></html>", encoding="utf-8")


def _word(name: str, outcome: Outcome) -> str:
    state = "" if outcome.passed else " class='broken'"
    told = f"<p{state}><b>{escape(name)}</b> {'holds' if outcome.passed else 'warns'}: {escape(outcome.summary)}</p>"
    if outcome.plot is None:
        return told
    return (
        f'{told}<p><img alt="{escape(name)}" src="data:image/png;base64,{base64.b64encode(outcome.plot).decode()}"></p>'
    )


def _snapshot(spec: ModelSpec, answers: Answers, held: HeldOut) -> Any:
    from evidently import BinaryClassification, DataDefinition, Dataset, Regression, Report
    from evidently.presets import ClassificationPreset, DataDriftPreset, RegressionPreset

    numbers = ["answer"]
    if spec.task == "binary":
        asked = [BinaryClassification(target="label", prediction_probas="answer")]
        definition = DataDefinition(classification=asked, numerical_columns=numbers)
        preset: Any = ClassificationPreset()
    else:
        values = [Regression(target="label", prediction="answer")]
        definition = DataDefinition(regression=values, numerical_columns=numbers)
        preset = RegressionPreset()
    sides = (
        Dataset.from_pandas(_sample(spec, rows).to_pandas(), data_definition=definition)
        for rows in (answers.labelled, held.rows)
    )
    report = Report([preset, DataDriftPreset(columns=["answer"])])
    return report.run(*sides, timestamp=answers.span.start, name=_name(answers))


def _sample(spec: ModelSpec, rows: pl.DataFrame) -> pl.DataFrame:
    drawn = rows.select("label", "answer").sample(min(SAMPLE_ROWS, rows.height), seed=SEED)
    return drawn.with_columns(pl.col("label").cast(pl.Int64 if spec.task == "binary" else pl.Float64))


def _keep(snapshot: Any, series: Path, spec: ModelSpec, answers: Answers) -> None:
    from evidently.ui.workspace import Workspace

    workspace = Workspace.create(str(series))
    project = next(iter(workspace.search_project(spec.name)), None) or workspace.create_project(spec.name)
    for run in workspace.list_runs(project.id):
        known = workspace.get_run(project.id, run)
        if known is not None and known.name == _name(answers):
            workspace.delete_run(project.id, run)
    workspace.add_run(project.id, snapshot)


def _name(answers: Answers) -> str:
    return f"{answers.span.name} version {answers.version}"
