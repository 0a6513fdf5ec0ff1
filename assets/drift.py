"""The drift checks as Dagster shows them, and `python -m assets.drift`, which looks at a month or a model on demand.

`feature_drift` warns and may start retraining; `serving_drift` blocks a promotion. Both compare all rows by statistics
on kept profiles, and write a page only on a breach, on promotion or on demand. Not here: which rows (`drift_windows`).
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

import dagster as dg

from assets.command import either, in_one_line, require_given
from assets.drift_windows import (
    LEARNED,
    REFERENCE_MONTHS,
    SERVING_DRIFT,
    PublishedMonths,
    champion_of,
    champion_window,
    training_window,
)
from assets.gates import Gate, gate_checks
from assets.quiet import leave
from assets.resources import Platform, platform_for
from checks.drift import CHECK, check_drift, drifted_share
from checks.drift_bounds import Bounds
from checks.drift_evidence import Reference
from checks.drift_windows import Profiles, Window
from checks.outcome import Outcome
from ml.feature_views import FeatureView
from ml.model_version import ModelVersion
from ml.models import MODEL_NAMES, MODELS
from ml.months import Months
from ml.onnx_file import PROOF_SHA256
from ml.settings import Settings
from ml.spec import ModelSpec, column_of
from ml.split import refit_cut
from ml.trained_spec import AS_OF, trained_spec

LONGEST_MONTH = timedelta(days=31)  # rows valid for longer need not come anew every month


def feature_drift_check(view: FeatureView, models: Sequence[ModelSpec], months: Months) -> dg.AssetChecksDefinition:
    """Return the check of a published view: each month of a run against the months before and the champion's."""
    gate = Gate(
        CHECK,
        f"A month against the {REFERENCE_MONTHS} months before it and against what the champion learned from, on the "
        "features that models use: distance, KS, PSI, missing, new and lost values. Never blocks; a breach may "
        "start retraining and writes a page with the causes.",
        lambda batch: judge_month(batch.platform, view, models, batch.version, batch.partition),
        blocking=False,
    )
    return gate_checks(
        f"published/{view.name}",
        [gate],
        months=months,
        version=lambda platform: platform.publications.require(view.name).version,
    )


def serving_drift_gate(spec: ModelSpec) -> Gate:
    """Return the gate of a model version: the rows it learned from against the newest rows it would serve."""
    return Gate(
        SERVING_DRIFT,
        "The rows it learned from against the newest rows it would serve: distance, KS, PSI, missing, new and lost "
        "values, on all rows, with Evidently's report of a sample. Blocks promotion.",
        lambda batch: judge_model(batch.platform, spec, batch.platform.registry.version(spec.name, str(batch.version))),
    )


def judge_month(
    platform: Platform,
    view: FeatureView,
    models: Sequence[ModelSpec],
    version: int,
    month: str,
    always: bool = False,
) -> Outcome:
    """Judge a month of a published version of a view; `always` writes the page, breach or not."""
    columns = watched_columns(view.name, models)
    if not columns:
        read = any(view.name in spec.views for spec in models)
        seasonal = f"no model watches a column of {view.name}: all move with the season by nature"
        return Outcome(True, seasonal if read else f"no model reads {view.name} yet")
    months = PublishedMonths(platform, view.name, version)
    current = months.window(month)
    if not current.parts and view.ttl > LONGEST_MONTH:
        return Outcome(True, f"{month} has no new rows of {view.name}; older ones are valid for {view.ttl.days} days")
    references = month_references(platform, months, view.name, models, month)
    if not references:
        return Outcome(True, f"{month} has no earlier published month and no champion to compare with")
    page = platform.settings.reports / "drift" / f"{view.name}-{month}-v{version}.html"
    profiles = Profiles(platform.settings.profiles)
    return check_drift(current, references, profiles, page, always, months.year_before(month))


def month_references(
    platform: Platform, months: PublishedMonths, view: str, models: Sequence[ModelSpec], month: str
) -> list[Reference]:
    """Return what a month of a view is compared with: the months before, and what each champion learned from."""
    readers = [spec for spec in models if watched_columns(view, [spec])]
    references = [Reference("trailing", months.before(month), watched_columns(view, models), _any(readers))]
    for spec in readers:
        learned = champion_window(platform, spec, view)
        kind = "champion" if len(readers) == 1 else f"champion of {spec.name}"
        if learned is not None:
            references.append(Reference(kind, learned, watched_columns(view, [spec]), _any([spec])))
    return [reference for reference in references if reference.window.parts]


def judge_model(platform: Platform, spec: ModelSpec, candidate: ModelVersion) -> Outcome:
    """Judge a model version: what it learned from against its held-out rows, the newest. Always writes the page.

    A retraining that drift asked for is let pass where what serves is further from these rows than it: to refuse it
    would keep the worse of the two.
    """
    served, learned = model_windows(platform, spec, candidate)
    page = platform.settings.reports / SERVING_DRIFT / f"{spec.name}-v{candidate.version}.html"
    profiles = Profiles(platform.settings.profiles)
    outcome = check_drift(served, [learned], profiles, page, always=True)
    outcome = replace(outcome, evidence={**outcome.evidence, LEARNED: candidate.training_set_version})
    if outcome.passed or not candidate.tags.get(AS_OF) or "references" not in outcome.evidence:
        return outcome
    return _against_what_serves(platform, spec, candidate, outcome, lambda r: drifted_share(served, r, profiles))


