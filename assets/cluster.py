"""The few questions and orders that a training run has for a Kubernetes API server, each patient with hiccups.

Here: calls. Not here: what they mean (assets/pod_trainer.py) and manifests (assets/training_pod.py).
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import kubernetes
from dagster_k8s.utils import apply_no_proxy_env_workaround
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from ml.pod_resources import amount

_GONE, _HICCUPS, _TRIES, _PAUSE_SECONDS = 404, (429, 500, 502, 503, 504), 20, 3.0
_TAIL_LINES = 200
_PIPES, _SAID = "__dagster_pipes_version", "training "  # the latter: how ml.train begins its last line


@dataclass(frozen=True)
class Cluster:
    """A namespace of a cluster."""

    namespace: str

    @staticmethod
    def here(namespace: str) -> "Cluster":
        """Return the cluster that this process is in, else the one that KUBECONFIG names.

        Raises kubernetes.config.ConfigException if there is neither.
        """
        if os.environ.get("KUBERNETES_SERVICE_HOST"):
            kubernetes.config.load_incluster_config()
        else:
            kubernetes.config.load_kube_config()
        apply_no_proxy_env_workaround()
        return Cluster(namespace)

    @property
    def core(self) -> Any:
        """Pods and Services."""
        return kubernetes.client.CoreV1Api()

    @property
    def batch(self) -> Any:
        """Jobs."""
        return kubernetes.client.BatchV1Api()

    def create(self, manifest: Mapping[str, Any]) -> Any:
        """Create a Pod, a Service or a Job. Raises ApiException if the cluster refuses it."""
        makers: dict[str, Callable[..., Any]] = {
            "Pod": self.core.create_namespaced_pod,
            "Service": self.core.create_namespaced_service,
            "Job": self.batch.create_namespaced_job,
        }
        return makers[manifest["kind"]](self.namespace, manifest)

    def delete(self, manifest: Mapping[str, Any]) -> None:
        """Delete what was created of a manifest, its pods too; nothing happens if it is gone."""
        removers: dict[str, Callable[..., Any]] = {
            "Pod": self.core.delete_namespaced_pod,
            "Service": self.core.delete_namespaced_service,
            "Job": self.batch.delete_namespaced_job,
        }
        name, remove = manifest["metadata"]["name"], removers[manifest["kind"]]
        _found(lambda: remove(name, self.namespace, propagation_policy="Background"))

    def pod(self, name: str) -> Any:
        """Return a pod (V1Pod), None if it is gone."""
        return _found(lambda: self.core.read_namespaced_pod(name, self.namespace))

    def job(self, name: str) -> Any:
        """Return a Job (V1Job), None if it is gone."""
        return _found(lambda: self.batch.read_namespaced_job(name, self.namespace))

    def pods(self, selector: str) -> list[Any]:
        """Return the pods that bear labels."""
        return list(_patiently(lambda: self.core.list_namespaced_pod(self.namespace, label_selector=selector)).items)

    def refusals(self, name: str) -> list[str]:
        """Return why pods of the Job `name` could not be created, as its events tell; none if we may not read them."""
        with suppress(ApiException, HTTPError):
            told = self.core.list_namespaced_event(self.namespace, field_selector=f"involvedObject.name={name}").items
            return [event.message or "" for event in told if event.reason == "FailedCreate"]
        return []

    def tail(self, name: str) -> str:
        """Return the last thing that a training in a pod said, else its last line; empty if its log is gone."""
        with suppress(ApiException, HTTPError):
            lines = [line for line in self.log(name, _TAIL_LINES).splitlines() if line.strip() and _PIPES not in line]
            said = [line for line in lines if line.startswith(_SAID)] or lines
            return said[-1].strip() if said else ""
        return ""

    def log(self, name: str, lines: int | None = None) -> str:
        """Return what a pod printed, or its last lines."""
        more = {} if lines is None else {"tail_lines": lines}
        # Read as bytes: the client makes text of them by str().
        answer = self.core.read_namespaced_pod_log(name, self.namespace, _preload_content=False, **more)
        return bytes(answer.data).decode(errors="replace")

    def largest(self) -> dict[str, str]:
        """Return the most that any node has of each resource; empty if we may not look at nodes."""
        with suppress(ApiException, HTTPError):
            return _most(node.status.allocatable or {} for node in self.core.list_node().items)
        return {}

    def own_pod(self) -> dict[str, str] | None:
        """Return name and uid of the pod that this process is in, None outside of one."""
        name = os.environ.get("HOSTNAME", "")
        pod = self.pod(name) if name else None
        return None if pod is None else {"name": name, "uid": pod.metadata.uid}


def _most(nodes: Iterator[Mapping[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for allocatable in nodes:
        for resource, quantity in allocatable.items():
            with suppress(ValueError):
                if amount(quantity) > amount(found.get(resource, "0")):
                    found[resource] = quantity
            found.setdefault(resource, "0")
    return found


def _found(call: Callable[[], Any]) -> Any:
    """Return what the call returns, None if it asks for what does not exist."""
    try:
        return _patiently(call)
    except ApiException as error:
        if error.status == _GONE:
            return None
        raise


def _patiently(call: Callable[[], Any]) -> Any:
    """Call again, for about a minute, while the API server cannot be reached or is not itself."""
    for left in reversed(range(_TRIES)):
        try:
            return call()
        except (ApiException, HTTPError) as error:
            hiccup = not isinstance(error, ApiException) or error.status in _HICCUPS
            if not hiccup or not left:
                raise
        time.sleep(_PAUSE_SECONDS)
    raise AssertionError("the last try returns or raises")


def body_of(error: ApiException) -> str:
    """Return what the API server answered, as text."""
    return error.body if isinstance(error.body, str) else json.dumps({"message": error.reason or str(error)})
