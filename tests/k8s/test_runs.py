"""Runs as Jobs and steps as Jobs on a real cluster, with the rights that a run has and no more."""

import json

from tests.k8s.world import CLAIM, RUNS, World, wait_for


def launcher(world: World) -> dict:
    """The launcher's settings, as a chart gives them."""
    user = world.settings.pod_user
    inside = world.has_kubelet
    reach = {"load_incluster_config": inside, **({} if inside else {"kubeconfig_file": str(world.kubeconfig)})}
    env = {**world.env, **world.pod_settings, "HOME": "/tmp", "USER": "headwater"}
    amounts = {"cpu": "500m", "memory": "1Gi"}
    return {
        **reach,
        "service_account_name": RUNS,
        "instance_config_map": "none",
        "dagster_home": f"{world.home}/dagster",
        "job_image": world.settings.image,
        "job_namespace": world.namespace,
        "image_pull_policy": "IfNotPresent",
        "env_vars": [f"{name}={value}" for name, value in env.items()],
        "labels": {"headwater.io/part": "platform"},
        "volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": CLAIM}}, {"name": "tmp", "emptyDir": {}}],
        "volume_mounts": [{"name": "home", "mountPath": world.home}, {"name": "tmp", "mountPath": "/tmp"}],
        "run_k8s_config": {
            "container_config": {"resources": {"requests": amounts, "limits": amounts}},
            "pod_spec_config": {
                "securityContext": {"runAsNonRoot": True, "runAsUser": user, "runAsGroup": user, "fsGroup": user}
            },
        },
    }


def launched(world: World, job: str, *words: str) -> str:
    """Launch a job from a pod and return what it said."""
    name = f"launch-{job}"
    instance = {
        "telemetry": {"enabled": False},
        "run_launcher": {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": launcher(world)},
    }
    world.pod(
        name,
        "tests.k8s.launch",
        job,
        json.dumps(instance),  # JSON is YAML
        *words,
        env={"DAGSTER_HOME": f"{world.home}/dagster", **world.pod_settings},
        serviceAccountName=RUNS,
        automountServiceAccountToken=True,
    )
    world.ended(name)
    return world.log(name)


def test_a_run_is_a_job_its_steps_are_jobs_and_they_share_the_home(home):
    said = launched(home, "small")
    assert "SUCCESS" in said.splitlines()[-1], said
    jobs = home.cluster.batch.list_namespaced_job(home.namespace).items
    components = [job.metadata.labels["app.kubernetes.io/component"] for job in jobs]
    assert components.count("run_worker") == 1
    assert components.count("step_worker") == 3
    steps = home.cluster.pods("app.kubernetes.io/component=step_worker")
    assert {pod.spec.service_account_name for pod in steps} == {RUNS}
    assert {pod.spec.containers[0].resources.limits["memory"] for pod in steps} == {"1Gi"}
    assert {reference.kind for pod in steps for reference in pod.metadata.owner_references} == {"Job"}


def test_a_failed_step_fails_the_run_with_its_cause(home):
    said = launched(home, "failing")
    assert "FAILURE" in said.splitlines()[-1], said
    assert "this step fails on purpose" in said


def test_a_cancelled_run_leaves_no_pod(home):
    said = launched(home, "waiting", "--cancel")
    assert "CANCELLED True" in said, said
    assert said.splitlines()[-1].split()[-1] in ("CANCELED", "FAILURE"), said
    run = said.splitlines()[-1].split()[1]
    alive = ("Pending", "Running")
    pods = lambda: [p for p in home.cluster.pods(f"dagster/run-id={run}") if p.status.phase in alive]  # noqa: E731
    assert wait_for(lambda: not pods(), "the end of the run's pods", 90)
