"""The loop is killed at random, again and again, and Triton with it: every step is taken, and none twice."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef

from assets.deployment import deployment_asset
from serving.client import HeadwaterClient
from serving.model_repository import ModelRepository
from serving.server import Server
from tests.assets.loop_child import SPEC
from tests.assets.rollout_world import World, make_home
from tests.serving.example import ROW

KILLS = 5
LONGEST = 5.0  # seconds that a process lives at most before it is killed
pytestmark = pytest.mark.server


def start(world: World, version: str) -> subprocess.Popen:
    settings = world.platform.settings
    words = [settings.home, settings.triton_grpc_port, settings.triton_metrics_port, version]
    command = [sys.executable, "-m", "tests.assets.loop_child", *map(str, words)]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, stdout=subprocess.DEVNULL)


def test_a_version_s_way_into_service_survives_kills_of_loop_and_server_at_any_moment(tmp_path):
    platform = make_home(tmp_path / "home")
    server, chance = Server(platform.settings), random.Random(7)
    server.start()
    (platform.settings.home / "dagster").mkdir()
    try:
        with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(platform.settings.home / "dagster"))) as instance:
            world = World(platform, instance)
            before = world.register(-3.0)
            world.take("promote", before)
            version = world.register(-3.01)
            asset, model = deployment_asset(SPEC), dg.AssetSpec(["example", "model"])
            dg.materialize([model, asset], instance=instance, resources={"platform": platform})
            for kill in range(KILLS):
                child = start(world, version)
                try:
                    child.wait(4 + chance.random() * LONGEST)
                    break
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
                if kill % 3 == 1:
                    os.kill(server.status().pid, signal.SIGKILL)
                    time.sleep(0.5)
                    server.start()
            last = start(world, version)
            try:
                assert last.wait(timeout=400) == 0
            except subprocess.TimeoutExpired:
                last.send_signal(signal.SIGUSR1)  # pytest shows where it was
                time.sleep(1)
                pytest.fail(f"{world.lineup()} after 400 s: {world.platform.loop_log.rows('example').to_dicts()}")
            finally:
                last.kill()
            assert_each_step_once(world, version, before)
    finally:
        server.stop()


def assert_each_step_once(world: World, version: str, before: str) -> None:
    events = world.platform.loop_log.rows("example").filter(version=version)["event"].to_list()
    assert events == ["shadow", "canary", "champion"]
    plans = ModelRepository(world.platform.settings.serving_home).history("example")
    assert [plan.revision for plan in plans] == list(range(1, len(plans) + 1))
    ways = [(plan.champion.version, tuple((a.variant, a.version.version) for a in plan.arms)) for plan in plans]
    assert len(ways) == len(set(ways))
    assert world.lineup() == {version: "champion", before: "previous"}
    assert world.aliases() == {"champion": version, "previous": before}
    verdicts = world.platform.verdicts.rows("example/model").filter(version=int(version), check="canary")
    assert verdicts["passed"].to_list() == [True, True]  # one as shadow, one as canary
    client = HeadwaterClient(f"127.0.0.1:{world.platform.settings.triton_grpc_port}", 5.0)
    assert {answer.model_version for answer in client.predict("example", [ROW] * 8)} == {version}
    client.close()
