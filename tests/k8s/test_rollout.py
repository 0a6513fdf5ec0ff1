"""Two replicas of Triton behind a Service: new versions and new pods reach clients without a failed request.

The pods are the chart's, without its proxy: image and volume are the tests' own.
"""

import copy
import re
from typing import Any

import pytest

from tests.deploy.chart import named, rendered
from tests.k8s.world import CLAIM, World, told, wait_for

TRITON, CONTROL = "hw-triton", "hw-triton-control"


@pytest.fixture(scope="module")
def served(home: World) -> World:
    """Two replicas that serve version 1."""
    if not home.has_kubelet:
        pytest.skip("the nodes have no kubelet: no Service, probe or rollout is behind them")
    home.run("rollout-prepare", "tests.k8s.serve", "prepare", home.home)
    for service in (_service(TRITON), _service(CONTROL)):
        home.core.create_namespaced_service(home.namespace, service)
    home.apps.create_namespaced_deployment(home.namespace, _deployment(home))
    wait_for(lambda: _ready(home) == 2, "two replicas that are ready", 600)
    _deploy(home, "1")
    return home


def test_a_new_version_and_new_pods_reach_clients_without_a_failed_request(served):
    before = {pod.metadata.name for pod in _replicas(served)}
    served.pod("rollout-ask", "tests.k8s.serve", "ask", served.home, f"{TRITON}:8001")
    wait_for(lambda: served.cluster.pod("rollout-ask").status.phase == "Running", "the client")
    _deploy(served, "2")
    annotations = {"spec": {"template": {"metadata": {"annotations": {"tests/rollout": "again"}}}}}
    served.apps.patch_namespaced_deployment(TRITON, served.namespace, annotations)
    wait_for(lambda: _rolled_out(served), "the rollout", 600)
    _deploy(served, "3")
    served.run("rollout-enough", "tests.k8s.serve", "enough", served.home)
    served.ended("rollout-ask")
    said = served.log("rollout-ask")
    found = re.search(r"ASKED (\d+) FAILED (\d+) BY (.*)", said)
    assert found, said
    assert (int(found[1]) > 100, int(found[2])) == (True, 0), said
    assert {"1", "2", "3"} == set(re.findall(r"'(\d)':", found[3]))
    assert not before & {pod.metadata.name for pod in _replicas(served)}


def _deploy(world: World, version: str) -> None:
    env = {
        "HEADWATER_HOME": world.home,
        "HEADWATER_SERVING_VOLUME": f"{world.home}/serving",
        "HEADWATER_TRITON_REPLICAS": f"{CONTROL}:8001",
        "HEADWATER_TRITON_URL": f"{CONTROL}:8001",
    }
    said = world.run(f"rollout-deploy-{version}", "tests.k8s.serve", "deploy", world.home, version, env=env)
    assert f"DEPLOYED {version}" in said


def _deployment(world: World) -> dict[str, Any]:
    """Return the chart's Deployment with the tests' image and volume, and nothing that other charts' objects give."""
    made = copy.deepcopy(named(rendered(), "Deployment", "triton"))
    pod = made["spec"]["template"]["spec"]
    pod.pop("priorityClassName", None)
    (triton,) = (container for container in pod["containers"] if container["name"] == "triton")
    pod["containers"], user = [triton], world.settings.pod_user
    pod["securityContext"] |= {"runAsUser": user, "runAsGroup": user, "fsGroup": user}
    python = told("SERVING_PYTHON", "python")
    triton["image"] = told("SERVING_IMAGE", world.settings.image)
    triton["command"][0] = python
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        triton[probe]["exec"]["command"][0] = python
    ours = {"HEADWATER_HOME": world.home, "HEADWATER_SERVING_VOLUME": f"{world.home}/serving", **world.env}
    kept = [entry for entry in triton["env"] if entry["name"] not in (*ours, "HEADWATER_SERVING_TOKEN_FILE")]
    triton["env"] = kept + [{"name": name, "value": value} for name, value in ours.items()]
    triton["resources"] = {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}
    mounts = [mount for mount in triton["volumeMounts"] if mount["name"] in ("scratch", "shm", "tmp")]
    triton["volumeMounts"] = [*mounts, {"name": "home", "mountPath": world.home}]
    volumes = [volume for volume in pod["volumes"] if volume["name"] in ("scratch", "shm", "tmp")]
    pod["volumes"] = [*volumes, {"name": "home", "persistentVolumeClaim": {"claimName": CLAIM}}]
    return made


def _service(name: str) -> dict[str, Any]:
    """Return the chart's Service; clients go to Triton's own port, for the proxy is not here."""
    made = copy.deepcopy(named(rendered(), "Service", name.removeprefix("hw-")))
    made["spec"]["ports"] = [{"name": "grpc", "port": 8001}]
    return made


def _replicas(world: World) -> list[Any]:
    found = world.cluster.pods("app.kubernetes.io/component=triton")
    return [pod for pod in found if pod.metadata.deletion_timestamp is None]


def _ready(world: World) -> int:
    return world.apps.read_namespaced_deployment(TRITON, world.namespace).status.ready_replicas or 0


def _rolled_out(world: World) -> bool:
    made = world.apps.read_namespaced_deployment(TRITON, world.namespace)
    status = made.status
    new = status.observed_generation >= made.metadata.generation and status.updated_replicas == 2
    return bool(new and status.ready_replicas == 2 and len(_replicas(world)) == 2)
