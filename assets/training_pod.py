"""The manifests of a training run on Kubernetes: one pod, or an Indexed Job with a headless Service for several.

Here: pure functions from spec, settings and command to manifests, in Kubernetes' own spelling. Not here: whoever sends
them to a cluster and looks after them (assets/pod_trainer.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ml.pod_resources import PodResources
from ml.pod_settings import names
from ml.settings import Settings
from ml.spec import ModelSpec
from ml.train import LOST_STATUS

Manifest = dict[str, Any]

CONTAINER = "train"
INDEX_LABEL = "batch.kubernetes.io/job-completion-index"
RENDEZVOUS_PORT = 29400
GRACE_SECONDS = 60  # from SIGTERM on, for a last checkpoint; torchrun and its processes need 30 at most
# A mistake, wrong arguments, shared memory full, memory full: another try would end the same way.
FINAL_STATUSES = (1, 2, 135, 137)
assert LOST_STATUS not in FINAL_STATUSES


@dataclass(frozen=True)
class TrainingPod:
    """One training run of `spec` as manifests called `name`; `arguments` are those of `python -m ml.train`.

    Attributes:
        env: Variables of the pods besides those from Secrets and ConfigMaps; nothing secret.
        run_id: The Dagster run, for people who look at the cluster.
        owner: The pod that goes with this one: Kubernetes removes ours when it is gone. None: nobody.
        python: Python in the image.
    """

    spec: ModelSpec
    settings: Settings
    name: str
    arguments: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    run_id: str = ""
    owner: Mapping[str, str] | None = None
    python: str = "python"

    @property
    def resources(self) -> PodResources:
        """What the model's pods get."""
        return self.spec.training.resources

    def pod(self) -> Manifest:
        """Return the pod of a training in one pod."""
        return {"apiVersion": "v1", "kind": "Pod", "metadata": self._metadata(), "spec": self._pod_spec()}

    def job(self) -> Manifest:
        """Return the Indexed Job of a training in several pods: all run, or none gets anywhere.

        Kubernetes starts again a pod that a disruption or a lost process ended; a mistake ends the Job at once.
        """
        given = {
            "completionMode": "Indexed",
            "completions": self.resources.pods,
            "parallelism": self.resources.pods,
            "backoffLimitPerIndex": self.resources.restarts,
            "maxFailedIndexes": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": [_IGNORED, _FINAL]},
            "ttlSecondsAfterFinished": 3600,  # for the case that nobody is left to remove it
            "template": {"metadata": {"labels": self._labels}, "spec": {**self._pod_spec(), "subdomain": self.name}},
        }
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": self._metadata(), "spec": given}

    def service(self) -> Manifest:
        """Return the headless Service that gives the Job's pods names, by which they find each other."""
        given = {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"headwater.io/training": self.name},
            "ports": [{"name": "rendezvous", "port": RENDEZVOUS_PORT}],
        }
        return {"apiVersion": "v1", "kind": "Service", "metadata": self._metadata(), "spec": given}

    @property
    def _labels(self) -> dict[str, str]:
        return {
            "app.kubernetes.io/name": "headwater",
            "app.kubernetes.io/component": "training",
            "headwater.io/part": "platform",
            "headwater.io/model": self.spec.name,
            "headwater.io/training": self.name,
            **({"dagster/run-id": self.run_id} if self.run_id else {}),
        }

    def _metadata(self) -> Manifest:
        owners = {} if self.owner is None else {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", **self.owner}]}
        return {"name": self.name, "labels": self._labels, **owners}

    def _pod_spec(self) -> Manifest:
        asked, user = self.resources, self.settings.pod_user
        pulled = [{"name": name} for name in names(self.settings.image_pull_secrets)]
        return {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "automountServiceAccountToken": False,  # it has nothing to say to the cluster
            "enableServiceLinks": False,
            "securityContext": {
                **{"runAsNonRoot": True, "runAsUser": user, "runAsGroup": user, "fsGroup": user},
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [self._container()],
            "volumes": self._volumes(),
            **({"imagePullSecrets": pulled} if pulled else {}),
            **({"nodeSelector": dict(asked.node_selector)} if asked.node_selector else {}),
            **({"tolerations": _tolerations(asked)} if asked.tolerations else {}),
            **({"priorityClassName": asked.priority_class} if asked.priority_class else {}),
        }

    def _container(self) -> Manifest:
        sources = [
            *({"configMapRef": {"name": name}} for name in names(self.settings.pod_config_maps)),
            *({"secretRef": {"name": name}} for name in names(self.settings.pod_secrets)),
        ]
        amounts = _amounts(self.resources)
        return {
            "name": CONTAINER,
            "image": self.settings.image,
            "imagePullPolicy": "IfNotPresent",
            "command": self._command(),
            "env": [{"name": name, "value": value} for name, value in {**self._own_env(), **self.env}.items()],
            **({"envFrom": sources} if sources else {}),
            "resources": {"requests": amounts, "limits": amounts},  # equal: evicted last
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [
                {"name": "home", "mountPath": str(self.settings.root)},
                {"name": "shared-memory", "mountPath": "/dev/shm"},
                {"name": "scratch", "mountPath": "/tmp"},
            ],
        }

    def _own_env(self) -> dict[str, str]:
        """A user without an entry in /etc/passwd needs a name and a home; threads keep to the pod's CPUs."""
        threads = str(self.resources.threads)
        return {"HOME": "/tmp", "USER": "headwater", "DO_NOT_TRACK": "true", "OMP_NUM_THREADS": threads}

    def _volumes(self) -> list[Manifest]:
        return [
            {"name": "home", "persistentVolumeClaim": {"claimName": self.settings.home_claim}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": self.resources.shared_memory}},
            {"name": "scratch", "emptyDir": {}},
        ]

    def _command(self) -> list[str]:
        train = ["-m", "ml.train", *self.arguments, "--device", "cuda" if self.resources.gpus else "cpu"]
        return [self.python, *([] if self.resources.alone else self._torchrun()), *train]

    def _torchrun(self) -> list[str]:
        asked = self.resources
        words = ["-m", "ml.torchrun", f"--nproc-per-node={asked.processes}"]
        if asked.pods == 1:
            return [*words, "--standalone"]
        patience = int(asked.pending_minutes * 60)  # pods get their nodes one after the other
        return [
            *words,
            f"--nnodes={asked.pods}",
            *("--rdzv-backend=c10d", f"--rdzv-id={self.name}"),
            f"--rdzv-endpoint={self.name}-0.{self.name}:{RENDEZVOUS_PORT}",
            f"--rdzv-conf=join_timeout={patience},read_timeout={patience}",
            # Ranks go by these names in order: rank 0, which talks to us, is in pod 0.
            f"--local-addr={self.name}-$(JOB_COMPLETION_INDEX).{self.name}",
            "--max-restarts=0",
        ]


_IGNORED: Manifest = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
_FINAL: Manifest = {
    "action": "FailJob",
    "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": list(FINAL_STATUSES)},
}


def _amounts(asked: PodResources) -> dict[str, str]:
    gpus = {asked.gpu_resource: str(asked.gpus)} if asked.gpus else {}
    return {"cpu": asked.cpu, "memory": asked.memory, **gpus}


def _tolerations(asked: PodResources) -> list[Manifest]:
    return [entry.model_dump(exclude_defaults=True) | {"operator": entry.operator} for entry in asked.tolerations]
