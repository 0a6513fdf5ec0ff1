"""Training in pods of a real cluster: what it reports, how it fails, what is left when it is cancelled or evicted."""

import json
import re
import signal
import time

import pytest

from tests.k8s.world import MANY_ROWS, ONE_CLASS, ROWS, Training, wait_for

LONG = ("--checkpoint-seconds", "1")


def test_messages_come_back_while_it_trains_and_the_result_after(home):
    training = Training(home, MANY_ROWS, *LONG)
    training.until("epoch 1/")
    (pod,) = home.training_pods()
    assert pod.status.phase == "Running"
    said = training.end()
    assert training.process.returncode == 0, said
    result = json.loads(said.rpartition("DONE ")[2].splitlines()[0])
    assert result["pod"] == pod.metadata.name
    assert result["pods before it"] == 0
    assert 0.5 < result["test roc auc"] < 1
    assert re.search(r"registered flight_delay version \d+", said)
    assert wait_for(lambda: not home.training_pods(), "the pod's end")


def test_the_pod_is_what_the_spec_asked_for(home):
    training = Training(home, ROWS)
    training.until("training set")
    (pod,) = home.training_pods()
    (container,) = pod.spec.containers
    assert container.resources.limits == {"cpu": "1", "memory": "2Gi"}
    assert pod.spec.automount_service_account_token is False
    training.process.send_signal(signal.SIGTERM)
    training.end()


def test_a_failure_names_the_cause(home):
    said = (training := Training(home, ONE_CLASS)).end()
    assert training.process.returncode == 1
    cause = r"ended with status 1: training flight_delay: .*train window .* has only the class 0"
    assert re.search(r"FAILED pod \S+ " + cause, said), said
    assert "starting again" not in said
    assert wait_for(lambda: not home.training_pods(), "the pod's end")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cancelled_run_takes_its_pod_along(home, number):
    training = Training(home, MANY_ROWS, *LONG)
    training.until("epoch 1/")
    assert len(home.training_pods()) == 1
    training.process.send_signal(number)
    said = training.end(60)
    assert "DONE" not in said
    assert wait_for(lambda: not home.training_pods(), "the pod's end", 60)


@pytest.mark.parametrize("way", ["evicted", "deleted"])
def test_an_evicted_or_deleted_pod_is_started_again_and_goes_on_from_its_checkpoint(home, way):
    training = Training(home, MANY_ROWS, *LONG)
    training.until("epoch 2/")
    (pod,) = home.training_pods()
    if way == "evicted":
        home.evict(pod.metadata.name)
    else:
        home.core.delete_namespaced_pod(pod.metadata.name, home.namespace)
    assert "1 of 3" in training.until("starting again from the checkpoint")
    training.until("goes on from a checkpoint")
    said = training.end()
    assert training.process.returncode == 0, said
    result = json.loads(said.rpartition("DONE ")[2].splitlines()[0])
    assert result["pods before it"] == 1
    assert result["pod"] != pod.metadata.name


def test_a_pod_that_does_not_go_is_given_up_and_another_goes_on_from_its_checkpoint(home, monkeypatch):
    """As on a node that is lost: the pod is to go, and nobody is there to end it."""
    monkeypatch.setenv("HEADWATER_TEST_LOST_SECONDS", "2")
    training = Training(home, MANY_ROWS, *LONG)
    training.until("epoch 2/")
    (pod,) = home.training_pods()
    name, held = pod.metadata.name, {"metadata": {"finalizers": ["headwater.io/held"]}}
    home.core.patch_namespaced_pod(name, home.namespace, held)
    try:
        home.core.delete_namespaced_pod(name, home.namespace, grace_period_seconds=0)
        assert f"pod {name} does not go: its node is lost" in training.until("starting again from the checkpoint")
        said = training.end()
    finally:
        home.core.patch_namespaced_pod(name, home.namespace, {"metadata": {"finalizers": None}})
    assert training.process.returncode == 0, said
    assert json.loads(said.rpartition("DONE ")[2].splitlines()[0])["pods before it"] == 1


def test_a_pod_that_is_evicted_too_often_ends_with_a_remedy(home):
    training = Training(home, MANY_ROWS, *LONG, restarts=1)
    for _ in range(2):
        training.until("opened dagster pipes")
        home.evict(home.training_pods()[-1].metadata.name)
        wait_for(lambda: not home.training_pods() or time.sleep(0.1), "the pod's end", 60)
    said = training.end()
    assert training.process.returncode == 1
    assert "was started again 1 times, which is all that it may" in said
    assert "training.resources.priority_class" in said


@pytest.mark.parametrize(
    ("resources", "advice"),
    [
        ({"gpus": 99}, "training.resources.gpu"),
        ({"cpu": "4000"}, "lower training.resources.cpu of flight_delay to"),
        ({"node_selector": {"headwater.io/none": "here"}}, "bears headwater.io/none=here: change"),
    ],
)
def test_a_pod_that_no_node_takes_ends_with_what_to_change(home, resources, advice):
    said = (training := Training(home, ROWS, pending_minutes=0.05, **resources)).end()
    assert training.process.returncode == 1
    assert advice in said
    assert wait_for(lambda: not home.training_pods(), "the pod's end")


def test_a_quota_that_is_used_up_is_named_with_the_field(home):
    quota = {"metadata": {"name": "gpus"}, "spec": {"hard": {"requests.nvidia.com/gpu": "1"}}}
    home.core.create_namespaced_resource_quota(home.namespace, quota)
    read = home.core.read_namespaced_resource_quota
    wait_for(lambda: read("gpus", home.namespace).status.hard, "the quota's count")
    try:
        said = Training(home, ROWS, gpus=2).end()
    finally:
        home.core.delete_namespaced_resource_quota("gpus", home.namespace)
    assert "the namespace's quota gpus is used up" in said
    assert "lower training.resources.gpus of flight_delay so that it fits into 1 of which 0 are used" in said


def test_a_priority_class_that_nobody_made_is_named(home):
    said = Training(home, ROWS, priority_class="nobody-made-this").end()
    assert "training.resources.priority_class of flight_delay is 'nobody-made-this'" in said


def test_out_of_memory_names_the_limit_and_twice_as_much(home, kubelet):
    said = Training(home, ROWS, memory="200Mi").end()
    assert "raise training.resources.memory of flight_delay to 400Mi" in said


def test_an_image_that_cannot_be_pulled_is_named(home, kubelet, monkeypatch):
    monkeypatch.setenv("HEADWATER_TEST_IMAGE", "registry.invalid/none:1")
    said = Training(home, ROWS).end()
    assert "image registry.invalid/none:1 cannot be pulled" in said
    assert "HEADWATER_IMAGE_PULL_SECRETS" in said


def test_several_pods_train_one_model(home, kubelet):
    said = (training := Training(home, ROWS, pods=2)).end()
    assert training.process.returncode == 0, said
    result = json.loads(said.rpartition("DONE ")[2].splitlines()[0])
    assert result["pods before the leading one"] == 0
    assert wait_for(lambda: not home.training_pods(), "the pods' end")
