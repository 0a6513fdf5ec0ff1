"""Where an asset's page in the Dagster UI leads: its documentation, its column lineage, its reports, MLflow, its code.

Everything opens on this machine, without a network: what `make ui` and `make mlflow` serve. What only a run knows (this
version's run in MLflow, its card) it tells itself, by `run_link` and `page_link`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import dagster as dg

from assets.code_places import code_places
from assets.reports import address_of, site
from assets.resources import Platform
from assets.tags import group_of, stage_of, tags_of
from ml import remedies
from ml.model_version import ModelVersion
from ml.settings import Settings
from ml.source import Source
from ml.spec import ModelSpec

DOCS = {
    "raw": "docs/how-to.md#add-a-table",
    "staging": "docs/how-to.md#add-a-feature",
    "features": "docs/how-to.md#add-a-feature",
    "published": "docs/feature-store.md",
    "training_set": "docs/feature-store.md#what-counts-as-known",
    "model": "docs/model-card.md",
    "deployment": "docs/rollout.md",
    "scores": "docs/serving.md#batch-inference",
    "predictions": "docs/serving.md#prediction-log",
    "outcomes": "docs/monitoring.md#performance-over-time",
    "performance": "docs/monitoring.md#performance-over-time",
    "audit": "docs/how-to.md#read-a-failed-gate",
    **dict.fromkeys(("notebooks", "drift_review", "model_review"), "docs/notebooks.md"),
}
ELSE = "docs/ui.md"
WITH_REPORTS = ("published", "model", "performance", "drift_review", "model_review")
WITH_COLUMNS = ("raw", "staging", "features", "published", "training_set", "model")


def with_links(
    platform: Platform, sources: Sequence[Source], models: Sequence[ModelSpec], assets: Iterable[dg.AssetsDefinition]
) -> list[dg.AssetsDefinition]:
    """Return the assets with links, groups and tags."""
    places, views = code_places(platform, sources, models), platform.feature_views

    def marked(spec: dg.AssetSpec) -> dg.AssetSpec:
        name = "/".join(spec.key.path)
        place = places.get(name, places.get(group_of(name)))
        code = {"dagster/code_references": place} if place else {}
        links = links_of(platform.settings, name)
        told = spec.replace_attributes(description=described(spec.description or "", links), group_name=group_of(name))
        return told.merge_attributes(metadata={**links, **code}, tags=tags_of(name, models, views))

    return [asset.map_asset_specs(marked) for asset in assets]


def described(text: str, links: Mapping[str, dg.UrlMetadataValue]) -> str:
    """Return a description with the links below its first paragraph: metadata stand far down on an asset's page."""
    first, *rest = text.split("\n\n", 1)
    return "\n\n".join([first, " | ".join(f"[{name}]({link.url})" for name, link in links.items()), *rest])


def links_of(settings: Settings, table: str) -> dict[str, dg.UrlMetadataValue]:
    """Return where the page of an asset (flight_delay/model) leads whatever was run."""
    stage, base, url = stage_of(table), site(settings), dg.MetadataValue.url
    first, *_, last = table.split("/")
    owner = last if first == stage else first
    links = {"docs": url(f"{base}/{DOCS.get(stage, ELSE)}")}
    if stage in WITH_REPORTS:
        links["reports"] = url(f"{base}/of/{owner}")
    if stage in WITH_COLUMNS:
        links["column lineage"] = url(f"{base}/columns#{table}")
    if stage in ("model", "deployment"):
        links["mlflow"] = url(f"{mlflow_page(settings)}/#/models/{owner}")
    return links


def page_link(settings: Settings, page: Path) -> dg.UrlMetadataValue:
    """Return the link to a page under the reports' folder.

    The model's `reports` lists those called <model>-*.html or *-<model>-*.html, in any folder.
    """
    return dg.MetadataValue.url(address_of(settings, page))


def run_link(platform: Platform, version: ModelVersion) -> dg.UrlMetadataValue:
    """Return the link to the MLflow run that made a version."""
    with platform.registry.failures():
        experiment = platform.registry.client.get_run(version.run_id).info.experiment_id
    return dg.MetadataValue.url(f"{mlflow_page(platform.settings)}/#/experiments/{experiment}/runs/{version.run_id}")


def asking(model: str, version: str, fields: Iterable[str]) -> dg.MarkdownMetadataValue:
    """Return which Triton model answers, and how to ask it."""
    told = " ".join(f"{name}=..." for name in fields)
    served = remedies.here("`make status` says what is served and whether Triton answers")
    return dg.MetadataValue.md(
        f"Model `{model}` of the router, version {version}. {served}; "
        f"one row: `.venv/bin/python -m serving.client {model} {told}`"
    )


def mlflow_page(settings: Settings) -> str:
    """Return where people open MLflow: its server, or what `make mlflow` serves."""
    if not settings.tracking_uri.startswith("http"):
        return f"http://127.0.0.1:{settings.mlflow_port}"
    scheme, _, rest = settings.tracking_uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].rstrip('/')}"
