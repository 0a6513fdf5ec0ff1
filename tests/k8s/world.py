"""What the tests have of the cluster: a namespace of their own, a home that pods share, and pods in it.

They pull nothing: HEADWATER_TEST_IMAGE names a loaded image that holds this repository, tests too, and its environment.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import kubernetes
import yaml
from kubernetes.client import ApiException

from assets.cluster import Cluster
from assets.training_pod import TrainingPod
from ml.models.flight_delay import FLIGHT_DELAY
from ml.pod_resources import PodResources
from ml.settings import Settings
from tests.deploy.chart import RELEASE, rendered

ROOT = Path(__file__).parent.parent.parent
SMALL = PodResources(cpu="1", memory="2Gi", shared_memory="64Mi", pending_minutes=5)
RUNS = f"{RELEASE}-runs"  # the chart's account of runs
CLAIM, WAIT_SECONDS = "home", 300.0
TABLE = "flight_delay/training_set"
ROWS, ONE_CLASS, MANY_ROWS = range(3)  # versions of it that tests/k8s/prepare.py makes


def told(name: str, default: str) -> str:
    """Return what the environment says about the image and the cluster."""
    return os.environ.get(f"HEADWATER_TEST_{name}") or default


def repository() -> dict[str, str]:
    """Return what pods need to find the repository, where it is not the image's working directory."""
    place = told("REPOSITORY", "")
    return {"PYTHONPATH": place} if place else {}


