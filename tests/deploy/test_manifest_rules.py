"""Each rule on our manifests can fail."""

import copy

import pytest

from deploy.manifest_rules import problems

DIGEST = f"sha256:{'0a' * 32}"
SAFE = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
POD = {
    "automountServiceAccountToken": False,
    "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "main",
            "image": "registry.example/headwater:0.1.0",
            "securityContext": SAFE,
            "resources": {
                "requests": {"cpu": "1", "memory": "1Gi"},
                "limits": {"memory": "1Gi", "nvidia.com/gpu": 1},
            },
            "env": [{"name": "HEADWATER_SERVING_TOKEN_FILE", "value": "/etc/token"}],
            "readinessProbe": {"exec": {"command": ["true"]}},
            "livenessProbe": {"exec": {"command": ["true"]}},
        }
    ],
}


def deployment(change=lambda spec: None):
    spec = copy.deepcopy(POD)
    change(spec)
    return {"kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": {"spec": spec}}}


def main(spec):
    return spec["containers"][0]


def test_a_sound_deployment_has_no_problem():
    assert problems(deployment()) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: main(s).update(image="headwater"), "no fixed tag"),
        (lambda s: main(s).update(image="headwater:latest"), "no fixed tag"),
        (lambda s: main(s).update(image="host:5000/headwater"), "no fixed tag"),
        (lambda s: main(s).update(image=f"headwater:latest@{DIGEST}"), "called latest"),
        (lambda s: main(s).update(image="headwater:0.1.0@sha256:abc"), "64 hexadecimal digits"),
        (lambda s: main(s).update(image=f"headwater:0.1.0@md5:{'0' * 64}"), "64 hexadecimal digits"),
        (lambda s: s["securityContext"].update(runAsNonRoot=False), "run as root"),
        (lambda s: main(s)["securityContext"].update(runAsUser=0), "run as root"),
        (lambda s: main(s)["securityContext"].update(privileged=True), "privileged"),
        (lambda s: main(s)["securityContext"].pop("allowPrivilegeEscalation"), "gain privileges"),
        (lambda s: main(s)["securityContext"].update(capabilities={}), "keeps capabilities"),
        (lambda s: s["securityContext"].pop("seccompProfile"), "seccomp"),
        (lambda s: main(s)["resources"]["requests"].pop("memory"), "requests no memory"),
        (lambda s: main(s)["resources"]["limits"].pop("memory"), "no limit on memory"),
        (lambda s: main(s)["resources"]["limits"].update({"nvidia.com/gpu": "0.5"}), "whole numbers"),
        (lambda s: main(s)["resources"]["requests"].update({"nvidia.com/gpu": 2}), "both are the same"),
        (lambda s: main(s)["env"].append({"name": "DB_PASSWORD", "value": "hunter2"}), "secret in plain"),
        (lambda s: main(s)["env"].append({"name": "DB", "value": "postgresql://a:b@c/d"}), "secret in plain"),
        (lambda s: main(s).update(args=["--uri", "postgresql://a:b@c/d"]), "holds a password"),
        (lambda s: main(s).pop("readinessProbe"), "no readinessProbe"),
        (lambda s: main(s).pop("livenessProbe"), "no livenessProbe"),
        (lambda s: s.update(hostNetwork=True), "gives the pod the node"),
        (lambda s: s.update(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), "path of the node"),
        (lambda s: s.pop("automountServiceAccountToken"), "default service account"),
        (lambda s: s.update(restartPolicy="Never"), "restartPolicy"),
        (lambda s: s.update(initContainers=[{**main(s), "name": "first", "image": "x"}]), "container first"),
    ],
)
def test_each_fault_is_told(change, told):
    (found,) = problems(deployment(change))
    assert told in found
    assert found.startswith("Deployment/d: ")


@pytest.mark.parametrize("image", ["headwater:0.1.0", f"headwater@{DIGEST}", f"host:5000/headwater:0.1.0@{DIGEST}"])
def test_a_tag_or_a_digest_fixes_an_image(image):
    assert problems(deployment(lambda s: main(s).update(image=image))) == []


def test_a_job_does_not_restart_always():
    job = {"kind": "Job", "metadata": {"name": "j"}, "spec": {"template": {"spec": copy.deepcopy(POD)}}}
    assert problems(job) == ["Job/j: restartPolicy of a Job is Never or OnFailure"]
    job["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    assert problems(job) == []


def test_a_role_names_what_it_allows():
    role = {
        "kind": "Role",
        "metadata": {"name": "r"},
        "rules": [{"apiGroups": [""], "resources": ["*"], "verbs": ["get"]}],
    }
    assert "allows everything" in problems(role)[0]


def test_a_config_map_holds_no_secret():
    data = {"HEADWATER_TRACKING_URI": "postgresql://a:b@c/d", "HEADWATER_HOME": "/var/lib/headwater", "token": "x" * 20}
    told = problems({"kind": "ConfigMap", "metadata": {"name": "c"}, "data": data})
    assert sorted(word.split(" ")[1] for word in told) == ["HEADWATER_TRACKING_URI", "token"]
