"""What we send to a cluster for a training run is what it takes, and what our own rules ask of every pod."""

import pytest

from assets.training_pod import FINAL_STATUSES, TrainingPod
from ml.pod_resources import PodResources, Toleration
from ml.settings import Settings
from tests.manifests import faults
from tests.ml.test_pod_resources import with_resources

GPUS = PodResources(
    gpus=2,
    cpu="8",
    memory="32Gi",
    shared_memory="8Gi",
    node_selector={"headwater.io/pool": "gpu"},
    tolerations=(Toleration(key="nvidia.com/gpu", effect="NoSchedule"),),
    priority_class="training",
)
IMAGE = "registry.example/headwater:0.1.0"


def settings(**more):
    named = {"image": IMAGE, "namespace": "ml", "home_claim": "home", "home": "/var/lib/headwater"}
    secrets = {"pod_secrets": "lake, tracking", "pod_config_maps": "addresses", "image_pull_secrets": "registry"}
    return Settings(**{"env": "k8s", **named, **secrets, **more})


def training(resources=GPUS, **more):
    given = {"env": {"DAGSTER_PIPES_CONTEXT": "x"}, "run_id": "abc", "owner": {"name": "step", "uid": "1"}}
    return TrainingPod(
        with_resources(resources), settings(), "train-lateness-1", ["--model", "lateness"], **given | more
    )


def container(manifest):
    spec = manifest["spec"].get("template", manifest)["spec"]
    (only,) = spec["containers"]
    return only


@pytest.mark.parametrize(
    "resources",
    [
        PodResources(),
        GPUS,
        PodResources(gpus=1, gpu_resource="amd.com/gpu", shared_memory="64Mi"),
        PodResources(pods=3, cpu="500m"),
        GPUS.model_copy(update={"pods": 4}),
    ],
    ids=str,
)
def test_every_manifest_is_what_kubernetes_and_our_rules_take(resources):
    made = training(resources)
    for manifest in (made.pod(), made.job(), made.service()):
        assert faults(manifest) == []
    bare = training(resources, env={}, run_id="", owner=None)
    assert faults(bare.pod()) == []


def test_a_pod_gets_what_its_spec_says_and_no_more():
    pod = training().pod()
    amounts = {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "2"}
    assert container(pod)["resources"] == {"requests": amounts, "limits": amounts}
    assert pod["spec"]["nodeSelector"] == {"headwater.io/pool": "gpu"}
    assert pod["spec"]["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["spec"]["priorityClassName"] == "training"
    mounts = {mount["name"]: mount["mountPath"] for mount in container(pod)["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert mounts == {"home": "/var/lib/headwater", "shared-memory": "/dev/shm", "scratch": "/tmp"}
    assert volumes["shared-memory"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Gi"}
    assert volumes["home"]["persistentVolumeClaim"] == {"claimName": "home"}
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["metadata"]["ownerReferences"] == [{"apiVersion": "v1", "kind": "Pod", "name": "step", "uid": "1"}]
    assert "nvidia.com/gpu" not in container(training(PodResources()).pod())["resources"]["limits"]


def test_secrets_reach_a_pod_by_name_only():
    pod = container(training().pod())
    assert pod["envFrom"] == [
        {"configMapRef": {"name": "addresses"}},
        {"secretRef": {"name": "lake"}},
        {"secretRef": {"name": "tracking"}},
    ]


def test_one_process_needs_no_torchrun_and_several_gpus_have_one_each():
    assert container(training(PodResources(gpus=1)).pod())["command"] == (
        ["python", "-m", "ml.train", "--model", "lateness", "--device", "cuda"]
    )
    command = container(training(python="/opt/python").pod())["command"]
    assert command[:6] == ["/opt/python", "-m", "ml.torchrun", "--nproc-per-node=2", "--standalone", "-m"]
    assert {entry["name"]: entry["value"] for entry in container(training().pod())["env"]}["OMP_NUM_THREADS"] == "4"
    assert container(training(PodResources()).pod())["command"][-1] == "cpu"


def test_the_pods_of_a_job_meet_at_the_first_one_by_names_that_its_service_gives():
    made = training(GPUS.model_copy(update={"pods": 4}))
    job, service = made.job(), made.service()
    spec, template = job["spec"], job["spec"]["template"]
    assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (4, 4, "Indexed")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    assert template["spec"]["subdomain"] == service["metadata"]["name"]
    command = container(job)["command"]
    assert {"--nnodes=4", "--nproc-per-node=2", "--rdzv-backend=c10d"} <= set(command)
    assert "--rdzv-endpoint=train-lateness-1-0.train-lateness-1:29400" in command
    assert "--local-addr=train-lateness-1-$(JOB_COMPLETION_INDEX).train-lateness-1" in command


def test_a_job_forgives_a_disruption_and_a_lost_process_but_no_mistake():
    spec = training(GPUS.model_copy(update={"pods": 2, "restarts": 5})).job()["spec"]
    first, second = spec["podFailurePolicy"]["rules"]
    assert first == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert second["action"] == "FailJob"
    assert set(second["onExitCodes"]["values"]) == set(FINAL_STATUSES)
    assert not {75, 143} & set(FINAL_STATUSES)
    assert (spec["backoffLimitPerIndex"], spec["maxFailedIndexes"]) == (5, 0)
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
