"""`helm test`, its commands run here on a real Triton: before anything is deployed, with a model, with none alive."""

import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from deploy.manifest_rules import pod_spec
from ml.settings import Settings
from serving.rollout import Newcomer, deploy
from serving.server import Server
from serving.triton_files import free_ports
from tests.deploy.chart import ROOT, named, rendered
from tests.serving.example import SPEC, VIEWS, settings_at, write_graph, write_world

pytestmark = pytest.mark.server
PARTS = ("replicas", "models")


@dataclass
class Release:
    """A Triton on this machine, and what the pods of `helm test` find in their environment."""

    settings: Settings

    def test(self, part: str) -> tuple[int, str]:
        """Run a part as the chart renders it."""
        (container,) = pod_spec(named(rendered(), "Pod", f"test-{part}"))["containers"]
        told = named(rendered(), "ConfigMap", "settings")["data"]
        assert {told["HEADWATER_TRITON_REPLICAS"], told["HEADWATER_TRITON_URL"]} == {"hw-triton-control:8001"}
        environment = {
            **os.environ,
            "HEADWATER_ENV": told["HEADWATER_ENV"],
            "HEADWATER_HOME": str(self.settings.home),
            "HEADWATER_TRITON_REPLICAS": self.settings.triton_here,
            "HEADWATER_TRITON_URL": self.settings.triton_here,
        }
        command = [sys.executable, *container["command"][1:]]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr


def test_it_says_what_serves_and_fails_where_nothing_is_deployed_or_nobody_answers(tmp_path):
    grpc, metrics = free_ports(2)
    settings = settings_at(tmp_path, triton_grpc_port=grpc, triton_metrics_port=metrics)
    write_world(tmp_path)
    release, server = Release(settings), Server(settings)
    server.start()
    try:
        nothing = "no model is deployed yet; materialize <model>/deployment, and what it stands on, in the Dagster UI"
        for part, status in (("replicas", 0), ("models", 1)):
            found, said = release.test(part)
            assert (found, said.splitlines()) == (status, [f"Triton live at {settings.triton_here}", nothing])
        graph = write_graph(tmp_path / "trained" / "1.onnx", -3.0)
        deploy(Newcomer(SPEC, "1", graph, VIEWS), settings)
        for part in PARTS:
            assert release.test(part) == (
                0,
                f"Triton live at {settings.triton_here}\n  example: version 1, revision 1\n",
            )
    finally:
        server.stop()
    for part in PARTS:
        found, said = release.test(part)
        assert found == 1
        assert f"Triton down at {settings.triton_here}" in said
