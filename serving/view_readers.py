"""Which models in use read which feature views: all that a plan names, what a rollback returns to, what bears an alias.

From the plans in the serving model repository, and for versions that have none from the provenance that the
registry keeps. Whether a view may change is decided in checks/.
"""

from dataclasses import dataclass

from ml.registry import Registry
from serving.model_repository import ModelRepository
from serving.plan import Arm


@dataclass(frozen=True)
class ViewReader:
    """A model version in use, why it counts as such, and the names of the views that it reads."""

    model: str
    version: str
    role: str
    views: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.model} version {self.version} ({self.role})"


def models_in_use(repository: ModelRepository, registry: Registry) -> tuple[ViewReader, ...]:
    """Return every model version in use, by model and version.

    Raises LookupError if a registered version that bears an alias does not say what it learned from.
    """
    found: dict[tuple[str, str], ViewReader] = {}
    for model in repository.deployed_models():
        serving, previous = repository.deployed(model), repository.previous(model)
        arms = serving.lineup if serving is not None else ()
        for arm in (*arms, *((Arm("previous", previous.champion),) if previous else ())):
            version = arm.version.version
            views = tuple(dict.fromkeys(i.view for i in arm.version.inputs if i.view is not None))
            found.setdefault((model, version), ViewReader(model, version, arm.variant, views))
    for model in registry.names():
        for alias, version in registry.aliases(model).items():
            if (model, version) not in found:
                tables = registry.version(model, version).source_tables
                found[model, version] = ViewReader(model, version, alias, tables)
    return tuple(found[key] for key in sorted(found, key=lambda key: (key[0], int(key[1]))))
