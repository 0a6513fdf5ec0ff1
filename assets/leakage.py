"""The leakage check of a training set, wired: its rows, and the raw versions and SQL that its features were made by.

What it judges is in `checks/leakage.py`.
"""

from collections.abc import Sequence

from assets.gates import Gate
from assets.resources import Platform
from checks.leakage import CHECK, MOMENTS, check_leakage
from checks.leakage_rebuild import TrainingSet, views_read
from checks.outcome import Outcome
from ml.rebuild import Made
from ml.recipe import recipe_of
from ml.source import Source
from ml.spec import ModelSpec


def leakage_gate(spec: ModelSpec, sources: Sequence[Source]) -> Gate:
    """Return the gate on <model>/training_set that makes a sample of it again from what was known then."""
    return Gate(
        CHECK,
        f"As-of audit: rows asked at {MOMENTS} moments, made again by the SQL that made them from raw rows cut off at "
        "each moment, and all rows from raw rows to which corrections came late: not one bit differs. Names the first "
        "value that does, what was known then, and the raw row that it needs.",
        lambda batch: audit(batch.platform, spec, sources, batch.version),
    )


def audit(platform: Platform, spec: ModelSpec, sources: Sequence[Source], version: int) -> Outcome:
    """Return the verdict on a version of a model's training set."""
    table = f"{spec.name}/training_set"
    try:
        training_set = training_set_of(platform, spec, version)
    except LookupError as error:
        return Outcome(False, f"nobody can say how {table} version {version} was made: {error}")
    seed = int(platform.lake.metadata(table, version)["content"][:8], 16)
    return check_leakage(training_set, platform.lake, sources, seed)


def training_set_of(platform: Platform, spec: ModelSpec, version: int) -> TrainingSet:
    """Return a version of a model's training set with how it was made. Raises what `made_by` raises."""
    table = f"{spec.name}/training_set"
    joined, views = platform.lake.metadata(table, version)["sources"], views_read(spec, platform.feature_views)
    made = {view.name: made_by(platform, view.name, joined[view.name]) for view in views}
    return TrainingSet(spec, platform.lake.read(table, version).collect(), views, made)


def made_by(platform: Platform, name: str, version: int) -> list[Made]:
    """Return how the months of a published version of a view were made.

    Raises LookupError with the remedy if it was never published, or if the commits of its months do not say.
    """
    published = [publication for publication in platform.publications.log(name) if publication.version == version]
    if not published:
        raise LookupError(f"published/{name} version {version} was never published; publish it and join again")
    commits = {commit["version"]: commit["metadata"] for commit in platform.lake.history(f"features/{name}")}
    months: dict[int, list[str]] = {}
    for month, staged in sorted(published[-1].staged.items()):
        months.setdefault(staged, []).append(month)
    made = []
    for staged, part in months.items():
        recipe = recipe_of(commits[staged]) if staged in commits else None
        if recipe is None:
            raise LookupError(
                f"features/{name} version {staged} does not say which raw versions and SQL made {part[0]} to "
                f"{part[-1]}; materialize features/{name} for these months again, publish it and join again"
            )
        made.append(Made(tuple(part), recipe))
    return made