@dataclass(frozen=True)
class World:
    """A namespace of a real cluster, and a folder for files of this test run."""

    namespace: str
    folder: Path

    @property
    def cluster(self) -> Cluster:
        """Calls."""
        return Cluster.here(self.namespace)

    @property
    def kubeconfig(self) -> Path:
        """Who runs are, for processes outside of the cluster: the account of runs with a token of its own."""
        return self.folder / "runs.yaml"

    @property
    def core(self) -> Any:
        """The API of pods."""
        return self.cluster.core

    @property
    def apps(self) -> Any:
        """The API of Deployments."""
        _ = self.cluster
        return kubernetes.client.AppsV1Api()

    @property
    def home(self) -> str:
        """Where pods mount what they share."""
        return told("HOME", "/var/lib/headwater")

    @property
    def settings(self) -> Settings:
        """The settings of the platform in this namespace."""
        return Settings(
            env="k8s",
            home=Path(self.home),
            image=told("IMAGE", ""),
            namespace=self.namespace,
            home_claim=CLAIM,
            pod_user=int(told("USER", "10001")),
            online_store="redis://redis:6379/0",
            tracking_uri="http://mlflow:5000",
        )

    @property
    def env(self) -> dict[str, str]:
        """What pods need to find the repository, and the API server where they have no token of their own."""
        reach = {} if self.has_kubelet else {"KUBECONFIG": str(self.kubeconfig)}
        return {**repository(), **reach}

    @property
    def pod_settings(self) -> dict[str, str]:
        """The settings as pods find them in their environment."""
        named = {f"HEADWATER_{name.upper()}": str(getattr(self.settings, name)) for name in _PASSED}
        return {**named, "HEADWATER_ENV": "k8s"}

    @cached_property
    def has_kubelet(self) -> bool:
        """Whether containers, limits and images are real: nodes of tests of the API alone run processes."""
        nodes = self.core.list_node().items
        return not any(node.status.node_info.container_runtime_version.startswith("host://") for node in nodes)

    def pod(self, name: str, module: str, *words: str, env: Mapping[str, str] | None = None, **spec: Any) -> Any:
        """Create a pod that runs `python -m module words` with the home, and return its manifest."""
        made = TrainingPod(_small(), self.settings, name, [], {**self.env, **(env or {})}).pod()
        (container,) = made["spec"]["containers"]
        container["command"] = [told("PYTHON", "python"), "-m", module, *words]
        made["spec"].update(spec)
        self.cluster.create(made)
        return made

    def run(self, name: str, module: str, *words: str, env: Mapping[str, str] | None = None) -> str:
        """Run `python -m module words` in a pod and return what it printed. Raises AssertionError if it failed."""
        self.pod(name, module, *words, env=env)
        done, said = self.ended(name), self.log(name)
        assert done.status.phase == "Succeeded", said
        return said

    def ended(self, name: str, seconds: float = WAIT_SECONDS) -> Any:
        """Return a pod once it has ended."""
        done = ("Succeeded", "Failed")
        return wait_for(lambda: (p := self.cluster.pod(name)) and p.status.phase in done and p, f"pod {name}", seconds)

    def log(self, name: str) -> str:
        """Return what a pod printed."""
        return self.cluster.log(name)

    def training_pods(self) -> list[Any]:
        """Return the pods of trainings that are there now."""
        return self.cluster.pods("app.kubernetes.io/component=training,dagster/run-id")

    def grant(self) -> None:
        """Create the chart's accounts with their rights, as helm would in this namespace."""
        rbac = kubernetes.client.RbacAuthorizationV1Api()
        makers = {
            "ServiceAccount": self.core.create_namespaced_service_account,
            "Role": rbac.create_namespaced_role,
            "RoleBinding": rbac.create_namespaced_role_binding,
        }
        for manifest in rendered():
            if manifest["kind"] in makers:
                subjects = [{**subject, "namespace": self.namespace} for subject in manifest.get("subjects", ())]
                more = {"subjects": subjects} if subjects else {}
                makers[manifest["kind"]](self.namespace, {**manifest, **more})
        token = self.core.create_namespaced_service_account_token(RUNS, self.namespace, {"spec": {}}).status.token
        self.kubeconfig.write_text(yaml.safe_dump(_as_somebody(token)))

    def evict(self, name: str) -> None:
        """Ask the API server to evict a pod, as a drained node does."""
        old = int(kubernetes.client.VersionApi().get_code().minor.strip("+")) < 22
        body = {"apiVersion": "policy/v1beta1" if old else "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        self.core.create_namespaced_pod_eviction(name, self.namespace, body)


def _as_somebody(token: str) -> dict[str, Any]:
    """Return the kubeconfig of these tests with another user."""
    given = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    (context,) = (entry["context"] for entry in given["contexts"] if entry["name"] == given["current-context"])
    (cluster,) = (entry for entry in given["clusters"] if entry["name"] == context["cluster"])
    return {
        **{"apiVersion": "v1", "kind": "Config", "current-context": "runs", "clusters": [cluster]},
        "users": [{"name": "runs", "user": {"token": token}}],
        "contexts": [{"name": "runs", "context": {"cluster": cluster["name"], "user": "runs"}}],
    }


def _small() -> Any:
    return FLIGHT_DELAY.model_copy(update={"training": FLIGHT_DELAY.training.model_copy(update={"resources": SMALL})})


def wait_for(look: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> Any:
    """Return what `look` sees once it sees something. Raises AssertionError if that takes too long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if seen := look():
                return seen
        except ApiException as error:
            if error.status < 500:
                raise
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")


class Training:
    """`tests/k8s/train.py` as a process beside this one: a step that trains in pods, which a test may interrupt."""

    def __init__(self, world: World, version: int, *words: str, **resources: Any) -> None:
        asked = PodResources.model_validate({**SMALL.model_dump(), **resources})
        command = [sys.executable, "-m", "tests.k8s.train", asked.model_dump_json(), str(version), *words]
        env = {**os.environ, **world.pod_settings, "PYTHONUNBUFFERED": "1", "KUBECONFIG": str(world.kubeconfig)}
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.process = subprocess.Popen(command, cwd=ROOT, env=env, **pipes)
        self.lines: list[str] = []

    def until(self, words: str) -> str:
        """Return the next line with these words, as it comes. Raises AssertionError if there is none."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if words in line:
                return line
        raise AssertionError(f"nothing said {words!r}:\n{''.join(self.lines)}")

    def end(self, seconds: float = WAIT_SECONDS) -> str:
        """Return all that it said, once it has ended."""
        rest, _ = self.process.communicate(timeout=seconds)
        self.lines.append(rest)
        return "".join(self.lines)


_PASSED = ("home", "image", "namespace", "home_claim", "pod_user", "online_store")
