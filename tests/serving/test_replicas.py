"""Two real Tritons on one serving home: what is deployed reaches both, and neither shows what the other does not.

One file, though a long one: its two servers start once for all of it.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ml.serving_settings import Slo
from ml.settings import Settings
from serving import replicas, triton_files
from serving.client import HeadwaterClient
from serving.control import Control
from serving.fleet import Fleet, server_for
from serving.log_reader import log_schema, read_new
from serving.model_repository import ModelRepository
from serving.plan import Plan
from serving.plan_change import DeploymentError
from serving.process import recall
from serving.ready import unready
from serving.replicas import Replicas, addresses
from serving.rollout import Newcomer, begin, deploy, end, rollback
from serving.router_states import living
from serving.triton_config import configuration_of
from serving.triton_files import REPOSITORY_ROOT, free_ports
from tests.serving.example import ROW, SPEC, VIEWS, settings_at, write_graph, write_world

pytestmark = pytest.mark.server
ROWS = [{**ROW, "tailnum": f"N{n}"} for n in range(40)]
TWO = SPEC.model_copy(update={"serving": SPEC.serving.model_copy(update={"processes": 2})})  # another configuration
PATIENCE = 60.0


@dataclass
class Replica:
    """A container's main process, and the settings that it has."""

    settings: Settings
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        own = self.settings
        named = {
            "HOME": own.home,
            "SERVING_VOLUME": own.serving_home,
            "TRITON_SCRATCH": own.triton_state,
            "TRITON_GRPC_PORT": own.triton_grpc_port,
            "TRITON_METRICS_PORT": own.triton_metrics_port,
            "TRITON_ROOT": own.triton_root,
            "SERVING_PYTHON": own.serving_python,
        }
        environment = os.environ | {f"HEADWATER_{name}": str(value) for name, value in named.items()}
        command = [sys.executable, "-m", "serving.replica", "--drain", "0.5"]
        self.process = subprocess.Popen(command, cwd=REPOSITORY_ROOT, env=environment)

    def ready(self) -> list[str]:
        return list(unready(self.settings, 2.0))

    def await_ready(self) -> None:
        until = time.monotonic() + PATIENCE
        while reasons := self.ready():
            assert time.monotonic() < until, reasons
            time.sleep(0.1)

    def end(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    def kill(self) -> None:
        """Everything in the container dies at once."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        triton = recall(self.settings.triton_state / "triton.json")
        assert triton is not None
        for pid in triton.members(self.settings.triton_root):
            os.kill(pid, signal.SIGKILL)

    def versions(self) -> set[str]:
        client = HeadwaterClient(self.settings.triton_here, 5.0)
        try:
            return {answer.model_version for answer in client.predict("example", ROWS)}
        finally:
            client.close()


@dataclass
class Cluster:
    """Two replicas, and the settings of the platform, which starts neither."""

    one: Replica
    two: Replica
    platform: Settings
    graphs: list[Path] = field(default_factory=list)

    def newcomer(self, bias: float = -3.0, spec=SPEC, scale: float = 1.0) -> Newcomer:
        version = str(len(self.graphs) + 1)
        path = write_graph(self.platform.root / "trained" / f"{version}.onnx", bias, scale=scale)
        self.graphs.append(path)
        return Newcomer(spec, version, path, VIEWS)

    def deploy(self, bias: float = -3.0, spec=SPEC) -> Plan:
        return deploy(self.newcomer(bias, spec), self.platform)

    def versions(self) -> list[set[str]]:
        return [self.one.versions(), self.two.versions()]


def image_layout(folder: Path) -> Path:
    """Return a copy of the bundled Triton laid out as in Triton's own image."""
    bundled, root = Settings().triton_root, folder / "opt" / "tritonserver"
    for part in ("bin", "backends"):
        shutil.copytree(bundled / "pytriton" / "tritonserver" / part, root / part, copy_function=_link)
    libraries = "nvidia_pytriton.libs"  # where the bundled programs look for them
    (folder / libraries).symlink_to(bundled / libraries)
    return root


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copy2(source, target)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    home = tmp_path_factory.mktemp("replicas")
    write_world(home)
    ports = free_ports(4)
    image = image_layout(tmp_path_factory.mktemp("tritonserver"))
    made = []
    for name, grpc, metrics, root in (
        ("one", *ports[:2], Settings().triton_root),
        ("two", *ports[2:], image),
    ):
        scratch = tmp_path_factory.mktemp(name)
        more = {"triton_grpc_port": grpc, "triton_metrics_port": metrics, "triton_root": root}
        made.append(Replica(settings_at(home, triton_scratch=scratch, serving_volume=home / "serving", **more)))
    both = ",".join(replica.settings.triton_here for replica in made)
    world = Cluster(*made, settings_at(home, triton_replicas=both, triton_url=made[0].settings.triton_here))
    try:
        for replica in made:
            replica.start()
        for replica in made:
            replica.await_ready()
        yield world
    finally:
        for replica in made:
            if replica.process is not None and replica.process.poll() is None:
                replica.end()


@pytest.fixture
def both(cluster: Cluster) -> Cluster:
    for replica in (cluster.one, cluster.two):
        if replica.process is None or replica.process.poll() is not None:
            replica.start()
        replica.await_ready()
    return cluster


def test_deployment_canary_and_rollback_reach_every_replica(both: Cluster) -> None:
    first, second = both.deploy(), both.deploy(-2.0)
    assert both.versions() == [{second.champion.version}] * 2
    new = both.newcomer(1.0)
    begin(new, both.platform, "canary", 0.5)
    assert both.versions() == [{second.champion.version, new.version}] * 2
    end("example", both.platform, new.version)
    rollback("example", both.platform)
    assert both.versions() == [{first.champion.version}] * 2


def test_another_configuration_is_loaded_by_every_replica(both: Cluster) -> None:
    plan = both.deploy(-1.0, TWO)
    assert both.versions() == [{plan.champion.version}] * 2
    assert Replicas(both.platform).probe("example").revision == plan.revision
    assert [replica.ready() for replica in (both.one, both.two)] == [[], []]


def test_a_graph_that_is_refused_serves_nowhere_and_the_old_one_everywhere(both: Cluster) -> None:
    good = both.deploy()
    for spec in (SPEC, TWO):  # without and with a load
        with pytest.raises(DeploymentError, match="no probabilities"):
            deploy(both.newcomer(1.0, spec, scale=2.0), both.platform)
        assert both.versions() == [{good.champion.version}] * 2


def test_a_version_refused_after_it_answered_leaves_the_old_one_answering_everywhere(both: Cluster) -> None:
    good = both.deploy()
    slow = SPEC.model_copy(update={"serving": SPEC.serving.model_copy(update={"slo": Slo(p99_ms=1e-3)})})
    for _ in range(2):
        with pytest.raises(DeploymentError, match=f"version {good.champion.version}, keeps serving"):
            deploy(both.newcomer(1.0, slow), both.platform)
        assert both.versions() == [{good.champion.version}] * 2


def test_a_version_of_its_own_is_loaded_by_every_replica_and_leaves_every_one(both: Cluster) -> None:
    hot = SPEC.model_copy(update={"name": "hot", "serving": SPEC.serving.model_copy(update={"mode": "own"})})
    plans = [both.deploy(bias, hot) for bias in (-2.5, -1.5, -0.5)]
    for replica in (both.one, both.two):
        control = Control(replica.settings)
        assert [control.ready(plan.champion.own) for plan in plans] == [False, True, True]
        assert control.probe("hot") == (plans[-1].revision, plans[-1].champion.version)


def test_changes_under_load_fail_no_request_on_any_replica(both: Cluster) -> None:
    both.deploy()
    failures: list[Exception] = []
    answered, done = [0, 0], threading.Event()

    def ask(number: int, replica: Replica) -> None:
        client = HeadwaterClient(replica.settings.triton_here, 5.0)
        while not done.is_set():
            try:
                client.predict("example", ROWS[:4])
                answered[number] += 1
            except Exception as error:
                failures.append(error)
        client.close()

    threads = [threading.Thread(target=ask, args=pair) for pair in enumerate((both.one, both.two))]
    for thread in threads:
        thread.start()
    try:
        both.deploy(-2.0)
        both.deploy(-1.0, TWO)
        both.deploy(-3.0)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert min(answered) > 20


def test_a_replica_that_starts_late_is_ready_once_it_serves_what_the_others_do(both: Cluster) -> None:
    both.deploy()
    assert both.two.end() == 0
    alone = both.platform.model_copy(update={"triton_replicas": both.one.settings.triton_here})
    assert both.two.ready() == ["it ends"]
    plan = deploy(both.newcomer(-1.0, TWO), alone)
    both.two.start()
    assert both.two.ready() != []
    both.two.await_ready()
    assert both.versions() == [{plan.champion.version}] * 2


def test_a_replica_left_behind_by_a_change_catches_up_by_itself(both: Cluster) -> None:
    """As one that was starting when the change was made, and so was not among those that it reached."""
    both.deploy()
    alone = both.platform.model_copy(update={"triton_replicas": both.one.settings.triton_here})
    plan = deploy(both.newcomer(-1.0, TWO), alone)
    both.two.await_ready()
    assert both.versions() == [{plan.champion.version}] * 2


def test_a_change_goes_on_without_a_replica_that_dies_and_leaves(both: Cluster, monkeypatch) -> None:
    both.deploy()
    first = both.one.settings.triton_here
    both.two.kill()
    asked = iter([addresses(both.platform)])  # the Service needs a moment to notice
    monkeypatch.setattr(replicas, "addresses", lambda settings: next(asked, {first: ""}))
    plan = both.deploy(-1.0, TWO)
    assert both.one.versions() == {plan.champion.version}


def test_a_replica_that_neither_answers_nor_leaves_refuses_the_change_by_name(both: Cluster, monkeypatch) -> None:
    good = both.deploy()
    both.two.kill()
    monkeypatch.setattr(replicas, "LEAVE_SECONDS", 1.0)
    with pytest.raises(ConnectionError, match=rf"{both.two.settings.triton_here} does not answer.*delete its pod"):
        both.deploy(-1.0)
    assert both.one.versions() == {good.champion.version}


def test_every_answer_of_every_replica_is_in_the_log_once(both: Cluster) -> None:
    plan = both.deploy()
    for replica in (both.one, both.two):
        assert replica.versions() == {plan.champion.version}
    until, found = time.monotonic() + 10, 0
    while found < 2 * len(ROWS) and time.monotonic() < until:
        rows = read_new(Path(plan.prediction_log), log_schema(plan))[0].filter(revision=plan.revision)
        found = rows.height
        time.sleep(0.1)
    assert (found, rows["prediction_id"].n_unique()) == (2 * len(ROWS), 2 * len(ROWS))


def test_a_replica_ends_when_asked_though_it_waits_for_a_model_s_lock(both: Cluster) -> None:
    plan = both.deploy()
    (stub, *_) = living(
        both.platform.serving_home, "example", configuration_of(plan), triton_files.replica(both.two.settings)
    )
    with ModelRepository(both.platform.serving_home).lock("example"):  # a change is under way elsewhere
        os.kill(stub.pid, signal.SIGKILL)
        time.sleep(2.5)  # its supervisor has noticed, and waits
        assert both.two.end() == 0
    assert both.one.versions() == {plan.champion.version}


def test_the_platform_neither_starts_nor_stops_replicas(both: Cluster) -> None:
    plan, fleet = both.deploy(), server_for(both.platform)
    assert isinstance(fleet, Fleet)
    status = fleet.start()
    assert (status.live, status.failing) == (True, {})
    assert status.serving["example"].revision == plan.revision
    with pytest.raises(LookupError, match="belongs to the cluster"):
        fleet.stop()
    assert Control(both.one.settings).live()


def test_a_name_that_resolves_to_nobody_is_told(tmp_path: Path) -> None:
    nobody = settings_at(tmp_path, triton_replicas="triton.invalid:8001")
    with pytest.raises(ConnectionError, match=r"triton\.invalid .*resolves to nothing.*kubectl get pods"):
        Replicas(nobody).require_live()
    with pytest.raises(ValueError, match="'triton'; it is host:port"):
        addresses(settings_at(tmp_path, triton_replicas="triton"))
