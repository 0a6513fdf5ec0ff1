import json
from dataclasses import replace
from pathlib import Path

import pytest

from ml.recording import OURS
from ml.registry import Registry
from serving.model_repository import ModelRepository
from serving.plan import Version
from serving.view_readers import models_in_use
from tests.serving.example import example_plan


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    return ModelRepository(tmp_path / "serving")


@pytest.fixture
def registry(empty_registry: Registry) -> Registry:
    return empty_registry


def deploy(repository: ModelRepository, tmp_path: Path, version: str, views: int = 2) -> None:
    plan = example_plan(tmp_path)
    names = {view.name for view in plan.views[:views]}
    inputs = tuple(i for i in plan.champion.inputs if i.view is None or i.view in names)
    revision = repository.next_revision(plan.model)
    plan = replace(plan, revision=revision, champion=Version(version, "m.onnx", inputs), views=plan.views[:views])
    repository.write_plan(plan)
    repository.point(plan, proven=True)


def register(registry: Registry, name: str, sources: dict[str, int] | None) -> str:
    """A version in the registry, with what it learned from."""
    tags = {} if sources is None else {"training_set_provenance": json.dumps({"sources": sources})}
    if name not in registry.names():
        registry.client.create_registered_model(name, tags=OURS)
    with registry.recording(name) as run:
        entry = registry.client.create_model_version(name, "file:///nowhere", run.run_id, tags=tags)
    return str(entry.version)


def found(repository: ModelRepository, registry: Registry) -> list[tuple[str, tuple[str, ...]]]:
    return [(str(reader), reader.views) for reader in models_in_use(repository, registry)]


def test_nothing_deployed_and_no_registry_is_nobody(repository, tmp_path):
    registry = Registry(f"sqlite:///{tmp_path}/mlflow/mlflow.db", tmp_path / "artifacts")
    assert models_in_use(repository, registry) == ()
    assert not (tmp_path / "mlflow").exists()  # asking makes no database


def test_what_serves_and_what_a_rollback_returns_to_are_in_use_and_nothing_older(repository, registry, tmp_path):
    deploy(repository, tmp_path, "1", views=1)
    deploy(repository, tmp_path, "2", views=1)
    deploy(repository, tmp_path, "3")
    assert found(repository, registry) == [
        ("example version 2 (previous)", ("aircraft",)),
        ("example version 3 (champion)", ("aircraft", "runway")),
    ]


def test_a_registered_version_counts_by_its_alias_and_reads_what_it_learned_from(repository, registry):
    first = register(registry, "flood", {"gauge_state": 4, "outcomes": 2})
    register(registry, "flood", {"rainfall": 1})
    assert found(repository, registry) == []
    registry.challenge("flood", first)
    assert found(repository, registry) == [("flood version 1 (challenger)", ("gauge_state", "outcomes"))]


def test_an_alias_on_a_version_of_unknown_origin_is_named_with_the_remedy(repository, registry):
    registry.challenge("flood", register(registry, "flood", None))
    with pytest.raises(LookupError, match=r"version 1 of model 'flood' does not say .*take its alias away"):
        models_in_use(repository, registry)
