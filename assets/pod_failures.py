"""Why a training pod does not go on, and what to change: pure functions from what Kubernetes says to one message.

Here: words. Each names the field of the ModelSpec, or the setting, and a value for it. Not here: looking
(assets/pod_trainer.py).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assets.training_pod import FINAL_STATUSES
from ml.pod_resources import amount, doubled
from ml.spec import ModelSpec
from ml.train import LOST_STATUS

_FIELDS = {"cpu": "cpu", "memory": "memory"}
_OWN_FAULT = re.compile(r"exceeds the (?:total )?limit|exceeded its", re.IGNORECASE)
_PULL = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
_STUCK = (*_PULL, "CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_AT_ONCE = ("InvalidImageName", "ErrImageNeverPull")
_DISRUPTED = ("Evicted", "Preempting", "NodeLost", "NodeShutdown", "Shutdown", "Terminated", "NodeAffinity")


@dataclass(frozen=True)
class End:
    """How a pod ended without success: `again` if another try may go on from the checkpoint, and why, in words."""

    again: bool
    why: str


def how_it_ended(spec: ModelSpec, pod: Any, tail: str = "") -> End:
    """Return why a pod (V1Pod; None: it is gone) failed; `tail` is the end of its log."""
    if pod is None:
        return End(True, "the pod was deleted")
    name, status = pod.metadata.name, pod.status
    if status.reason == "Evicted" and _OWN_FAULT.search(status.message or ""):
        return End(False, _own_eviction(spec, name, status.message))
    disruption = _disruption(pod)
    if disruption:
        return End(True, f"pod {name} was stopped: {disruption}")
    ended = _terminated(pod)
    if ended is None:
        return End(True, f"pod {name} is lost: {status.reason or status.phase} {status.message or ''}".rstrip())
    if ended.reason == "OOMKilled" or ended.exit_code == 137:
        return End(False, _out_of_memory(spec, name, ended.reason == "OOMKilled"))
    if ended.exit_code == 135:
        return End(False, _out_of_shared_memory(spec, name, "it ended by SIGBUS (status 135)"))
    said = f": {tail}" if tail else f" ({ended.reason})"
    if ended.exit_code in FINAL_STATUSES or ended.exit_code not in (LOST_STATUS, 143):
        return End(False, f"pod {name} ended with status {ended.exit_code}{said}")
    return End(True, f"pod {name} ended with status {ended.exit_code}{said}")


def why_stuck(spec: ModelSpec, pod: Any, minutes: float, patience: float, largest: Mapping[str, str]) -> str | None:
    """Return why a pod that has not started for `minutes` never will; None: it may.

    `patience` are the minutes that a pull or a container may fail before that is final; `largest` is what the largest
    node has, by resource, as far as it is known.
    """
    asked, name = spec.training.resources, pod.metadata.name
    for status in pod.status.container_statuses or ():
        if status.state is None or status.state.waiting is None:
            continue
        reason, message = status.state.waiting.reason or "", status.state.waiting.message or ""
        if reason in _AT_ONCE or (reason in _STUCK and minutes > patience):
            return _not_created(spec, status.image, reason, message)
    if minutes <= asked.pending_minutes:
        return None
    unscheduled = next(
        (c for c in pod.status.conditions or () if c.type == "PodScheduled" and c.status == "False"), None
    )
    waited = f"pod {name} waited {minutes:.0f} minutes"
    if unscheduled is None:
        return f"{waited} to start: {pod.status.reason or 'see'} kubectl describe pod {name}"
    advice = _unschedulable(spec, unscheduled.message or "", largest)
    return f"{waited} for a node ({unscheduled.message}): " + "; ".join(advice)


def why_refused(spec: ModelSpec, answer: str) -> str:
    """Return what to change where the API server refused a pod; `answer` is the body of its answer."""
    said = _message(answer)
    quota = re.search(r"exceeded quota: ([\w.-]+)", said)
    if quota:
        return f"the namespace's quota {quota[1]} is used up ({said}): " + "; ".join(_within_quota(spec, said))
    if "PriorityClass" in said:
        asked = spec.training.resources.priority_class
        return f"{said}: {_field(spec, 'priority_class')} is {asked!r}; name one that `kubectl get priorityclass` lists"
    limit = re.search(r"maximum (\w+) usage per (?:Container|Pod) is ([\w.]+)", said)
    if limit:
        return f"{said}: lower {_field(spec, _FIELDS.get(limit[1], 'gpus'))} to {limit[2]} or less"
    return f"the cluster refused the pod: {said}"


def _field(spec: ModelSpec, name: str) -> str:
    return f"training.resources.{name} of {spec.name}"


def _out_of_memory(spec: ModelSpec, name: str, certain: bool) -> str:
    memory = spec.training.resources.memory
    what = "ran out of memory (OOMKilled)" if certain else "was killed (status 137), as when memory ends"
    return (
        f"pod {name} {what} at its limit of {memory}: raise {_field(spec, 'memory')} to {doubled(memory)}, or bound "
        "what rows take with HEADWATER_TRAIN_MEMORY_MB; the next training goes on from the checkpoint"
    )


def _out_of_shared_memory(spec: ModelSpec, name: str, how: str) -> str:
    size = spec.training.resources.shared_memory
    return (
        f"pod {name} ran out of /dev/shm, of {size} ({how}): raise {_field(spec, 'shared_memory')} to {doubled(size)}, "
        "and memory with it if need be"
    )


def _own_eviction(spec: ModelSpec, name: str, message: str) -> str:
    if "shared-memory" in message:
        return _out_of_shared_memory(spec, name, message)
    return f"pod {name} was evicted for what it took itself: {message}"


def _disruption(pod: Any) -> str | None:
    if pod.metadata.deletion_timestamp is not None:
        return "it is being deleted"
    status = pod.status
    condition = next((c for c in status.conditions or () if c.type == "DisruptionTarget" and c.status == "True"), None)
    if condition is not None:
        return f"{condition.reason}: {condition.message or ''}".rstrip(": ")
    return f"{status.reason}: {status.message or ''}".rstrip(": ") if status.reason in _DISRUPTED else None


def _terminated(pod: Any) -> Any:
    states = [status.state for status in pod.status.container_statuses or () if status.state]
    return next((state.terminated for state in states if state.terminated is not None), None)


def _not_created(spec: ModelSpec, image: str, reason: str, message: str) -> str:
    if reason in _PULL:
        return (
            f"image {image} cannot be pulled ({reason}: {message}): set HEADWATER_IMAGE to one that nodes can reach, "
            "or HEADWATER_IMAGE_PULL_SECRETS to Secrets that may pull it"
        )
    if "not found" in message:
        return (
            f"the container cannot be made ({message}): HEADWATER_POD_SECRETS and HEADWATER_POD_CONFIG_MAPS must name "
            "what is in the namespace"
        )
    if "root" in message:
        return f"the container may not run ({message}): set HEADWATER_POD_USER to the image's user, which is not root"
    return f"the container cannot be made ({reason}: {message})"


def _unschedulable(spec: ModelSpec, message: str, largest: Mapping[str, str]) -> list[str]:
    asked = spec.training.resources
    advice = [
        _too_much(spec, found, largest) for found in dict.fromkeys(re.findall(r"Insufficient ([\w./-]*\w)", message))
    ]
    if re.search(r"node selector|node affinity", message):
        wanted = ", ".join(f"{key}={value}" for key, value in asked.node_selector.items())
        advice.append(f"no node that is free bears {wanted or 'what is asked'}: change {_field(spec, 'node_selector')}")
    for key, value in dict.fromkeys(re.findall(r"taint(?:\(s\))? \{([^:}]+?)(?:: ([^}]*))?\}", message)):
        how = f'operator="Equal", value={value!r}' if value.strip() else 'operator="Exists"'
        advice.append(f"add Toleration(key={key!r}, {how}) to {_field(spec, 'tolerations')}")
    if re.search("persistentvolumeclaim", message, re.IGNORECASE):
        advice.append("set HEADWATER_HOME_CLAIM to a bound PersistentVolumeClaim of this namespace")
    unready = "raise training.resources.pending_minutes if the cluster is about to add a node"
    return advice or [unready]


def _too_much(spec: ModelSpec, resource: str, largest: Mapping[str, str]) -> str:
    asked = spec.training.resources
    name = "gpus" if resource == asked.gpu_resource else _FIELDS.get(resource, resource)
    wanted = str(asked.gpus) if name == "gpus" else str(getattr(asked, name, "?"))
    has = largest.get(resource)
    if name == "gpus" and (has is None or amount(has) == 0) and largest:
        return f"no node has any {resource}: change {_field(spec, 'gpu_resource')} to what the nodes call their GPUs"
    most = "what `kubectl describe nodes` shows as allocatable" if has is None else has
    if has is not None and amount(has) >= amount(wanted):
        return f"{wanted} {resource} are taken: wait, lower {_field(spec, name)} or raise its priority_class"
    return f"no node has {wanted} {resource}: lower {_field(spec, name)} to {most} or less, or add larger nodes"


def _within_quota(spec: ModelSpec, said: str) -> list[str]:
    """Return advice from `requested: requests.cpu=4, used: requests.cpu=1, limited: requests.cpu=2`."""
    parts = {key: dict(re.findall(r"([\w./-]+)=([\w.]+)", text)) for key, text in re.findall(_QUOTA_PART, said)}
    advice = []
    for resource, limit in parts.get("limited", {}).items():
        plain = re.sub(r"^(requests|limits)\.", "", resource)
        gpus = plain == spec.training.resources.gpu_resource
        if not gpus and plain not in _FIELDS:
            advice.append("wait until others have ended")
            continue
        field = _field(spec, "gpus" if gpus else _FIELDS[plain])
        used = parts.get("used", {}).get(resource, "0")
        advice.append(f"lower {field} so that it fits into {limit} of which {used} are used, wait, or raise the quota")
    return list(dict.fromkeys(advice)) or ["wait until others have ended, or raise the quota"]


_QUOTA_PART = r"(requested|used|limited): (.*?)(?=, (?:used|limited):|$)"


def _message(answer: str) -> str:
    try:
        return str(json.loads(answer)["message"])
    except (ValueError, KeyError, TypeError):
        return answer.strip()[:500]
