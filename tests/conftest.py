"""What all tests share."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from assets.postgres_server import PostgresServer
from assets.quiet import quiet_exit
from assets.s3_server import S3Server
from ml.registry import Registry
from tests.ml.lake_places import LakePlace
from tests.redis_server import RedisServer, free_port

quiet_exit()
os.environ.pop("HEADWATER_LAKE", None)  # homes of tests have lakes of their own
for name in [name for name in os.environ if name.startswith(("MAKE", "MFLAGS"))]:
    del os.environ[name]  # tests run make as users do, not as a part of the make that runs the tests

# What changes the one demo's home, or asks its Triton: all in one process, and first, because it takes longest.
LIVE = tuple(
    f"tests/line/test_{name}.py"
    for name in ("demo", "drill_bad_data", "drill_drift", "drill_rollback", "browser", "trace")
)
# What takes minutes by itself: before what stands on the demo, which has been run by then.
LONG = tuple(f"tests/assets/test_{name}.py" for name in ("fault_matrix", "model_ci", "view_versions", "files_touched"))
LINE = "tests/line/"

# Machines are noisy: a slow draw is not a failure.
settings.register_profile("noisy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("noisy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes long first, so that both processes end at about the same time."""
    order = (LIVE, LONG, LINE, "")
    items.sort(key=lambda item: next(place for place, names in enumerate(order) if item.nodeid.startswith(names)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep in one process what a file's tests share, and what works on the demo's own home."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return LINE if nodeid.startswith(LIVE) else super()._split_scope(nodeid)

    return ByFile(config, log)


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


@pytest.fixture(scope="session")
def shared_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"), free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """The tests' PostgreSQL; what it holds need not outlive them."""
    server = PostgresServer(tmp_path_factory.mktemp("postgres"), free_port(), keeps=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def s3(shared_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The tests' S3 server with its bucket `lake`, and the environment by which its clients find it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in shared_s3.environment.items():
        monkeypatch.setenv(name, value)
    return shared_s3


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> LakePlace:
    """An empty lake, in a folder and on an S3 server in turn."""
    return LakePlace(tmp_path, request.getfixturevalue("s3") if request.param == "s3" else None)


@pytest.fixture(scope="session")
def mlflow_postgres(postgres: PostgresServer) -> str:
    """The address of a database with MLflow's tables, shared by tests: each has model names of its own."""
    return postgres.database("mlflow")


@pytest.fixture(params=["sqlite", "redis"])
def online_address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty online store, of each kind in turn."""
    if request.param == "sqlite":
        return str(tmp_path / "online.db")
    return request.getfixturevalue("redis_server").address


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database file of a registry that holds nothing, to copy: MLflow takes seconds to make one."""
    folder = tmp_path_factory.mktemp("mlflow_database")
    _ = Registry(f"sqlite:///{folder}/mlflow.db", folder / "artifacts").client
    assert [path.name for path in folder.glob("mlflow.db*")] == ["mlflow.db"], "nothing else is copied"
    return folder / "mlflow.db"


@pytest.fixture
def empty_registry(mlflow_database: Path, tmp_path: Path) -> Registry:
    """A registry of the test's own that holds nothing, in <tmp_path>/mlflow/mlflow.db."""
    (tmp_path / "mlflow").mkdir()
    shutil.copy(mlflow_database, tmp_path / "mlflow")
    return Registry(f"sqlite:///{tmp_path}/mlflow/mlflow.db", tmp_path / "artifacts")
