"""A training pod that fails says which field of the ModelSpec, or which setting, to change, and to what."""

import json
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from kubernetes import client as k8s

from assets.pod_failures import End, how_it_ended, why_refused, why_stuck
from assets.pod_trainer import PodTrainer, _Work
from assets.training_pod import GRACE_SECONDS
from ml.pod_resources import PodResources
from ml.settings import Settings
from tests.assets.test_training_pod import GPUS
from tests.ml.synthetic import SPEC
from tests.ml.test_pod_resources import with_resources

MODEL = with_resources(GPUS)


def pod(status, **metadata):
    """A pod as the API server tells of it."""
    answer = {"metadata": {"name": "train-1", **metadata}, "status": {"phase": "Failed", **status}}

    return k8s.ApiClient().deserialize(SimpleNamespace(data=json.dumps(answer)), "V1Pod")


def container(**state):
    return {
        "containerStatuses": [
            {"name": "train", "image": "i:1", "imageID": "", "ready": False, "restartCount": 0, "state": state}
        ]
    }


def ended(code, reason="Error", **status):
    return pod({**container(terminated={"exitCode": code, "reason": reason}), **status})


def test_out_of_memory_names_the_limit_and_twice_as_much():
    end = how_it_ended(MODEL, ended(137, "OOMKilled"))
    assert not end.again
    assert "limit of 32Gi: raise training.resources.memory of lateness to 64Gi" in end.why


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ({"reason": "Evicted", "message": "The node was low on resource: memory."}, "low on resource"),
        ({"reason": "Preempting", "message": "Preempted to admit critical pod"}, "critical"),
        (
            {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]},
            "Scheduler",
        ),
        ({"reason": "NodeLost"}, "NodeLost"),
        ({"phase": "Unknown"}, "lost"),
    ],
)
def test_what_befell_a_pod_is_tried_again(status, word):
    end = how_it_ended(MODEL, pod(status))
    assert end.again
    assert word in end.why


@dataclass
class OfALostNode:
    """What a cluster says of a pod that is to go, on a node that nobody hears of."""

    looks: int = 0

    def pod(self, name):
        self.looks += 1
        assert self.looks < 100, "it is waited for for ever"
        return pod({"phase": "Running"}, deletionTimestamp="2013-01-01T00:00:00Z")


def test_a_pod_that_does_not_go_is_given_up_after_its_grace_and_tried_again():
    trainer = PodTrainer(Settings(), poll_seconds=0.01, lost_seconds=0.1)
    end = _Work(trainer, None, MODEL, (), {}, cluster := OfALostNode())._followed("train-1")
    assert end == End(True, "pod train-1 does not go: its node is lost")
    assert cluster.looks > 5
    assert PodTrainer(Settings()).lost_seconds > 300 + GRACE_SECONDS - 1  # after Kubernetes itself has tried


def test_a_deleted_pod_is_tried_again_whatever_its_status():
    assert how_it_ended(MODEL, None).again
    assert how_it_ended(
        MODEL, pod(container(terminated={"exitCode": 137}), deletionTimestamp="2013-01-01T00:00:00Z")
    ).again


@pytest.mark.parametrize(("code", "again"), [(1, False), (2, False), (134, False), (75, True), (143, True)])
def test_a_mistake_is_not_tried_again_and_a_lost_process_is(code, again):
    end = how_it_ended(MODEL, ended(code), "training lateness: train window is empty")
    assert end.again is again
    assert "train window is empty" in end.why


@pytest.mark.parametrize(
    "failed",
    [
        ended(135),
        pod({"reason": "Evicted", "message": 'Usage of EmptyDir volume "shared-memory" exceeds the limit "8Gi". '}),
    ],
)
def test_full_shared_memory_names_twice_as_much(failed):
    end = how_it_ended(MODEL, failed)
    assert not end.again
    assert "raise training.resources.shared_memory of lateness to 16Gi" in end.why


def waiting(reason, message=""):
    return pod({"phase": "Pending", **container(waiting={"reason": reason, "message": message})})


def unschedulable(message):
    held = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod({"phase": "Pending", "conditions": [held]})


NODES = {"nvidia.com/gpu": "1", "cpu": "8", "memory": "32Gi"}


