"""Notebooks as assets: executed on this home, kept with their outputs, rendered as a page that the UI links to.

notebooks/explore, and of each model <model>/drift_review and <model>/model_review. Materialized in the UI or by
`make notebook`, never by the line itself. How a notebook is executed is in `notebook_run`.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from assets.notebook_run import NOTEBOOKS, NotebookFailed, execute
from assets.reports import address_of
from assets.resources import Platform
from ml.feature_views import FeatureView
from ml.fingerprint import json_hash
from ml.source import Source
from ml.spec import ModelSpec

EXPLORE, DRIFT_REVIEW, MODEL_REVIEW = "explore", "drift_review", "model_review"
FOLDER = "notebooks"  # of the reports
ROOT = NOTEBOOKS.parent


class Explored(dg.Config):
    """What the notebook looks at."""

    table: str = Field("", description="A partitioned table of the lake; empty: the first source that is partitioned.")
    view: str = Field("", description="A feature view; empty: the one whose values age fastest.")


class Month(dg.Config):
    """Which month is reviewed."""

    month: str = Field("", description="A published month such as 2013-07; empty: the newest that was judged.")


class Version(dg.Config):
    """Which version is reviewed."""

    version: str = Field("", description="Empty: the challenger, or the champion where there is none.")


def notebook_assets(
    platform: Platform, sources: Sequence[Source], models: Sequence[ModelSpec]
) -> list[dg.AssetsDefinition]:
    """Return the notebook of the lake and the two of each model."""
    reviews = [make(spec) for spec in models for make in (_drift_review, _model_review)]
    partitioned = [source.table for source in sources if source.partition is not None]
    explored = [_explore(partitioned, platform.feature_views)] if partitioned and platform.feature_views else []
    return [*explored, *reviews]


def _explore(tables: Sequence[str], views: Sequence[FeatureView]) -> dg.AssetsDefinition:
    table, view = tables[0], min(views, key=lambda view: view.ttl).name
    read = [*(name.split("/") for name in tables), *(["published", view.name] for view in views)]

    @_notebook(
        ["notebooks", EXPLORE],
        "team:platform",
        "The lake's tables and versions, a feature as of a moment, where columns come from.",
        read,
    )
    def explore(
        context: dg.AssetExecutionContext, config: Explored, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        given = {"TABLE": config.table or table, "VIEW": config.view or view}
        platform.guard.admit_published(f"notebooks/{EXPLORE}", given["VIEW"])
        return executed(context, platform, EXPLORE, EXPLORE, given)

    return explore


def _drift_review(spec: ModelSpec) -> dg.AssetsDefinition:
    @_notebook(
        [spec.name, DRIFT_REVIEW],
        spec.owner,
        f"How the world of {spec.name} has moved: every published month of what it reads, what serves, weeks of "
        "answers; numbers and pictures of the drift checks.",
        # Not performance: of it only verdicts are read, and where nobody has asked yet the UI would warn of it.
        [*(["published", name] for name in spec.views), [spec.name, "model"]],
    )
    def drift_review(
        context: dg.AssetExecutionContext, config: Month, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        from assets.notebook_drift import month_drift

        for name in spec.views:
            platform.guard.admit_published(f"{spec.name}/{DRIFT_REVIEW}", name)
        month = month_drift(platform, spec, config.month).month
        given = {"MODEL": spec.name, "MONTH": month}
        return executed(context, platform, DRIFT_REVIEW, f"{DRIFT_REVIEW}-{spec.name}-{month}", given)

    return drift_review


def _model_review(spec: ModelSpec) -> dg.AssetsDefinition:
    @_notebook(
        [spec.name, MODEL_REVIEW],
        spec.owner,
        f"A version of {spec.name} beside the one that it would replace, on the same held-out rows: metrics, "
        "calibration, slices, answers, and what the gates said.",
        [[spec.name, "training_set"], [spec.name, "model"]],
    )
    def model_review(
        context: dg.AssetExecutionContext, config: Version, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        from assets.notebook_review import under_review

        version = under_review(platform.registry, spec.name, config.version)
        reader = f"{spec.name}/{MODEL_REVIEW}"
        platform.guard.require(reader, f"{spec.name}/training_set", version.training_set_version)
        given = {"MODEL": spec.name, "VERSION": version.version}
        # Ends as the version's other reports do, and so is kept as long as they are.
        return executed(context, platform, MODEL_REVIEW, f"{MODEL_REVIEW}-{spec.name}-v{version.version}", given)

    return model_review


def _notebook(
    key: Sequence[str], owner: str, about: str, read: Sequence[Sequence[str]]
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Make a function the asset of the notebook that the last part of its key names."""
    source = NOTEBOOKS / f"{key[-1]}.ipynb"
    return dg.asset(
        key=key,
        deps=[*map(dg.AssetDep, read)],
        owners=[owner],
        description=f"{about} Executed on this home and rendered, on demand.",
        kinds={"jupyter"},
        code_version=json_hash(source.read_text())[:12],
        metadata={"notebook": dg.MetadataValue.notebook(str(source))},
    )


def executed(
    context: dg.AssetExecutionContext, platform: Platform, name: str, title: str, given: Mapping[str, Any]
) -> dg.MaterializeResult:
    """Execute a notebook into the reports' folder. Raises dg.Failure, with a link to what there is of it."""
    settings = platform.settings
    target = settings.reports / FOLDER / title
    links: dict[str, Any] = {
        "page": dg.MetadataValue.url(address_of(settings, target.parent / f"{title}.html")),
        "executed notebook": _shown(target.parent / f"{title}.ipynb"),
    }
    try:
        done = execute(name, given, settings, target)
    except NotebookFailed as failed:
        raise dg.Failure(str(failed), metadata=links, allow_retries=False) from failed
    context.log.info(f"{name}.ipynb: {done.page}")
    told: dict[str, Any] = {**links, "parameters": dict(given), "dagster/uri": links["page"].value}
    if done.picture is not None:
        png = base64.b64encode(done.picture).decode()
        told["preview"] = dg.MetadataValue.md(f"![the first picture](data:image/png;base64,{png})")
    return dg.MaterializeResult(metadata=told)


def _shown(path: Path) -> dg.NotebookMetadataValue | dg.PathMetadataValue:
    """Let the UI open a notebook that lies in the repository, as the default home does: it opens no other."""
    return dg.MetadataValue.notebook(path) if path.is_relative_to(ROOT) else dg.MetadataValue.path(path)
