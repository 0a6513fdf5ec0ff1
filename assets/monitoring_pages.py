"""What is kept of a judged window for people: its pictures and its page under the reports, and what was said of it.

What is on the page is in checks/monitoring_report.py.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from assets.gates import Batch
from assets.mirror import Judgement
from assets.monitoring_rows import Seen
from checks.monitoring_window import told
from checks.outcome import Outcome
from ml.settings import Settings
from ml.spec import ModelSpec


def folder_of(settings: Settings) -> Path:
    """Return where pages and pictures lie."""
    return settings.reports / "monitoring"


def page_of(window: Seen, kind: str = "window") -> Path:
    """Return where a page of a window lies."""
    return folder_of(window.platform.settings) / f"{window.spec.name}-{window.span.name}-{kind}-v{window.version}.html"


def with_page(window: Seen, judgements: Sequence[Judgement], always: bool = False) -> list[Judgement]:
    """Keep the pictures and, if a check is in breach (or `always`), the page; return judgements that name it."""
    judgements = list(judgements)
    for judgement in judgements:
        if judgement.outcome.plot is not None:
            path = _picture(window.platform.settings, window.spec, judgement.partition, judgement.check)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(judgement.outcome.plot)
    if not (always or any(_breached(judgement) for judgement in judgements)):
        return judgements
    trouble = _write(window, judgements)
    return [_naming(judgement, page_of(window), trouble) for judgement in judgements]


def judged_before(batch: Batch, spec: ModelSpec, check: str) -> Judgement:
    """Return what a check said of a window before, with the picture and the page that are kept.

    Raises LookupError if it never judged it.
    """
    verdict = batch.platform.verdicts.newest(batch.table, batch.version, batch.partition, check)
    if verdict is None:
        raise LookupError(f"{check} has no verdict on {batch.table}[{batch.partition}] version {batch.version}")
    settings, version = batch.platform.settings, verdict.evidence.get("version", "")
    picture = _picture(settings, spec, batch.partition, check)
    page = folder_of(settings) / f"{spec.name}-{batch.partition}-window-v{version}.html"
    table = tuple({"what": name, "value": told(value)} for name, value in verdict.evidence.items() if name != "summary")
    outcome = Outcome(
        verdict.passed,
        str(verdict.evidence.get("summary", "")),
        verdict.evidence,
        table,
        plot=picture.read_bytes() if picture.exists() else None,
        report=page if page.exists() and not verdict.passed else None,
    )
    return Judgement(batch.table, batch.version, check, outcome, batch.partition, blocking=False)


def _breached(judgement: Judgement) -> bool:
    return not judgement.outcome.passed and "content" in judgement.outcome.evidence


def _write(window: Seen, judgements: Sequence[Judgement]) -> str:
    """Write the page; return what kept it from being written: it only shows what was judged."""
    from checks.monitoring_report import write_window_page

    outcomes = {judgement.check: judgement.outcome for judgement in judgements}
    series = window.platform.settings.evidently
    try:
        write_window_page(page_of(window), series, window.spec, window.answers, window.held, outcomes)
    except Exception as error:  # Evidently fails in many ways on unusual rows
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return ""


def _naming(judgement: Judgement, page: Path, trouble: str) -> Judgement:
    outcome = judgement.outcome
    if outcome.passed or outcome.report is not None:
        return judgement
    if trouble:
        return replace(judgement, outcome=replace(outcome, summary=f"{outcome.summary}; it has no page: {trouble}"))
    return replace(judgement, outcome=replace(outcome, report=page))


def _picture(settings: Settings, spec: ModelSpec, window: str, check: str) -> Path:
    return folder_of(settings) / "pictures" / f"{spec.name}-{window}-{check}.png"