@pytest.mark.parametrize(
    ("message", "nodes", "advice"),
    [
        (
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
            NODES,
            "lower training.resources.gpus of lateness to 1 or",
        ),
        (
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
            {"cpu": "8"},
            "no node has any nvidia.com/gpu: change",
        ),
        (
            "0/1 nodes are available: 1 Insufficient memory. preemption: 0/1",
            {"memory": "16Gi"},
            "of lateness to 16Gi or",
        ),
        (
            "0/1 nodes are available: 1 Insufficient cpu.",
            {},
            "lower training.resources.cpu of lateness to what `kubectl",
        ),
        ("0/1 nodes are available: 1 Insufficient cpu.", NODES, "8 cpu are taken: wait, lower training.resources.cpu"),
        (
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. preemption: not helpful",
            NODES,
            "bears headwater.io/pool=gpu: change training.resources.node_selector of lateness",
        ),
        ("0/1 nodes are available: 1 node(s) didn't match node selector.", NODES, "node_selector"),
        ("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity.", NODES, "node_selector"),
        (
            "0/2 nodes are available: 2 node(s) had untolerated taint {dedicated: gpu}.",
            NODES,
            """Toleration(key='dedicated', operator="Equal", value='gpu') to training.resources.tolerations of""",
        ),
        (
            "0/2 nodes are available: 2 node(s) had untolerated taint(s) {gpu: }. no new claims",
            NODES,
            """Toleration(key='gpu', operator="Exists") to""",
        ),
        (
            "0/1 nodes are available: 1 node(s) had taint {gpu: true}, that the pod didn't tolerate.",
            NODES,
            """Toleration(key='gpu', operator="Equal", value='true')""",
        ),
        ('persistentvolumeclaim "home" not found', NODES, "HEADWATER_HOME_CLAIM"),
        ("0/3 nodes are available: 3 something new", NODES, "training.resources.pending_minutes"),
    ],
)
def test_a_pod_that_no_node_takes_says_what_to_ask_for(message, nodes, advice):
    assert why_stuck(MODEL, unschedulable(message), 29, 2, nodes) is None
    assert advice in why_stuck(MODEL, unschedulable(message), 31, 2, nodes)


def test_an_image_that_cannot_be_pulled_is_named_with_the_settings_behind_it():
    tried = waiting("ImagePullBackOff", "manifest unknown")
    assert why_stuck(MODEL, tried, 1, 2, {}) is None
    assert "image i:1 cannot be pulled" in why_stuck(MODEL, tried, 3, 2, {})
    assert "set HEADWATER_IMAGE" in why_stuck(MODEL, waiting("InvalidImageName"), 0, 2, {})


@pytest.mark.parametrize(
    ("message", "setting"),
    [('secret "lake" not found', "HEADWATER_POD_SECRETS"), ("image will run as root", "HEADWATER_POD_USER")],
)
def test_a_container_that_cannot_be_made_names_the_setting(message, setting):
    assert setting in why_stuck(MODEL, waiting("CreateContainerConfigError", message), 3, 2, {})


def test_a_pod_that_starts_is_left_alone():
    assert why_stuck(MODEL, waiting("ContainerCreating"), 3, 2, {}) is None
    assert "kubectl describe pod train-1" in why_stuck(MODEL, waiting("ContainerCreating"), 31, 2, {})


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        (
            'pods "train-1" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=2, used: '
            "requests.nvidia.com/gpu=3, limited: requests.nvidia.com/gpu=4",
            "lower training.resources.gpus of lateness so that it fits into 4 of which 3 are used",
        ),
        (
            'pods "train-1" is forbidden: exceeded quota: all, requested: limits.memory=32Gi,pods=1, used: '
            "limits.memory=0,pods=0, limited: limits.memory=16Gi,pods=0",
            "lower training.resources.memory of lateness so that it fits into 16Gi",
        ),
        (
            "no PriorityClass with name training was found",
            "training.resources.priority_class of lateness is 'training'",
        ),
        (
            'pods "train-1" is forbidden: maximum memory usage per Container is 16Gi, but limit is 32Gi',
            "lower training.resources.memory of lateness to 16Gi or less",
        ),
        ('pods is forbidden: User "x" cannot create resource "pods"', "the cluster refused the pod: pods is forbidden"),
    ],
)
def test_a_refusal_names_the_field_that_asked_too_much(said, advice):
    assert advice in why_refused(MODEL, json.dumps({"message": said}))


def test_advice_fits_a_model_without_gpus():
    stuck = why_stuck(
        with_resources(PodResources()), unschedulable("0/1 nodes are available: 1 Insufficient cpu."), 31, 2, {}
    )
    assert f"training.resources.cpu of {SPEC.name}" in stuck
