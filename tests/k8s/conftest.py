"""A namespace of a real cluster for these tests, removed after them. Without a cluster they are skipped in one line."""

import os
from collections.abc import Iterator

import kubernetes
import pytest

from tests.k8s.world import CLAIM, World, told, wait_for

FOLDER = "tests/k8s/"


def _missing() -> str:
    if not os.environ.get("KUBECONFIG"):
        return "KUBECONFIG names no cluster"
    return "" if os.environ.get("HEADWATER_TEST_IMAGE") else "HEADWATER_TEST_IMAGE names no image in the cluster"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a cluster where there is none, before anything looks for it."""
    missing = _missing()
    for item in items:
        if missing and item.nodeid.startswith(FOLDER):
            item.add_marker(pytest.mark.skip(reason=missing))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A new namespace with the chart's accounts."""
    kubernetes.config.load_kube_config()
    core = kubernetes.client.CoreV1Api()
    made = core.create_namespace({"metadata": {"generateName": "headwater-test-"}})
    try:
        found = World(made.metadata.name, tmp_path_factory.mktemp("k8s"))
        account = f"default of {found.namespace}"
        wait_for(lambda: core.list_namespaced_service_account(found.namespace).items, account)
        found.grant()
        yield found
    finally:
        core.delete_namespace(made.metadata.name)


@pytest.fixture(scope="session")
def home(world: World) -> World:
    """The same with a volume that all pods share and that holds a training set in three versions."""
    wanted = {
        "accessModes": [told("ACCESS_MODE", "ReadWriteOnce")],
        "resources": {"requests": {"storage": "1Gi"}},
        **({"storageClassName": name} if (name := told("STORAGE_CLASS", "")) else {}),
    }
    world.core.create_namespaced_persistent_volume_claim(world.namespace, {"metadata": {"name": CLAIM}, "spec": wanted})
    world.run("prepare", "tests.k8s.prepare", world.home)
    return world


@pytest.fixture
def kubelet(world: World) -> World:
    """Skip on a server whose pods are plain processes: no image, limit or signal is behind them."""
    if not world.has_kubelet:
        pytest.skip("the nodes have no kubelet: nothing pulls images or keeps limits")
    return world
