"""MLflow's aliases after each kind of change, on plans and a registry without a server."""

from dataclasses import replace
from pathlib import Path

import pytest

from ml.registry import Registry
from serving.aliases import follow
from serving.model_repository import ModelRepository
from serving.plan import Arm, Variant
from tests.serving.example import example_plan
from tests.serving.test_view_readers import register


class World:
    """Plans of versions "1" to "4", and the registry that knows them."""

    def __init__(self, home: Path) -> None:
        self.home, self.repository = home, ModelRepository(home / "serving")
        self.registry = Registry(f"sqlite:///{home}/mlflow.db", home / "artifacts")
        for _ in range(4):
            register(self.registry, "example", {})

    def serve(self, champion: str, *arms: tuple[Variant, str], begun: str = "") -> dict[str, str]:
        plan = example_plan(self.home, self.repository.next_revision("example"), champion)
        beside = tuple(Arm(variant, replace(plan.champion, version=name), 0.1) for variant, name in arms)
        self.repository.write_plan(plan := replace(plan, arms=beside))
        self.repository.point(plan, proven=True)
        follow(self.registry, self.repository, "example", begun)
        return self.registry.aliases("example")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_alias_of_an_arm_ends_when_another_version_becomes_champion(world: World) -> None:
    assert world.serve("1") == {"champion": "1"}
    assert world.serve("1", ("canary", "2")) == {"champion": "1", "challenger": "2"}
    assert world.serve("3", ("previous", "1")) == {"champion": "3", "previous": "1"}
    assert world.serve("1", ("previous", "3")) == {"champion": "1", "previous": "3"}


def test_of_a_canary_and_a_challenger_the_one_that_began_last_bears_it_and_then_who_is_left(world: World) -> None:
    world.serve("1")
    world.serve("1", ("canary", "2"), begun="2")
    both: tuple[tuple[Variant, str], ...] = (("canary", "2"), ("challenger", "3"))
    assert world.serve("1", *both, begun="3")["challenger"] == "3"
    assert world.serve("1", *both)["challenger"] == "3"
    assert world.serve("1", ("canary", "2"))["challenger"] == "2"


def test_a_candidate_that_has_not_served_yet_keeps_it_until_another_one_serves(world: World) -> None:
    world.serve("1")
    world.registry.challenge("example", "4")
    assert world.serve("2", ("previous", "1"))["challenger"] == "4"
    assert world.serve("2", ("shadow", "4"))["challenger"] == "4"
    assert "challenger" not in world.serve("2")
    world.registry.challenge("example", "4")
    assert world.serve("2", ("canary", "3"))["challenger"] == "3"


def test_where_the_registry_does_not_know_who_serves_nothing_changes(world: World) -> None:
    world.serve("1")
    assert world.serve("99", ("canary", "2")) == {"champion": "1"}
    assert world.serve("2", ("canary", "98")) == {"champion": "2"}
