from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ml.settings import Settings
from serving.client import HeadwaterClient
from serving.plan import Plan
from serving.process import recall
from serving.rollout import deploy
from serving.server import Server
from serving.triton_files import free_ports
from tests.serving.example import SPEC, VIEWS, settings_at, write_graph, write_world


@dataclass
class Served:
    """A running Triton in a temporary home; `deploy` serves one more version of the example model."""

    settings: Settings
    server: Server
    versions: int = 0
    graphs: dict[str, Path] = field(default_factory=dict)

    def graph(self, bias: float, scale: float = 1.0) -> tuple[str, Path]:
        self.versions += 1
        version = str(self.versions)
        self.graphs[version] = write_graph(self.settings.root / "trained" / f"{version}.onnx", bias, scale=scale)
        return version, self.graphs[version]

    def deploy(self, bias: float = -3.0) -> Plan:
        return deploy(SPEC, *self.graph(bias), VIEWS, self.settings)

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
