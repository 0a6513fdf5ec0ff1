from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ml.settings import Settings
from serving.client import HeadwaterClient
from serving.plan import Input, Plan
from serving.process import recall
from serving.rollout import Newcomer, deploy
from serving.router import Router
from serving.server import Server
from serving.triton_files import free_ports
from tests.serving.example import SPEC, VIEWS, example_plan, settings_at, write_graph, write_world


@dataclass
class Served:
    """A running Triton in a temporary home; `deploy` serves one more version of the example model."""

    settings: Settings
    server: Server
    versions: int = 0
    graphs: dict[str, Path] = field(default_factory=dict)

    def graph(self, bias: float, scale: float = 1.0, inputs: Sequence[Input] | None = None) -> tuple[str, Path]:
        self.versions += 1
        version = str(self.versions)
        path = self.settings.root / "trained" / f"{version}.onnx"
        self.graphs[version] = write_graph(path, bias, inputs, scale)
        return version, self.graphs[version]

    def deploy(self, bias: float = -3.0) -> Plan:
        return deploy(Newcomer(SPEC, *self.graph(bias), VIEWS), self.settings)

    def client(self, timeout: float = 5.0) -> HeadwaterClient:
        return HeadwaterClient(self.server.url, timeout)


def leader(served: Served) -> int:
    pid = served.server.status().pid
    assert pid is not None
    return pid


def stubs(served: Served) -> list[int]:
    process = recall(served.settings.serving_home / "server" / "triton.json")
    assert process is not None
    return [pid for pid in process.members(served.settings.triton_root) if pid != process.pid]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    grpc, metrics = free_ports(2)
    settings = settings_at(home, triton_grpc_port=grpc, triton_metrics_port=metrics)
    write_world(home)
    server = Server(settings)
    server.start()
    try:
        world = Served(settings, server)
        world.deploy()
        yield world
    finally:
        server.stop()


@pytest.fixture
def running(served: Served) -> Served:
    """The same, certainly up and healthy, whatever the test before did to it."""
    assert not served.server.start().failing
    return served


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    write_world(tmp_path)
    plan = example_plan(tmp_path)
    write_graph(Path(plan.champion.onnx), -2.5, plan.champion.inputs)
    return plan


@pytest.fixture
def routers() -> Iterator[list[Router]]:
    opened: list[Router] = []
    yield opened
    for router in opened:
        router.close()