def model_windows(platform: Platform, spec: ModelSpec, candidate: ModelVersion) -> tuple[Window, Reference]:
    """Return the newest rows of a version's training set, which it would serve, and those that it learned from."""
    version = candidate.training_set_version
    trained = trained_spec(spec, platform.lake.metadata(f"{spec.name}/training_set", version))
    name = f"{spec.name} version {candidate.version} serves"
    served = training_window(platform, trained, version, trained.split.test, name)
    return served, _learned(platform, spec, candidate, "training rows")


def _against_what_serves(
    platform: Platform,
    spec: ModelSpec,
    candidate: ModelVersion,
    outcome: Outcome,
    share_of: Callable[[Reference], float],
) -> Outcome:
    champion = champion_of(platform, spec)
    if champion is None or champion[0] == candidate.version:
        return outcome
    serves = _learned(platform, spec, platform.registry.version(spec.name, champion[0]), "champion's rows")
    own, other = outcome.evidence["references"]["training rows"]["share"], share_of(serves)
    evidence = {**outcome.evidence, "champion_share": other}
    if own > other:
        return replace(outcome, evidence=evidence)
    told = f"let pass: version {champion[0]}, which serves, is further from these rows ({other:.0%} of the columns)"
    summary, short = f"{told}; {outcome.summary}", f"let pass; {outcome.short}"
    return replace(outcome, passed=True, summary=summary, short=short, evidence=evidence)


def _learned(platform: Platform, spec: ModelSpec, version: ModelVersion, kind: str) -> Reference:
    """Return the rows that a version learned from, by its refit if there was one."""
    number = version.training_set_version
    trained = trained_spec(spec, platform.lake.metadata(f"{spec.name}/training_set", number))
    rows = refit_cut(trained)["train"][0] if PROOF_SHA256 in version.tags else trained.split.train
    window = training_window(platform, trained, number, rows, "learned from")
    return Reference(kind, window, compared_columns(spec), drift_bounds(spec))


def watched_columns(view: str, models: Iterable[ModelSpec]) -> list[str]:
    """Return the columns of a view that models use, less times and those that move with the season by nature."""
    references = {
        reference
        for spec in models
        for reference in spec.features
        if reference not in spec.gates.seasonal_features and reference not in {e.since for e in spec.elapsed}
    }
    return sorted(r.split(":")[1] for r in references if r.split(":")[0] == view)


def compared_columns(spec: ModelSpec) -> list[str]:
    """Return the columns whose distribution must hold: no times, and nothing declared seasonal."""
    times = {e.since for e in spec.elapsed}
    features = [f for f in spec.features if f not in times and f not in spec.gates.seasonal_features]
    return [column_of(f) for f in features] + [f.name for f in spec.request if f.kind in ("numeric", "categorical")]


def drift_bounds(spec: ModelSpec) -> Bounds:
    """Return how far features may move between what the model learned from and what it would serve."""
    gates = spec.gates
    return Bounds(
        distance=gates.max_feature_distance,
        share=gates.max_drifted_share,
        ks=gates.max_feature_ks,
        psi=gates.max_feature_psi,
        missing=gates.max_missing_shift,
        categories=gates.max_category_shift,
    )


def _any(models: Sequence[ModelSpec]) -> Bounds:
    """The strictest model that reads a view says when one of its columns has moved; a single one is worth a warning."""
    return replace(Bounds.strictest([drift_bounds(spec) for spec in models]), share=0.0)


def look(platform: Platform, models: Sequence[ModelSpec], name: str, which: str | None) -> Outcome:
    """Judge a month of a view (default: the newest published) or a version of a model (default: the newest).

    Raises LookupError naming what there is if the name or the month is unknown.
    """
    views = {view.name: view for view in platform.feature_views}
    specs = {spec.name: spec for spec in models}
    if name in specs:
        registry = platform.registry
        return judge_model(platform, specs[name], registry.version(name, which) if which else registry.newest(name))
    if name not in views:
        raise LookupError(f"no view or model {name!r}; there are: {', '.join([*views, *specs])}")
    version = platform.publications.require(name).version
    months = sorted(platform.lake.files_of(f"published/{name}", version))
    if which is not None and which not in months:
        raise LookupError(f"nothing is published of {name} for {which}; there are: {', '.join(months) or 'no months'}")
    return judge_month(platform, views[name], models, version, which or months[-1], always=True)


def _tell(outcome: Outcome) -> None:
    print(f"{'no drift' if outcome.passed else 'DRIFT'}: {outcome.summary}")
    for row in outcome.table:
        print(f"\n{row['column']}: {row['verdict'].strip('*')}")
        for head, cell in row.items():
            if cell and head not in ("column", "verdict"):
                print(f"  {head}: {str(cell).replace('**', '')}")
    if outcome.report is not None:
        print(f"\npage: {outcome.report}")


@in_one_line(Exception)
def main() -> int:
    """Run the command; return 1 after one line on what failed, 0 otherwise, drift or not."""
    parser = argparse.ArgumentParser(
        prog="python -m assets.drift",
        description="Print how far a published month, or what a model would serve, has moved, and write its page.",
    )
    parser.add_argument("name", nargs="?", default="", help="a feature view or a model")
    parser.add_argument("which", nargs="?", help="month of the view (2013-07) or version of the model; default: newest")
    arguments = parser.parse_args()
    require_given("drift", NAME=(arguments.name, f"a feature view, {either(MODEL_NAMES)}"))
    _tell(look(platform_for(Settings()), MODELS, arguments.name, arguments.which))
    return 0


if __name__ == "__main__":
    leave(main())
