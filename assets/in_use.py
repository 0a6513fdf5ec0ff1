"""What the environment uses right now: table versions, reports, logs, dbt's build. `assets.vacuum` asks and removes."""

import json
from collections.abc import Iterator
from pathlib import Path

from assets.resources import Platform
from ml.model_version import TRAINING_SET_VERSION
from ml.models import MODELS
from ml.recipe import RAW
from ml.retention import InUse
from serving.log_spool import LOG_SUFFIX, SUFFIX
from serving.model_repository import ModelRepository


def versions_in_use(platform: Platform) -> InUse:
    """Return the versions that models, published rows and dbt's last build rest on. Published ones: `ml.retention`."""
    found = InUse()
    for spec in MODELS:
        found.add(f"{spec.name}/training_set", _training_sets(platform, spec.name))
        scores = f"{spec.name}/scores"
        found.add(scores, platform.lake.partition_versions(scores).values())
    for name, version in _pinned_by_dbt(platform).items():
        found.add(f"raw/{name}", [version])
    for table, version in _published_from(platform):
        found.add(table, [version])
    return found


def reports_in_use(platform: Platform) -> tuple[str, ...]:
    """Return how the names of reports end that are on models with an alias or on what is published now."""
    models = [f"{v.name}-v{v.version}" for s in MODELS for v in platform.registry.versions(s.name) if v.aliases]
    names = [table.partition("/")[2] for table in platform.lake.tables() if table.startswith("published/")]
    current = [publication for name in names if (publication := platform.publications.current(name)) is not None]
    return (*models, *{f"-v{publication.version}" for publication in current})


def last_dbt_build(platform: Platform) -> Path | None:
    """Return the folder of the last dbt build, None if there was none."""
    results = sorted(platform.settings.dbt_target.rglob("run_results.json"), key=lambda path: path.stat().st_mtime)
    return results[-1].parent if results else None


def prediction_logs_in_use(platform: Platform, model: str) -> set[Path]:
    """Return the files of a model's prediction log that have not landed to the last byte, or that a writer fills.

    The schemas, by which the log is read, are always in use.
    """
    commits = platform.lake.history(f"{model}/predictions")
    landed: dict[str, int] = commits[0]["metadata"].get("cursor", {}) if commits else {}
    folder = platform.settings.serving_home / "predictions" / model
    filled = {path for path in folder.glob(f"*{LOG_SUFFIX}") if path.with_suffix(SUFFIX).exists()}
    logs = (*folder.glob(f"*{LOG_SUFFIX}"), *folder.glob("*.jsonl"))  # these of routers of before
    unread = {path for path in logs if path.stat().st_size > landed.get(path.name, -1)}
    return {*filled, *unread, *folder.glob(f"*{SUFFIX}"), *folder.glob("*.schema.json")}


def _training_sets(platform: Platform, model: str) -> set[int]:
    """Return the training sets of versions that have an alias, are the newest, a plan names, or a rollback would."""
    plans = ModelRepository(platform.settings.serving_home).history(model)
    served = list(dict.fromkeys(plan.champion.version for plan in reversed(plans)))[:2]
    served += [arm.version.version for plan in plans[-1:] for arm in plan.arms]
    versions = platform.registry.versions(model)
    used = [v for v in versions if v.aliases or v.version in served] + list(versions[:1])
    return {int(v.tags[TRAINING_SET_VERSION]) for v in used if TRAINING_SET_VERSION in v.tags}


def _published_from(platform: Platform) -> Iterator[tuple[str, int]]:
    """Yield the raw versions that what is published was made from: the next training set is made again from them."""
    for table in platform.lake.tables():
        stage, _, name = table.partition("/")
        publication = platform.publications.current(name) if stage == "published" else None
        if publication is not None:
            staged = set(publication.staged.values())
            made = [commit for commit in platform.lake.history(f"features/{name}") if commit["version"] in staged]
            yield from (item for commit in made for item in commit["metadata"].get(RAW, {}).items())


def _pinned_by_dbt(platform: Platform) -> dict[str, int]:
    """Return the raw versions that the last dbt build read."""
    build = last_dbt_build(platform)
    if build is None:
        return {}
    variables = json.loads((build / "run_results.json").read_text())["args"].get("vars", {})
    pinned: dict[str, int] = variables.get("raw_versions", {})
    return pinned
