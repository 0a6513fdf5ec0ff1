"""The checks of <model>/performance, wired: each window is judged once when it is final, and again if its rows change.

What they ask is in `checks/monitoring_*.py`. None blocks: they warn, and a policy may retrain. Verdicts bear the
window's first day as their partition. Nothing here knows a model.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from assets.gates import Batch, Gate, mirrored
from assets.mirror import Judgement, record
from assets.monitoring_pages import judged_before, page_of, with_page
from assets.monitoring_rows import Seen, performance_table, seen, spans
from assets.resources import Platform
from checks.drift_windows import Profiles
from checks.monitoring_answers import PREDICTION_DRIFT, check_prediction_drift
from checks.monitoring_drift import SERVED_DRIFT, check_served_drift
from checks.monitoring_health import SERVING_HEALTH, check_serving_health
from checks.monitoring_quality import CALIBRATION, PERFORMANCE, check_calibration, check_performance
from checks.novelty import CHECK as NOVELTY
from checks.novelty import check_novelty, known_from
from checks.outcome import Outcome
from ml.lake import WHOLE
from ml.spec import ModelSpec
from ml.windows import Span

Judge = Callable[[Seen], Outcome]

CHECKS: Mapping[str, tuple[str, Judge]] = {
    PERFORMANCE: (
        "The score lies within `max_score_drop` of that on the version's held-out rows, or below it by noise only.",
        lambda s: check_performance(s.spec, s.answers, s.held),
    ),
    CALIBRATION: (
        "A scale and shift learned on up to four windows before would not have saved more than "
        "`max_recalibration_gain` of the loss, beyond noise.",
        lambda s: check_calibration(s.spec, s.answers),
    ),
    PREDICTION_DRIFT: (
        "The answers are distributed as the version's answers to its held-out rows, within `max_prediction_distance`.",
        lambda s: check_prediction_drift(s.spec, s.answers, s.held),
    ),
    SERVED_DRIFT: (
        "Fewer than `max_drifted_share` of the features served have left what the version learned from; seasonal ones "
        "are left out.",
        lambda s: served_drift(s),
    ),
    NOVELTY: (
        "No feature is new in `max_novel_share` of the answers: outside the central 99% of what the version learned "
        "from, or a name that it does not know.",
        lambda s: novelty(s),
    ),
    SERVING_HEALTH: (
        "At most `max_degraded_share` of the answers lack a view, and their p99 in the router keeps the SLO.",
        lambda s: check_serving_health(s.spec, s.answers),
    ),
}


def performance_checks(spec: ModelSpec) -> dg.AssetChecksDefinition:
    """Return the checks of a spec's windows. Dagster shows the newest window, the audit table has them all."""
    key = dg.AssetKey([spec.name, "performance"])
    specs = [dg.AssetCheckSpec(name, asset=key, description=told) for name, (told, _) in CHECKS.items()]

    @dg.multi_asset_check(name=f"{spec.name}__performance__windows", specs=specs, can_subset=True)
    def judged(context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]) -> Iterator[Any]:
        selected = [name for name in CHECKS if name in {k.name for k in context.selected_asset_check_keys}]
        for judgements in judge_windows(platform, spec, selected, context.run.run_id):
            for judgement in judgements:
                tell = context.log.debug if judgement.outcome.passed else context.log.warning
                tell(f"{judgement.partition} {judgement.check}: {judgement.outcome.summary}")
            shown = [replace(judgement, partition=WHOLE) for judgement in judgements]
            yield from mirrored(context.instance, platform, key, shown)
        for check in specs:
            if check.key in context.selected_asset_check_keys:
                yield dg.Output(None, check.get_python_identifier())

    return judged


def judge_windows(platform: Platform, spec: ModelSpec, names: Sequence[str], run_id: str) -> Iterator[list[Judgement]]:
    """Judge and record each final window with rows enough that was not judged as it is; yield them in order.

    The newest window is yielded as it was judged before, if it was: it is what Dagster is to show.
    """
    table, todo = performance_table(spec), _unjudged(platform, spec, names)
    due = {span: window for span, new in todo.items() if new and (window := _due(platform, spec, span))}
    shown = max([*due, *(span for span, new in todo.items() if len(new) < len(names))], default=None)
    versions = platform.lake.partition_versions(table) if todo else {}
    for span in sorted({*due, *([shown] if shown else [])}):
        batch, found = Batch(platform, table, versions[span.name], span.name, run_id), list[Judgement]()
        if span in due:
            found = with_page(due[span], judge(due[span], batch, todo[span]))
            record(platform, run_id, found)
        if span == shown:
            found += [judged_before(batch, spec, name) for name in names if name not in todo[span]]
        yield found


def _unjudged(platform: Platform, spec: ModelSpec, names: Sequence[str]) -> dict[Span, list[str]]:
    """Return, for each final window, the checks that have not judged it as it is."""
    table = performance_table(spec)
    judged = {
        (v.version, v.partition, v.check)
        for v, _ in platform.verdicts.newest_verdicts(table)
        if {"content", "not_judged"} & v.evidence.keys()  # one that crashed judged nothing
    }
    final = final_spans(platform, spec)
    versions = platform.lake.partition_versions(table) if final else {}
    return {span: [name for name in names if (versions[span.name], span.name, name) not in judged] for span in final}


def final_spans(platform: Platform, spec: ModelSpec) -> list[Span]:
    """Return the windows of <model>/performance that are final, in order."""
    table, lake = performance_table(spec), platform.lake
    if not lake.exists(table):
        return []
    commits = {c["version"]: c["metadata"] for c in lake.history(table)}
    final = {name for name, v in lake.partition_versions(table).items() if commits[v].get("final")}
    return [span for span in spans(platform, spec) if span.name in final]


def served_drift(window: Seen, always: bool = False) -> Outcome:
    """Judge the features of a window; on a breach, or if told to `always`, with Evidently's page."""
    if not window.learned.columns:
        return window.answers.not_judged("all of its features are times, or move with the season by nature")
    profiles, page = Profiles(window.platform.settings.profiles), page_of(window, "features")
    return check_served_drift(window.answers, window.served, window.learned, profiles, page, always)


def novelty(window: Seen) -> Outcome:
    """Judge whether a feature is given in places of which the version learned next to nothing."""
    learned = pl.concat([part.read().select(window.watched) for part in window.learned.window.parts]).collect()
    bound = window.spec.monitoring.max_novel_share
    found = check_novelty(known_from(learned, window.watched), window.given(window.watched).collect(), bound)
    evidence = {**found.evidence, **window.answers.about, "content": window.answers.content}
    return replace(found, summary=f"{window.answers.title}: {found.summary}", evidence=evidence)


def _due(platform: Platform, spec: ModelSpec, span: Span) -> Seen | None:
    """Return a window if enough of its answers have labels."""
    window = seen(platform, spec, span)
    return window if window is not None and window.answers.labelled.height >= spec.monitoring.min_rows else None


def judge(window: Seen, batch: Batch, names: Sequence[str] = tuple(CHECKS)) -> list[Judgement]:
    """Return what the checks say of a window; one that crashes has failed, and says why."""
    gates = (Gate(name, CHECKS[name][0], partial(_ask, CHECKS[name][1], window), blocking=False) for name in names)
    return [gate.judgement(batch) for gate in gates]


def _ask(ask: Judge, window: Seen, batch: Batch) -> Outcome:
    return ask(window)
