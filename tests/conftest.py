"""What all tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from assets.quiet import quiet_exit
from tests.redis_server import RedisServer

quiet_exit()

# Machines are noisy: a slow draw is not a failure.
settings.register_profile("noisy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("noisy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands on the one demo, and put it first: `make test` keeps it together in one of its processes.

    All else is kept together by its file, for what a file's tests share is made once.
    """
    for item in items:
        if "line" in getattr(item, "fixturenames", ()):
            item.add_marker("line")
        group = "line" if item.get_closest_marker("line") else item.location[0]
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: item.get_closest_marker("line") is None)


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    """The tests' Redis, empty; started again if a test killed it."""
    if shared_redis.process is None:
        shared_redis.start()
    shared_redis.client.flushall()
    return shared_redis


@pytest.fixture(params=["sqlite", "redis"])
def online_address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty online store, of each kind in turn."""
    if request.param == "sqlite":
        return str(tmp_path / "online.db")
    return request.getfixturevalue("redis_server").address
