"""What our Kubernetes manifests must keep to, beyond what their schema says: an API server, or an operator, would mind.

Here: rules on one manifest, pure. Not here: schemas (`kubernetes_validate`), nor what fits together across manifests
(tests/deploy).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Manifest = Mapping[str, Any]

_SERVERS = ("Deployment", "StatefulSet", "DaemonSet")
_SECRET = re.compile(r"(?i)(password|passwd|secret|token|api_?key|access_?key|credential)")
_PLACES = re.compile(r"(?i)(_file|_path|_name|_dir|secrets|_cert|_key_file)$")
_WITH_PASSWORD = re.compile(r"://[^/@\s:]*:[^/@\s$]+@")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def problems(manifest: Manifest) -> list[str]:
    """Return what is wrong with a manifest, a sentence each; nothing if all is well."""
    kind, name = manifest.get("kind", "?"), manifest.get("metadata", {}).get("name", "?")
    found = [*_of_kind(manifest)]
    spec = pod_spec(manifest)
    if spec is not None:
        found += _of_pod(spec, kind)
        for container in containers(spec):
            found += (f"container {container.get('name')}: {told}" for told in _of_container(container, spec))
        if kind in _SERVERS:
            found += _of_server(spec)
    return [f"{kind}/{name}: {told}" for told in found]


def pod_spec(manifest: Manifest) -> Mapping[str, Any] | None:
    """Return the spec of the pods that a manifest makes, None if it makes none."""
    spec = manifest.get("spec", {})
    match manifest.get("kind"):
        case "Pod":
            return dict(spec)
        case "CronJob":
            return dict(spec["jobTemplate"]["spec"]["template"]["spec"])
        case "Deployment" | "StatefulSet" | "DaemonSet" | "Job" | "ReplicaSet":
            return dict(spec["template"]["spec"])
    return None


def containers(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return all containers of a pod, those that run first too."""
    return [*spec.get("initContainers", []), *spec.get("containers", [])]


def _of_kind(manifest: Manifest) -> Iterator[str]:
    if manifest.get("kind") == "Secret" and any(not str(v) for v in manifest.get("data", {}).values()):
        yield "a key is empty; leave it out"
    if manifest.get("kind") == "ConfigMap":
        for key, value in manifest.get("data", {}).items():
            if _is_secret(key, str(value)):
                yield f"{key} is a secret in plain; use a Secret"
    if manifest.get("kind") in ("Role", "ClusterRole"):
        for rule in manifest.get("rules", []):
            if "*" in [*rule.get("verbs", []), *rule.get("resources", []), *rule.get("apiGroups", [])]:
                yield "a rule allows everything (*); name verbs and resources"


def _of_pod(spec: Mapping[str, Any], kind: str) -> Iterator[str]:
    restart = spec.get("restartPolicy", "Always")
    if kind in ("Job", "CronJob") and restart == "Always":
        yield "restartPolicy of a Job is Never or OnFailure"
    if kind in _SERVERS and restart != "Always":
        yield f"restartPolicy of a {kind} is Always"
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield f"{key} gives the pod the node"
    for volume in spec.get("volumes", []):
        if "hostPath" in volume:
            yield f"volume {volume['name']} is a path of the node; use a claim"
    if spec.get("automountServiceAccountToken") is not False and not spec.get("serviceAccountName"):
        yield "it gets the token of the default service account; set automountServiceAccountToken: false"


def _of_container(container: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[str]:
    yield from _of_image(container.get("image", ""))
    yield from _of_user(container.get("securityContext", {}), spec.get("securityContext", {}))
    yield from _of_resources(container.get("resources", {}))
    for variable in container.get("env", []):
        if "value" in variable and _is_secret(variable["name"], str(variable["value"])):
            yield f"{variable['name']} is a secret in plain; take it from a Secret"
    for word in [*container.get("command", []), *container.get("args", [])]:
        if _WITH_PASSWORD.search(str(word)):
            yield "its command line holds a password, which anybody may list"


def _of_image(image: str) -> Iterator[str]:
    name, at, digest = image.partition("@")
    tag = name.rsplit("/", 1)[-1].partition(":")[2]
    if at and not _DIGEST.fullmatch(digest):
        yield f"image {image!r} has a digest that is not sha256: and 64 hexadecimal digits"
    elif tag == "latest" or not (tag or at):
        yield f"image {image!r} has no fixed tag and no digest, or is called latest"


def _of_user(own: Mapping[str, Any], pod: Mapping[str, Any]) -> Iterator[str]:
    told = {**pod, **own}
    if told.get("runAsNonRoot") is not True or told.get("runAsUser") == 0:
        yield "it may run as root; set runAsNonRoot"
    if own.get("privileged"):
        yield "it is privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "it may gain privileges; set allowPrivilegeEscalation: false"
    if "ALL" not in own.get("capabilities", {}).get("drop", []) or own.get("capabilities", {}).get("add"):
        yield "it keeps capabilities; drop ALL and add none"
    if told.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "it has no seccomp profile; use RuntimeDefault"


def _of_resources(resources: Mapping[str, Any]) -> Iterator[str]:
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    for name in ("cpu", "memory"):
        if name not in requests:
            yield f"it requests no {name}"
    if "memory" not in limits:
        yield "it has no limit on memory"
    for name in {name for name in [*requests, *limits] if "/" in name}:  # a device plugin's, such as a GPU
        wanted = limits.get(name)
        if not re.fullmatch(r"\d+", str(wanted)):
            yield f"{name} is {wanted!r} in its limits; devices are whole numbers"
        if name in requests and str(requests[name]) != str(wanted):
            yield f"{name} is requested {requests[name]} times and limited to {wanted}; both are the same for devices"


def _of_server(spec: Mapping[str, Any]) -> Iterator[str]:
    for container in spec.get("containers", []):
        for probe in ("readinessProbe", "livenessProbe"):
            if probe not in container:
                yield f"container {container.get('name')}: it has no {probe}"


def _is_secret(name: str, value: str) -> bool:
    """Whether a variable or key, by its name or by what it holds, is a secret and not merely where one lies."""
    if _WITH_PASSWORD.search(value):
        return True
    named = _SECRET.search(name) and not _PLACES.search(name) and "." not in name
    return bool(named and value and not value.startswith(("/", "$")))
